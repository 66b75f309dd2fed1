"""The exact posterior of two layers at tiny size: an oracle for samplers of deep models."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from probrev.inference.exact.exact_result import ExactResult, Intermediates, stack_results
from probrev.inference.exact.integration.adaptive_integral import (
    Curvatures,
    integrate_part,
    log_outside,
    log_sum,
    measure,
    refine,
)
from probrev.inference.exact.integration.silence_curvature import curvature_range
from probrev.inference.exact.integration.support_moments import combine_moments, share_left_out
from probrev.inference.exact.integration.support_problem import (
    SupportProblem,
    UnitLaws,
    list_supports,
    make_problems,
    silence_alone,
)
from probrev.model.distributions import log_silence_prob
from probrev.model.layer import Layer
from probrev.model.layered_model import LayeredModel
from probrev.model.row_terms import Evidence, gather_evidence
from probrev.plumbing.progress import Progress
from probrev.plumbing.streams import generator

MAX_WIDTH = 4
MAX_STATES = 512
TOLERANCE = 1e-6


def check_two_layer(model: LayeredModel) -> int:
    """Number of integrals per observation; raises ValueError where there is no such oracle."""
    below, above = model.layers
    if above.activation != "relu" or not (below.noise_std > 0 and above.noise_std > 0):
        raise ValueError(
            "exact reaches through two layers only where both have noise_std > 0 and the upper is "
            'a "relu" layer; simulate and generate work with any'
        )
    count = model.states().count
    if above.n_visible > MAX_WIDTH or count > MAX_STATES:
        raise ValueError(
            f"exact reaches through two layers only at tiny size: at most {MAX_WIDTH} units "
            f"between them (here {above.n_visible}) and {MAX_STATES} states of the prior (here "
            f"{count:,}); use gibbs"
        )
    return count * 2**above.n_visible


def integrate_two_layers(
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    *,
    num_draws: int,
    num_top: int,
    seed: int,
    progress: Progress | None,
) -> ExactResult:
    r"""p(h2 | x) of a finite top prior, the layer between integrated out numerically.

        p(h2 | x) \propto p(h2) sum_B prod_{i not in B} f(z_i) \int prod_{i in B} (rho / alpha)
            N(h1_i / alpha; z_i, sigma^2) p(x | h1) dh1_B,   z = W_2 h2,

    over every support B of h1, with alpha, rho, sigma and f of the upper layer. The
    integrals, and what `integration_error` and `unvisited_mass` say of them, are those of
    `integration.integrate_supports`, every support visited.

    Returns:
        The posterior of h = h2, draws of it, and the moments of h1.
    """
    rng = generator(seed, "exact/draws")
    states = np.asarray(model.states()[jnp.arange(model.states().count)])
    log_prior = np.asarray(model.sparse_prior.log_prob(jnp.asarray(states)))
    laws = _all_laws(model.layers[1], jnp.asarray(states))
    each = []
    for row in x:
        one = _solve(model.layers[0], laws, states, log_prior, row, rng, num_draws, num_top)
        each.append(one)
        if progress is not None:
            progress(len(each), len(x))
    return stack_results(each)


def conditional_laws(layer: Layer, h: Float[Array, " hidden"]) -> UnitLaws:
    """The law of each unit below a layer given h above: a spike, and a normal cut at 0.

    Spike mass (1 - rho) + rho Phi(-z / sigma); density (rho / alpha) N(y; z, sigma^2) at
    y = h1 / alpha > 0.
    """
    z = layer.pre_activation(h)
    std = layer.gain * layer.noise_std
    log_scale = jnp.log(layer.keep_prob / std) - 0.5 * math.log(2 * math.pi)
    t = z / layer.noise_std
    log_on = jnp.log(layer.keep_prob) + jax.scipy.special.log_ndtr(t)
    curvature = jnp.full_like(z, 1 / std**2)
    slope = t / std
    log_off = log_silence_prob(t, layer.keep_prob)
    return UnitLaws(log_off, log_scale - 0.5 * t**2, slope, curvature, log_on)


@jax.jit
def _all_laws(layer: Layer, states: Float[Array, "state hidden"]) -> UnitLaws:
    return jax.vmap(partial(conditional_laws, layer))(states)


def _solve(
    layer: Layer,
    laws: UnitLaws,
    states: np.ndarray,
    log_prior: np.ndarray,
    x: Float[Array, " visible"],
    rng: np.random.Generator,
    num_draws: int,
    num_top: int,
) -> ExactResult:
    """One observation, arrays without the axis `obs`."""
    rows = gather_evidence(layer, x)
    supports = [list_supports(layer.n_hidden, size) for size in range(layer.n_hidden + 1)]
    problems = [
        jax.tree.map(np.asarray, _make_problems(rows, laws, log_prior, support))
        for support in supports
    ]
    rows = silence_alone(rows)
    bends = Curvatures(*curvature_range(float(layer.keep_prob)))
    parts = [
        integrate_part(one, np.tile(support, (len(states), 1)), rows, bends)
        for one, support in zip(problems, supports, strict=True)
    ]
    error = refine(parts, rows, bends, TOLERANCE)
    found = [measure(part) for part in parts]
    table = np.concatenate([one.log_mass.reshape(len(states), -1) for one in found], axis=1)
    log_evidence = log_sum(table)
    log_prob = log_sum(table, axis=1) - log_evidence
    prob = np.exp(log_prob)
    prob /= prob.sum()
    mean = prob @ states
    order = np.argsort(-log_prob)[:num_top]
    return ExactResult(
        mean=mean,
        var=prob @ (states - mean) ** 2,
        inclusion_prob=prob @ (states > 0),
        log_evidence=log_evidence,
        top_states=states[order],
        top_log_prob=log_prob[order],
        unvisited_mass=share_left_out(log_outside(parts), float(log_evidence), error),
        integration_error=np.asarray(error),
        draws=states[rng.choice(len(states), num_draws, p=prob)],
        intermediates=Intermediates(
            *combine_moments(
                [part.units for part in parts], found, layer.n_hidden, float(log_evidence)
            )
        ),
    )


@jax.jit
def _make_problems(
    rows: Evidence, laws: UnitLaws, log_prior: Float[Array, " state"], supports: Array
) -> SupportProblem:
    """Every state with every support of one size, states slowest."""
    nested = jax.vmap(make_problems, (None, 0, None))(rows, laws, supports)
    nested = nested._replace(
        constant=nested.constant + log_prior[:, None],
        peak=nested.peak + log_prior[:, None],
        ceiling=nested.ceiling + log_prior[:, None],
    )
    return jax.tree.map(lambda leaf: jax.lax.collapse(leaf, 0, 2), nested)
