"""Approximate message passing: p(h | x) of large layers, in some tens of passes through W."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from probrev.channel import Score, hidden_belief, hidden_score, observed_score
from probrev.distributions import RectifiedDropout
from probrev.inference.row_stream import stream_rows
from probrev.layer import Layer
from probrev.layered_model import LayeredModel
from probrev.model import Model, Observations
from probrev.posterior import H_DIMS, Posterior, make_tree
from probrev.priors import KSparse, SparsePrior
from probrev.progress import Progress
from probrev.tilted import Tilted, sample_tilted, slab_moments, tilted
from probrev.timing import stopwatch

NUM_CHAINS = 4
# When an observation is done: after so many iterations, or at so small a relative change.
MAX_ITERATIONS, TOLERANCE = 200, 1e-6
ITERATIONS_PER_CALL = 10
DRAW_ELEMENTS = 2**20
# Damping: the share of a new belief that is taken over, cut where the last iteration moved away
# from a fixed point. Scores are not damped: with both damped, they swing around each other.
SMALLEST_STEP = 0.05
CUT, REGROWTH = 0.6, 1.1
# A message may say less than nothing for a while. It is kept at least this precise, in units of
# the prior's own precision.
MIN_PRECISION = 1e-2


class Belief(NamedTuple):
    """What is believed of one hidden vector: mean, variance and P(h > 0) of each unit."""

    mean: Float[Array, "obs hidden"]
    var: Float[Array, "obs hidden"]
    inclusion_prob: Float[Array, "obs hidden"]


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
    belief: Belief


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


def message_passing(
    model: LayeredModel,
    obs: Observations,
    *,
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = TOLERANCE,
    num_draws: int = 4000,
    draw_seed: int = 0,
    progress: Progress | None = None,
) -> Posterior:
    """Approximates p(h | x) by independent units, with generalised approximate message passing.

    Each unit is left with its prior, tilted by a Gaussian message. That is right in the limit of
    large layers with iid weights; at (n, m) = (100, 30) inclusion probabilities are off by .03
    (median of the largest) to .18, at (1000, 200) by .01 to .03. Correlated weights may keep it
    from converging, which the status says. Draws are independent between units too.

    Deep models are done in one go: an intermediate layer passes messages both ways.

    Args:
        model: noise_std > 0 in every layer, under a `SpikeAndSlab` of finite variance. Of a bound
            on the number of active units only each unit's marginal probability is used.
        obs: observations, all in one compiled call; none changes another's result.
        max_iterations: after so many an observation is left as it is, and not converged.
        tolerance: root mean square change of the estimate at which it has converged, relative to
            the prior's root mean square.
        num_draws: draws per observation, a multiple of 4 (they are laid out as 4 chains).
        draw_seed: seed of the draws; nothing else here is random.
        progress: where to report progress, in iterations.

    Raises:
        ValueError: the model is not one that message passing can do, or x does not fit it.

    Source: Rangan 2011 (GAMP) with componentwise variances; Manoel, Krzakala, Mezard and Zdeborova
    2017 (several layers). Ours: the channels of rectified dropout, and the rule for damping.
    """
    check_model(model)
    model.check(obs)
    if num_draws % NUM_CHAINS or num_draws < NUM_CHAINS:
        raise ValueError(f"num_draws must be a multiple of {NUM_CHAINS}; got {num_draws}")
    if max_iterations < 1:
        raise ValueError(f"max_iterations must be at least 1; got {max_iterations}")
    settings = {
        "max_iterations": max_iterations,
        "tolerance": tolerance,
        "num_draws": num_draws,
        "draw_seed": draw_seed,
    }
    with stopwatch() as timing:
        state = init_messages(model, obs.x)
        for done in range(0, max_iterations, ITERATIONS_PER_CALL):
            end = min(done + ITERATIONS_PER_CALL, max_iterations)
            state = iterate_messages(state, model, obs.x, end, tolerance)
            finished = bool(jnp.all(state.converged | state.diverged))
            if progress is not None:
                progress(max_iterations if finished else end, max_iterations)
            if finished:
                break
        groups = _summarize(model, state, num_draws, draw_seed)
    status, reason = _status(model, state)
    tree = make_tree("message_passing", groups, obs.x, status, reason, settings, timing)
    return Posterior(tree, model)


@jax.jit
def init_messages(model: LayeredModel, x: Float[Array, "obs visible"]) -> MessageState:
    """Messages before x is heard: beliefs are the prior's, scores are 0."""
    num_obs = x.shape[0]
    layers, below = [], x
    for layer, prior in zip(model.layers, _prior_beliefs(model), strict=True):
        shape = (num_obs, layer.n_hidden)
        belief = Belief(*(jnp.broadcast_to(part, shape) for part in prior))
        messages = LayerMessages(jnp.zeros_like(below), belief.mean, belief.var, belief)
        layers.append(messages)
        below = belief.mean
    count, flag = jnp.zeros(num_obs, int), jnp.zeros(num_obs, bool)
    full = jnp.ones(num_obs, x.dtype)
    return MessageState(
        tuple(layers), below, jnp.full_like(below, jnp.inf), full, jnp.inf * full, count, count,
        flag, flag,
    )  # fmt: skip


