"""Messages between the layers of a model, and the iteration that brings them to a fixed point.

Generalised approximate message passing (Rangan 2011) with componentwise variances, through several
layers (Manoel, Krzakala, Mezard and Zdeborova 2017). Ours: the channels of rectified dropout, and
the rule for damping.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from probrev.inference.messages.row_stream import stream_rows
from probrev.model.channel import Score, hidden_belief, hidden_score, observed_score
from probrev.model.distributions import LayerUnit
from probrev.model.layer import Layer
from probrev.model.layered_model import LayeredModel
from probrev.model.spread import RowMesh, find_mesh
from probrev.model.tilted import slab_moments
from probrev.numerics.truncated_normal import upper_tail
from probrev.posterior.posterior import Moments

# Damping: the share of a new belief that is taken over, cut where the last iteration moved away
# from a fixed point. Scores are not damped: with both damped, they swing around each other.
SMALLEST_STEP = 0.05
CUT, REGROWTH = 0.6, 1.1
# A message may say less than nothing for a while. It is kept at least this precise, in units of
# the prior's own precision.
MIN_PRECISION = 1e-2


class LayerMessages(NamedTuple):
    """Messages of one layer.

    Attributes:
        g: scores of its rows.
        mean: estimate of the vector above it, damped.
        var: its variances, damped.
        belief: the newest belief about that vector, undamped.
    """

    g: Float[Array, "obs visible"]
    mean: Float[Array, "obs hidden"]
    var: Float[Array, "obs hidden"]
    belief: Moments[Array]


class MessageState(NamedTuple):
    """State of all observations; each leaf has them along its first axis.

    Attributes:
        layers: messages of each layer, layers[0] next to x.
        r: location of the message to each unit of the top vector.
        tau: its variance.
        step: share of the new beliefs in the damped ones.
        residual: distance of the last beliefs from the messages they came from, relative.
        num_iterations: iterations done.
        num_clamped: units whose message was kept from being less than nothing, over iterations.
        converged: whether the residual fell below the tolerance.
        diverged: whether something was no longer finite; all else is from before.
    """

    layers: tuple[LayerMessages, ...]
    r: Float[Array, "obs hidden"]
    tau: Float[Array, "obs hidden"]
    step: Float[Array, " obs"]
    residual: Float[Array, " obs"]
    num_iterations: Int[Array, " obs"]
    num_clamped: Int[Array, " obs"]
    converged: Bool[Array, " obs"]
    diverged: Bool[Array, " obs"]


@jax.jit
def init_messages(model: LayeredModel, x: Float[Array, "obs visible"]) -> MessageState:
    """Messages before x is heard: beliefs are the prior's, scores are 0."""
    num_obs = x.shape[0]
    layers, below = [], x
    for layer, prior in zip(model.layers, _prior_beliefs(model), strict=True):
        shape = (num_obs, layer.n_hidden)
        belief = Moments(*(jnp.broadcast_to(part, shape) for part in prior))
        messages = LayerMessages(jnp.zeros_like(below), belief.mean, belief.var, belief)
        layers.append(messages)
        below = belief.mean
    count, flag = jnp.zeros(num_obs, int), jnp.zeros(num_obs, bool)
    full = jnp.ones(num_obs, x.dtype)
    return MessageState(
        tuple(layers), below, jnp.full_like(below, jnp.inf), full, jnp.inf * full, count, count,
        flag, flag,
    )  # fmt: skip


def find_meshes(model: LayeredModel) -> tuple[RowMesh | None, ...]:
    """Of each layer, the devices that its rows are spread over."""
    return tuple(find_mesh(layer.weights) for layer in model.layers)


@partial(jax.jit, donate_argnums=0, static_argnames="meshes")
def iterate_messages(
    state: MessageState,
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    end: Int[Array, ""] | int,
    tolerance: Float[Array, ""] | float,
    meshes: tuple[RowMesh | None, ...] | None = None,
) -> MessageState:
    """Iterates until every observation is done or has had `end` iterations.

    An observation whose messages are no longer finite is left as it was before.

    Args:
        state: where to go on from; its memory is used again.
        model: the model.
        x: observations.
        end: iterations of an observation in all.
        tolerance: residual at which one is done.
        meshes: see `find_meshes`; by default every layer is on one device.
    """

    def active(state):
        return ~(state.converged | state.diverged) & (state.num_iterations < end)

    def step(state):
        goes_on = active(state)
        new = pass_messages(state, model, x, tolerance, meshes)
        finite = _finite(new)
        diverged = state.diverged | (goes_on & ~finite)
        return _select(goes_on & finite, new, state)._replace(diverged=diverged)

    return jax.lax.while_loop(lambda state: active(state).any(), step, state)


