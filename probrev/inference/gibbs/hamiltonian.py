"""Moves of all units of a rectified Gaussian together, along Hamiltonian trajectories.

Unit by unit, coupled units move by what each is free to given all others, which under a prior
fitted to real activations is next to nothing. The log density of v, h = max(v, 0), is continuous
with kinks where a v_i is 0, so that a trajectory needs no walls. Its metric is near the precision
of v: the prior's, and what the rows say of the units that are active, both as warm-up has found.

Source: Duane, Kennedy, Pendleton and Roweth 1987; Neal 2011.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from probrev.model.conditional_prior import Coupling
from probrev.model.layer import Layer
from probrev.model.silence import SilenceTable, tabulate_silence

# Steps of a trajectory. In the units of the metric they are about this long once warm-up has found
# a step of which so many trajectories are accepted; a step is longer or shorter by chance, so that
# no trajectory comes back to where it began.
NUM_STEPS = 4
FIRST_STEP, JITTER, ACCEPTED = 0.2, 0.2, 0.8
# Steps in warm-up change by the first of these and, as warm-up goes on, by less.
LEARNING_RATE, LONGEST_STEP = 1.0, 1.5
# The metric is renewed after this sweep of warm-up, and after each that is twice as late.
FIRST_RENEWAL = 8


class Metric(NamedTuple):
    """The metric of each case, and what warm-up has found.

    Attributes:
        active: how often each unit was active, later sweeps counting more.
        root: R of the metric's inverse R R', in single precision: a trajectory is reversible
            whatever R is, and reading it is most of the work.
        log_step: logarithm of the step.
        silence: log mass of a silent row, of which a trajectory needs many.
    """

    active: Float[Array, "case hidden"]
    root: Float[Array, "case hidden hidden"]
    log_step: Float[Array, " case"]
    silence: SilenceTable


def init_metric(
    coupling: Coupling,
    layer: Layer,
    precision: Float[Array, "case visible"],
    active: Float[Array, "case hidden"],
) -> Metric:
    """The metric before warm-up.

    Args:
        coupling: the law of v.
        layer: below the units.
        precision: of the rows, as they look from the start.
        active: how likely each unit is active.
    """
    log_step = jnp.full(len(active), jnp.log(FIRST_STEP), active.dtype)
    root = _factor(coupling, layer, precision, active)
    return Metric(active, root, log_step, tabulate_silence(layer.keep_prob))


def learn(
    metric: Metric,
    coupling: Coupling,
    layer: Layer,
    precision: Callable[[], Float[Array, "case visible"]],
    h: Float[Array, "case hidden"],
    num_steps: Int[Array, ""],
    num_warmup: Int[Array, ""],
) -> Metric:
    """Takes a sweep of warm-up into account.

    Args:
        metric: before it.
        coupling: the law of v.
        layer: below the units.
        precision: of the rows, as they look from where warm-up has been.
        h: the units after the sweep.
        num_steps: sweeps before it.
        num_warmup: sweeps of warm-up.
    """
    active = metric.active + 2.0 / (num_steps + 3.0) * ((h > 0) - metric.active)
    done = num_steps + 1
    renews = (done >= FIRST_RENEWAL) & ((done & (done - 1)) == 0) & (2 * done <= num_warmup)

    def renew() -> Array:
        return _factor(coupling, layer, precision(), active)

    root = jax.lax.cond(renews, renew, lambda: metric.root)
    return metric._replace(active=active, root=root)


def _factor(
    coupling: Coupling,
    layer: Layer,
    precision: Float[Array, "case visible"],
    active: Float[Array, "case hidden"],
) -> Float[Array, "case hidden hidden"]:
    """R of the inverse of prior precision + A W' diag(precision) W A, A = diag(active).

    One case after the other, so that no other matrices than these are made.
    """
    weights, prior = layer.weights, coupling.precision

    def one(case: tuple[Array, Array]) -> Array:
        precision, active = case
        columns = weights * active[None, :]
        lower = jnp.linalg.cholesky(prior + columns.T @ (precision[:, None] * columns))
        identity = jnp.eye(len(active), dtype=lower.dtype)
        return solve_triangular(lower, identity, lower=True, trans=1).astype(jnp.float32)

    return jax.lax.map(one, (precision, active))


def move_together(
    key: PRNGKeyArray,
    metric: Metric,
    coupling: Coupling,
    layer: Layer,
    v: Float[Array, "case hidden"],
    x: Float[Array, "case visible"],
    num_steps: Int[Array, ""],
    learns: Bool[Array, ""],
) -> tuple[Float[Array, "case hidden"], Metric]:
    """Moves v along a trajectory; what comes of it is accepted or rejected as a whole.

    Args:
        key: random key.
        metric: of each case.
        coupling: the law of v.
        layer: below the units.
        v: of which h = max(v, 0) is seen.
        x: values below the layer.
        num_steps: sweeps before this one.
        learns: whether the step may change by what is accepted.

    Returns:
        The new v, and the metric with its step.
    """
    key_momentum, key_accept, key_step = jax.random.split(key, 3)
    mean, precision = coupling.mean[None], coupling.precision

    def energy(v: Array) -> Array:
        gap = v - mean
        prior = 0.5 * ((gap @ precision) * gap).sum(-1)
        return prior - layer.log_likelihood_quick(jnp.maximum(v, 0.0), x, metric.silence)

    def slope(v: Array) -> Array:
        z = layer.pre_activation(jnp.maximum(v, 0.0))
        of_rows = layer.score(x, z, metric.silence) @ layer.weights
        return (v - mean) @ precision - jnp.where(v > 0, of_rows, 0.0)

    noise = jax.random.normal(key_step, (len(v), 1), v.dtype)
    step = jnp.exp(metric.log_step[:, None] + JITTER * noise)

    def drift(v: Array, momentum: Array) -> Array:
        single = momentum.astype(metric.root.dtype)
        return v + step * jnp.einsum("cij,cj->ci", metric.root, single)

    def kick(momentum: Array, v: Array, share: float) -> Array:
        single = slope(v).astype(metric.root.dtype)
        return momentum - share * step * jnp.einsum("cij,ci->cj", metric.root, single)

    def leap(index: Int[Array, ""], carry: tuple[Array, Array]) -> tuple[Array, Array]:
        del index
        momentum = kick(carry[1], carry[0], 1.0)
        return drift(carry[0], momentum), momentum

    # In coordinates in which the metric is the identity.
    start = jax.random.normal(key_momentum, v.shape, v.dtype)
    momentum = kick(start, v, 0.5)
    new, momentum = jax.lax.fori_loop(0, NUM_STEPS - 1, leap, (drift(v, momentum), momentum))
    momentum = kick(momentum, new, 0.5)
    kinetic = [0.5 * jnp.square(one).sum(-1) for one in (start, momentum)]
    lost = energy(v) + kinetic[0] - energy(new) - kinetic[1]
    chance = jnp.where(jnp.isnan(lost), 0.0, jnp.exp(jnp.minimum(lost, 0.0)))
    taken = jax.random.uniform(key_accept, chance.shape, chance.dtype) < chance
    rate = learns * LEARNING_RATE / jnp.sqrt(num_steps + 1.0)
    log_step = jnp.minimum(metric.log_step + rate * (chance - ACCEPTED), jnp.log(LONGEST_STEP))
    return jnp.where(taken[:, None], new, v), metric._replace(log_step=log_step)