@partial(jax.jit, donate_argnums=0)
def iterate_messages(
    state: MessageState,
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    end: Int[Array, ""] | int,
    tolerance: Float[Array, ""] | float,
) -> MessageState:
    """Iterates until every observation is done or has had `end` iterations.

    An observation whose messages are no longer finite is left as it was before.
    """

    def active(state):
        return ~(state.converged | state.diverged) & (state.num_iterations < end)

    def step(state):
        goes_on = active(state)
        new = sweep_messages(state, model, x, tolerance)
        finite = _finite(new)
        diverged = state.diverged | (goes_on & ~finite)
        return _select(goes_on & finite, new, state)._replace(diverged=diverged)

    return jax.lax.while_loop(lambda state: active(state).any(), step, state)


def sweep_messages(
    state: MessageState,
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    tolerance: Float[Array, ""] | float,
) -> MessageState:
    """One iteration: up through the layers, each using the beliefs of the iteration before."""
    step = state.step[:, None]
    energies = [jnp.square(prior.mean) + prior.var for prior in _prior_beliefs(model)]
    num_clamped, residual = state.num_clamped, jnp.zeros_like(state.residual)
    below: tuple[Array, ...] = (x,)
    passes, layers, r, tau = [], [], state.r, state.tau
    for level, (layer, messages) in enumerate(zip(model.layers, state.layers, strict=True)):
        score = _score_hidden if level else observed_score
        found = stream_rows(layer, score, below, messages.mean, messages.var, messages.g)
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
            law = _denoise(model.sparse_prior, r, tau)
        belief, old = Belief(law.mean, law.var, law.inclusion_prob), state.layers[level]
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


def _prior_beliefs(model: LayeredModel) -> list[Belief]:
    """What is believed of each hidden vector before x is heard, the one next to x first.

    An intermediate unit's pre-activation is taken to be N(0, w^2 E||h||^2 + noise_var), the law
    over random weights; it only says where the iteration starts.
    """
    prior = model.sparse_prior
    first, second = slab_moments(prior.tilting_slab)
    active = prior.marginal_inclusion_prob
    mean = active * first
    beliefs = [Belief(mean, active * second - mean**2, active)]
    for layer in reversed(model.layers[1:]):
        energy = (jnp.square(beliefs[0].mean) + beliefs[0].var).sum()
        std = jnp.sqrt(layer.weight_std**2 * energy + layer.noise_std**2)
        law = RectifiedDropout(jnp.zeros_like(std), std, layer.keep_prob, layer.gain)
        parts = (law.mean, law.variance, layer.keep_prob / 2)
        beliefs.insert(0, Belief(*(jnp.full(layer.n_visible, part) for part in parts)))
    return beliefs


def _score_hidden(layer: Layer, r: Array, tau: Array, omega: Array, V: Array) -> Score:
    return hidden_score(layer, hidden_belief(layer, r, tau, omega, V), omega, V)


def _denoise(prior: SparsePrior, r: Array, tau: Array) -> Tilted:
    """The top vector's prior, unit by unit, tilted by the message."""
    logit = jax.scipy.special.logit(prior.marginal_inclusion_prob)
    return tilted(jnp.broadcast_to(logit, r.shape), prior.tilting_slab, r, tau)


def _distance(belief: Belief, old: LayerMessages, energy: Array) -> Float[Array, " obs"]:
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


