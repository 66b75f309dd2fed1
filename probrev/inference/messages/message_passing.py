"""Approximate message passing: p(h | x) of large layers, in some tens of passes through W."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.inference.messages.message_check import check_messages, plan_check
from probrev.inference.messages.messages import (
    MessageState,
    find_meshes,
    init_messages,
    iterate_messages,
)
from probrev.inference.messages.weight_check import check_weights
from probrev.model import door as model_door
from probrev.model.layered_model import LayeredModel, check_layered_law
from probrev.model.observations import Observations
from probrev.model.priors import SparsePrior, check_spike_and_slab
from probrev.model.protocol import check_obs
from probrev.model.tilted import sample_tilted
from probrev.plumbing import door
from probrev.plumbing.progress import Progress
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import stream
from probrev.plumbing.timing import stopwatch
from probrev.posterior.posterior import H_DIMS, Posterior, make_tree, tabulate_intermediates
from probrev.posterior.status import Status

NUM_CHAINS = 4
# When an observation is done: after so many iterations, or at so small a relative change.
MAX_ITERATIONS, TOLERANCE = 200, 1e-6
ITERATIONS_PER_CALL = 10
DRAW_ELEMENTS = 2**20


@door.guard(
    model=door.no_class,
    obs=model_door.observations,
    max_iterations=door.count(),
    tolerance=door.positive,
    num_draws=door.count(),
    seed=door.seed,
    progress=door.optional(door.function),
)
def message_passing(
    model: LayeredModel,
    obs: Observations,
    *,
    max_iterations: int = MAX_ITERATIONS,
    tolerance: float = TOLERANCE,
    num_draws: int = 4000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Posterior:
    """Approximates p(h | x) by independent units, with generalised approximate message passing.

    Each unit is left with its prior, tilted by a Gaussian message. That is right in the limit of
    large layers with iid weights; at (n, m) = (100, 30) inclusion probabilities are off by .03
    (median of the largest) to .18, at (1000, 200) by .01 to .03. With correlated columns they may
    be off by anything, or it may not converge. So what has converged is looked at again: every
    layer's weights are compared with iid ones (`check_weights`), and a few Gibbs sweeps of some
    observations, started at its own draws, must leave every layer's inclusion probabilities and
    errors near what it claims (`check_messages`), nearer where weights are not iid. Otherwise it
    is "unreliable". Draws are independent between units too.

    Deep models are done in one go: an intermediate layer passes messages both ways.

    Args:
        model: noise_std > 0 in every layer, under a `SpikeAndSlab` of finite variance. Of a bound
            on the number of active units only each unit's marginal probability is used.
        obs: observations, all in one compiled call; none changes another's result.
        max_iterations: after so many an observation is left as it is, and not converged.
        tolerance: root mean square change of the estimate at which it has converged, relative to
            the prior's root mean square.
        num_draws: draws per observation, a multiple of 4 (they are laid out as 4 chains).
        seed: seed of the draws; nothing else here is random.
        progress: where to report progress, in iterations.

    Raises:
        ValueError: the model is not one that message passing can do, or x does not fit it.

    Source: Rangan 2011 (GAMP) with componentwise variances; Manoel, Krzakala, Mezard and Zdeborova
    2017 (several layers). Ours: the channels of rectified dropout, and the rule for damping.
    """
    check_model(model)
    check_obs(model, obs)
    if num_draws % NUM_CHAINS or num_draws < NUM_CHAINS:
        raise Refusal(f"num_draws must be a multiple of {NUM_CHAINS}; got {num_draws}")
    if max_iterations < 1:
        raise Refusal(f"max_iterations must be at least 1; got {max_iterations}")
    settings = {
        "max_iterations": max_iterations,
        "tolerance": tolerance,
        "num_draws": num_draws,
        "seed": seed,
    }
    with stopwatch() as timing:
        state, meshes = init_messages(model, obs.x), find_meshes(model)
        for done in range(0, max_iterations, ITERATIONS_PER_CALL):
            end = min(done + ITERATIONS_PER_CALL, max_iterations)
            state = iterate_messages(state, model, obs.x, end, tolerance, meshes)
            finished = bool(jnp.all(state.converged | state.diverged))
            if progress is not None:
                progress(max_iterations if finished else end, max_iterations)
            if finished:
                break
        groups = _summarize(model, state, num_draws, seed)
        status, reason = _status(model, state)
        if status is Status.OK:
            oddity, complaint = _doubt(model, obs.x, state, seed)
            reason = "; ".join(filter(None, (reason, oddity, complaint)))
            if complaint:
                status, reason = Status.UNRELIABLE, f"{reason}: use gibbs"
    tree = make_tree("message_passing", groups, obs.x, status, reason, settings, timing)
    return Posterior(tree, model)


def _summarize(
    model: LayeredModel, state: MessageState, num_draws: int, seed: int
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
    h = _draw(
        stream(seed, "message_passing/draws"), model.sparse_prior, state.r, state.tau, num_draws
    )
    h = h.reshape(NUM_CHAINS, num_draws // NUM_CHAINS, num_obs, n_hidden)
    all_coords = {dim: np.arange(size) for dim, size in zip(H_DIMS, h.shape, strict=True)}
    groups = {
        "posterior": xr.Dataset({"h": (H_DIMS, h)}, all_coords),
        "approximation": xr.Dataset(found, coords),
    }
    between = [messages.belief for messages in state.layers[:-1]]
    if between:
        groups["intermediates"] = tabulate_intermediates(between, coords["obs"])
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


def _status(model: LayeredModel, state: MessageState) -> tuple[Status, str]:
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
        return Status.DIVERGED, f"messages of {share} grew beyond all bounds{note}"
    if not converged.all():
        share = f"{(~converged).sum()} of {num_obs} observations"
        residual = float(np.asarray(state.residual)[~converged].max())
        return (
            Status.NOT_CONVERGED,
            f"{share} still moved after {iterations} iterations, by up to {residual:.1e} of the "
            f"prior's scale: correlated weights do that; use gibbs{note}",
        )
    return Status.OK, f"approximation: converged in at most {iterations} iterations{note}"


def _doubt(
    model: LayeredModel, x: Float[Array, "obs visible"], state: MessageState, seed: int
) -> tuple[str, str]:
    """What is remarkable about messages that have converged, and what speaks against them.

    Where weights are not iid, the answer has to show that it is good all the same; of models too
    large for that it is not believed.
    """
    found = [check_weights(layer.weights) for layer in model.layers]
    oddities = [
        f"weights of layer {level} are not iid: {check.complaint}"
        for level, check in enumerate(found, start=1)
        if check.complaint
    ]
    plan = plan_check(model, len(x))
    beliefs, r, tau = jax.tree.map(
        lambda leaf: leaf[plan.rows],
        ([layer.belief for layer in state.layers], state.r, state.tau),
    )
    key = stream(seed, "message_passing/check")
    h = _draw(jax.random.fold_in(key, 0), model.sparse_prior, r, tau, plan.num_chains)
    checks = check_messages(key, model, x[plan.rows], beliefs, jnp.asarray(h), plan.num_sweeps)
    complaints = [
        f"{plan.num_sweeps} gibbs sweeps on {len(plan.rows)} observations, started at its draws, "
        f"{complaint} (hidden vector {level})"
        for level, check in enumerate(checks, start=1)
        if (complaint := check.complaint(strict=bool(oddities)))
    ]
    if any(check.is_hopeless for check in found):
        complaints.append("it cannot tell columns that are all but one")
    if oddities and not plan.is_thorough:
        complaints.append("with so many weights its answer cannot be checked")
    return "; ".join(oddities), "; ".join(complaints)


def check_model(model: LayeredModel) -> None:
    """Raises ValueError unless message passing can do the model; says what can."""
    check_layered_law("message_passing", model)
    check_spike_and_slab("message_passing", model.prior)
    if model.sparse_prior.fixes_count:
        raise Refusal(
            f"message_passing needs units that are independent under the prior, and "
            f"{type(model.prior).__name__} fixes the number of active ones: use gibbs or exact, or "
            "a SpikeAndSlab"
        )
    if any(layer.noise_std == 0 for layer in model.layers):
        raise Refusal(
            "message_passing needs noise_std > 0 in every layer: without noise there is no "
            "likelihood to pass on; a small noise_std has one"
        )
    if not all(layer.activation.is_rectifier for layer in model.layers[1:]):
        raise Refusal(
            "message_passing needs activation relu in every layer but the one next to x: use "
            "simulate and FeedforwardNet for others"
        )
    if not np.all(np.isfinite(model.sparse_prior.second_moment)):
        raise Refusal(
            "message_passing starts from the prior's variance, and this slab's is infinite: "
            "use gibbs, or a slab with lighter tails"
        )