def pass_messages(
    state: MessageState,
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    tolerance: Float[Array, ""] | float,
    meshes: tuple[RowMesh | None, ...] | None = None,
) -> MessageState:
    """One iteration: up through the layers, each using the beliefs of the iteration before."""
    meshes = (None,) * len(model.layers) if meshes is None else meshes
    step = state.step[:, None]
    energies = [jnp.square(prior.mean) + prior.var for prior in _prior_beliefs(model)]
    num_clamped, residual = state.num_clamped, jnp.zeros_like(state.residual)
    below: tuple[Array, ...] = (x,)
    passes, layers, r, tau = [], [], state.r, state.tau
    for level, (layer, messages) in enumerate(zip(model.layers, state.layers, strict=True)):
        score = _score_hidden if level else observed_score
        arguments = messages.mean, messages.var, messages.g
        found = stream_rows(layer, score, below, *arguments, mesh=meshes[level])
        largest = energies[level].max()
        least = MIN_PRECISION / jnp.where(largest > 0, largest, 1.0)
        num_clamped = num_clamped + (found.precision < least).sum(1)
        tau = 1.0 / jnp.maximum(found.precision, least)
        r = messages.mean + tau * found.linear
        below = (r, tau)
        passes.append((found, r, tau))
    for level, (found, r, tau) in enumerate(passes):
        if level + 1 < len(passes):
            above = passes[level + 1][0]
            law = hidden_belief(model.layers[level + 1], r, tau, above.omega, above.V)
        else:
            law = model.sparse_prior.tilt(r, tau)
        belief, old = Moments(law.mean, law.var, law.inclusion_prob), state.layers[level]
        mean = step * belief.mean + (1.0 - step) * old.mean
        var = step * belief.var + (1.0 - step) * old.var
        layers.append(LayerMessages(found.g, mean, var, belief))
        residual = jnp.maximum(residual, _distance(belief, old, energies[level].sum()))
    grew = residual > state.residual
    new_step = jnp.where(grew, CUT * state.step, REGROWTH * state.step)
    return state._replace(
        layers=tuple(layers),
        r=r,
        tau=tau,
        step=jnp.clip(new_step, SMALLEST_STEP, 1.0),
        residual=residual,
        num_iterations=state.num_iterations + 1,
        num_clamped=num_clamped,
        converged=residual < tolerance,
    )


def _prior_beliefs(model: LayeredModel) -> list[Moments[Array]]:
    """What is believed of each hidden vector before x is heard, the one next to x first.

    An intermediate unit's pre-activation is taken to be N(bias, w^2 E||h||^2 + noise_var), the law
    over random weights; it only says where the iteration starts.
    """
    prior = model.sparse_prior
    first, second = slab_moments(prior.tilting_slab)
    active = prior.marginal_inclusion_prob
    mean = active * first
    beliefs = [Moments(mean, active * second - mean**2, active)]
    for layer in reversed(model.layers[1:]):
        energy = (jnp.square(beliefs[0].mean) + beliefs[0].var).sum()
        std = jnp.sqrt(layer.weight_std**2 * energy + layer.noise_std**2)
        law = LayerUnit(layer.activation, layer.bias, std, layer.keep_prob, layer.gain)
        active = layer.keep_prob * upper_tail(-layer.bias / std)
        beliefs.insert(0, Moments(law.mean, law.variance, active))
    return beliefs


def _score_hidden(layer: Layer, r: Array, tau: Array, omega: Array, V: Array) -> Score:
    return hidden_score(layer, hidden_belief(layer, r, tau, omega, V), omega, V)


def _distance(belief: Moments[Array], old: LayerMessages, energy: Array) -> Float[Array, " obs"]:
    """How far new beliefs are from the messages that led to them, relative to the prior."""
    energy = jnp.where(energy > 0, energy, 1.0)
    mean = jnp.sqrt(jnp.square(belief.mean - old.mean).sum(1) / energy)
    return jnp.maximum(mean, jnp.abs(belief.var - old.var).sum(1) / energy)


def _finite(state: MessageState) -> Bool[Array, " obs"]:
    """Whether all numbers of an observation are finite."""
    rows = [jnp.isfinite(leaf).reshape(len(leaf), -1).all(1) for leaf in jax.tree.leaves(state)]
    return jnp.stack(rows).all(0)


def _select(chosen: Bool[Array, " obs"], new: MessageState, old: MessageState) -> MessageState:
    """The new state where chosen, observation by observation."""

    def choose(new, old):
        return jnp.where(chosen.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, new, old)