def _summarize(
    model: LayeredModel, state: MessageState, num_draws: int, draw_seed: int
) -> dict[str, xr.Dataset]:
    """The groups `posterior`, `approximation` and, for deep models, `intermediates`."""
    num_obs, n_hidden = state.r.shape
    unit = ("obs", "hidden")
    coords = {"obs": np.arange(num_obs), "hidden": np.arange(n_hidden)}
    found = {
        **{name: (unit, np.asarray(v)) for name, v in state.layers[-1].belief._asdict().items()},
        **{
            name: ("obs", np.asarray(getattr(state, name)))
            for name in ("num_iterations", "num_clamped", "converged")
        },
    }
    h = _draw(jax.random.key(draw_seed), model.sparse_prior, state.r, state.tau, num_draws)
    h = h.reshape(NUM_CHAINS, num_draws // NUM_CHAINS, num_obs, n_hidden)
    all_coords = {dim: np.arange(size) for dim, size in zip(H_DIMS, h.shape, strict=True)}
    groups = {
        "posterior": xr.Dataset({"h": (H_DIMS, h)}, all_coords),
        "approximation": xr.Dataset(found, coords),
    }
    between = {
        f"h_{level}_{name}": (("obs", f"hidden_{level}"), np.asarray(value))
        for level, messages in enumerate(state.layers[:-1], start=1)
        for name, value in messages.belief._asdict().items()
    }
    if between:
        groups["intermediates"] = xr.Dataset(between, {"obs": coords["obs"]})
    return groups


def _draw(
    key: PRNGKeyArray, prior: SparsePrior, r: Array, tau: Array, num_draws: int
) -> np.ndarray:
    """Independent draws of every unit, (draw, obs, hidden), a bounded number at a time."""
    h = np.empty((num_draws, *r.shape), r.dtype)
    size = max(1, min(num_draws, DRAW_ELEMENTS // r.size))
    for start in range(0, num_draws, size):
        end = min(start + size, num_draws)
        block = _draw_block(jax.random.fold_in(key, start), prior, r, tau, size)
        h[start:end] = block[: end - start]
    return h


@partial(jax.jit, static_argnames="size")
def _draw_block(key, prior: SparsePrior, r, tau, size: int) -> Float[Array, "size obs hidden"]:
    logit = jax.scipy.special.logit(prior.marginal_inclusion_prob)
    shape = (size, *r.shape)
    return sample_tilted(
        key, jnp.broadcast_to(logit, shape), prior.tilting_slab,
        jnp.broadcast_to(r, shape), jnp.broadcast_to(tau, shape),
    )  # fmt: skip


def _status(model: LayeredModel, state: MessageState) -> tuple[str, str]:
    """Status and its reason, with what was clamped and what of the prior was left out."""
    converged, diverged = np.asarray(state.converged), np.asarray(state.diverged)
    iterations, num_obs = int(state.num_iterations.max()), converged.size
    notes = []
    num_clamped = int(state.num_clamped.sum())
    if num_clamped:
        notes.append(f"{num_clamped} messages that said less than nothing were clamped")
    if model.sparse_prior.active_range != (0, model.n_hidden):
        notes.append("the bound on active units enters through each unit's probability only")
    note = "".join(f"; {one}" for one in notes)
    if diverged.any():
        share = f"{diverged.sum()} of {num_obs} observations"
        return "diverged", f"messages of {share} grew beyond all bounds{note}"
    if not converged.all():
        share = f"{(~converged).sum()} of {num_obs} observations"
        residual = float(np.asarray(state.residual)[~converged].max())
        return (
            "not converged",
            f"{share} still moved after {iterations} iterations, by up to {residual:.1e} of the "
            f"prior's scale: correlated weights do that; use gibbs{note}",
        )
    return "ok", f"approximation: converged in at most {iterations} iterations{note}"


def check_model(model: Model) -> None:
    """Raises ValueError unless message passing can do the model; says what can."""
    if not isinstance(model, LayeredModel):
        raise ValueError(f"message_passing needs a LayeredModel; got {type(model).__name__}")
    if isinstance(model.prior, KSparse):
        raise ValueError(
            "message_passing needs units that are independent under the prior, and KSparse fixes "
            "the number of active ones: use gibbs or exact, or a SpikeAndSlab"
        )
    if not isinstance(model.prior, SparsePrior):
        raise ValueError(
            "message_passing needs a prior with a spike and a slab (SpikeAndSlab); "
            "for a prior written as a NumPyro function use hmc"
        )
    if any(layer.noise_std == 0 for layer in model.layers):
        raise ValueError(
            "message_passing needs noise_std > 0 in every layer: without noise there is no "
            "likelihood to pass on; a small noise_std has one"
        )
    if any(layer.activation != "relu" for layer in model.layers[1:]):
        raise ValueError(
            "message_passing needs activation 'relu' in every layer but the one next to x: use "
            "simulate and FeedforwardNet for others"
        )
    if not np.all(np.isfinite(model.prior.second_moment)):
        raise ValueError(
            "message_passing starts from the prior's variance, and this slab's is infinite: "
            "use gibbs, or a slab with lighter tails"
        )
