"""Complete enumeration of a finite prior's states, in bounded memory."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.inference.exact_result import ExactResult
from probrev.inference.joint_table import JointTable, make_table
from probrev.model import Model, States
from probrev.progress import Progress
from probrev.states import FiniteStates

MAX_STATES = 2**25
# Numbers per temporary array: few enough to stay in cache, many enough to use every core.
BLOCK_ELEMENTS = 2**19
BLOCKS_PER_CALL = 32


class _Sums(NamedTuple):
    """Running sums over the states seen so far, relative to the heaviest of them.

    Attributes:
        log_scale: largest log joint so far, (obs,).
        mass: sum of exp(log joint - log_scale), (obs,).
        first: the same sum of h, (obs, hidden).
        second: of h^2, (obs, hidden).
        active: of 1{h > 0}, (obs, hidden).
        draws: numbers of iid drawn states, (obs, draw).
        top_log_joint: the heaviest states' log joints, descending, (obs, top).
        top: their numbers, (obs, top).
    """

    log_scale: Float[Array, " obs"]
    mass: Float[Array, " obs"]
    first: Float[Array, "obs hidden"]
    second: Float[Array, "obs hidden"]
    active: Float[Array, "obs hidden"]
    draws: Int[Array, "obs draw"]
    top_log_joint: Float[Array, "obs top"]
    top: Int[Array, "obs top"]


def enumerate_posterior(
    model: Model,
    x: Float[Array, "obs visible"],
    *,
    num_draws: int,
    num_top: int,
    draw_seed: int,
    progress: Progress | None,
) -> ExactResult:
    """p(h | x) by visiting every state; see `exact` for the arguments.

    Moments, inclusion probabilities and evidence are exact to rounding. States are streamed in
    blocks: memory does not grow with their number.

    Raises:
        ValueError: the states are too many or not finite, or some x has probability zero.
    """
    states = model.states()
    count = check_count(states)
    # A model without a density says so here, while its numbers can still be seen.
    state = jax.ShapeDtypeStruct((model.n_hidden,), x.dtype)
    jax.eval_shape(lambda h: model.log_joint(h, x[0]), state)
    sums = _enumerate(model, states, count, x, num_draws, num_top, draw_seed, progress)
    impossible = np.flatnonzero(~(np.asarray(sums.mass) > 0))
    if impossible.size:
        raise ValueError(
            f"observation {impossible[0]} has probability zero under the model: no state of "
            "the prior could have made it"
        )
    return _summarize(states, sums)


def check_count(states: States) -> int:
    """Number of states; raises ValueError where they are too many to enumerate."""
    count = count_states(states)
    if count > MAX_STATES:
        raise ValueError(
            f"the prior has {count:,} states and enumeration stops at {MAX_STATES:,}: "
            "use gibbs, or fewer hidden units, slab values or active units"
        )
    return count


def count_states(states: States) -> int:
    """Number of states; unlike `len`, without a bound on its size."""
    return states.count if isinstance(states, FiniteStates) else len(states)


def _enumerate(
    model: Model,
    states: States,
    count: int,
    x: Float[Array, "obs visible"],
    num_draws: int,
    num_top: int,
    draw_seed: int,
    progress: Progress | None,
) -> _Sums:
    """Streams all states through `_add_blocks`."""
    num_obs, n_visible = x.shape
    size = max(1, min(BLOCK_ELEMENTS // max(n_visible, num_obs), count))
    num_top = min(num_top, count)
    sums = _no_sums(num_obs, model.n_hidden, num_draws, num_top)
    key = jax.random.key(draw_seed)
    table = make_table(model, x)
    step = BLOCKS_PER_CALL * size
    for start in range(0, count, step):
        end = min(start + step, count)
        sums = _add_blocks(sums, key, table, states, start, end, count, size)
        if progress is not None:
            sums.mass.block_until_ready()
            progress(end, count)
    return jax.block_until_ready(sums)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _no_sums(num_obs: int, n_hidden: int, num_draws: int, num_top: int) -> _Sums:
    """The sums over no states."""
    return _Sums(
        log_scale=jnp.full(num_obs, -jnp.inf),
        mass=jnp.zeros(num_obs),
        first=jnp.zeros((num_obs, n_hidden)),
        second=jnp.zeros((num_obs, n_hidden)),
        active=jnp.zeros((num_obs, n_hidden)),
        draws=jnp.zeros((num_obs, num_draws), jnp.int64),
        top_log_joint=jnp.full((num_obs, num_top), -jnp.inf),
        top=jnp.zeros((num_obs, num_top), jnp.int64),
    )


@partial(jax.jit, static_argnames=("count", "size"), donate_argnums=0)
def _add_blocks(
    sums: _Sums,
    key: PRNGKeyArray,
    table: JointTable,
    states: States,
    start: Int[Array, ""],
    end: Int[Array, ""],
    count: int,
    size: int,
) -> _Sums:
    """Adds the states start, ..., end - 1, block by block, in the same temporary arrays."""

    def add(block, sums):
        return _add_block(sums, key, table, states, start + block * size, count, size)

    return jax.lax.fori_loop(0, -((start - end) // size), add, sums)


def _add_block(
    sums: _Sums,
    key: PRNGKeyArray,
    table: JointTable,
    states: States,
    start: Int[Array, ""],
    count: int,
    size: int,
) -> _Sums:
    """Adds the states start, start + 1, ..., start + size - 1."""
    index = start + jnp.arange(size)
    h = states[jnp.minimum(index, count - 1)]
    log_joint = jnp.where((index < count)[:, None], table(h), -jnp.inf)
    log_scale = jnp.maximum(sums.log_scale, log_joint.max(0))
    shift = jnp.where(jnp.isfinite(log_scale), log_scale, 0.0)
    weight = jnp.exp(log_joint - shift[None, :]).T
    decay = jnp.exp(sums.log_scale - shift)
    block_mass = weight.sum(1)
    mass = decay * sums.mass + block_mass
    share = jnp.where(mass > 0, block_mass / jnp.where(mass > 0, mass, 1.0), 0.0)
    top_log_joint, top = _renew_top(sums.top_log_joint, sums.top, log_joint.T, start)
    return _Sums(
        log_scale=log_scale,
        mass=mass,
        first=decay[:, None] * sums.first + weight @ h,
        second=decay[:, None] * sums.second + weight @ h**2,
        active=decay[:, None] * sums.active + weight @ (h > 0).astype(h.dtype),
        draws=_renew_draws(jax.random.fold_in(key, start), sums.draws, weight, share, start),
        top_log_joint=top_log_joint,
        top=top,
    )


def _renew_top(
    top_log_joint: Float[Array, "obs top"],
    top: Int[Array, "obs top"],
    log_joint: Float[Array, "obs state"],
    start: Int[Array, ""],
) -> tuple[Array, Array]:
    """Keeps the heaviest states, where the block has one that is heavier than any of them."""

    def renew():
        index = jnp.broadcast_to(start + jnp.arange(log_joint.shape[1]), log_joint.shape)
        best, rank = jax.lax.top_k(log_joint, min(top.shape[1], log_joint.shape[1]))
        ranked = jnp.concatenate([top_log_joint, best], axis=1)
        numbers = jnp.concatenate([top, jnp.take_along_axis(index, rank, axis=1)], axis=1)
        merged, rank = jax.lax.top_k(ranked, top.shape[1])
        return merged, jnp.take_along_axis(numbers, rank, axis=1)

    heavier = log_joint.max(1) > top_log_joint[:, -1]
    return jax.lax.cond(heavier.any(), renew, lambda: (top_log_joint, top))


def _renew_draws(
    key: PRNGKeyArray,
    draws: Int[Array, "obs draw"],
    weight: Float[Array, "obs state"],
    share: Float[Array, " obs"],
    start: Int[Array, ""],
) -> Int[Array, "obs draw"]:
    """Keeps iid draws of the states seen so far: each moves into the new block with its share.

    One uniform u decides both: u < share moves the draw, and u / share, uniform then, says where.
    """
    uniform = jax.random.uniform(key, draws.shape)
    moves = uniform < share[:, None]

    def renew(draws):
        cumulative = jnp.cumsum(weight, axis=1)
        target = uniform / jnp.where(share > 0, share, 1.0)[:, None] * cumulative[:, -1:]
        within = jax.vmap(partial(jnp.searchsorted, side="right"))(cumulative, target)
        within = jnp.minimum(within, weight.shape[1] - 1)
        return jnp.where(moves, start + within, draws)

    return jax.lax.cond(moves.any(), renew, lambda draws: draws, draws)


@jax.jit
def _look_up(states: States, index: Int[Array, "*shape"]) -> Float[Array, "*shape hidden"]:
    """The states with these numbers."""
    return states[index.reshape(-1)].reshape(*index.shape, -1)


def _summarize(states: States, sums: _Sums) -> ExactResult:
    """Moments and draws from the sums over all states."""
    h, top_states = _look_up(states, sums.draws.T), _look_up(states, sums.top.T)
    mass = np.asarray(sums.mass)
    first, second, active = (
        np.asarray(sum_) / mass[:, None] for sum_ in (sums.first, sums.second, sums.active)
    )
    log_evidence = np.asarray(sums.log_scale) + np.log(mass)
    return ExactResult(
        mean=first,
        var=second - first**2,
        inclusion_prob=active,
        log_evidence=log_evidence,
        top_states=np.asarray(top_states),
        top_log_prob=np.asarray(sums.top_log_joint) - log_evidence[:, None],
        unvisited_mass=np.zeros(len(mass)),
        integration_error=np.zeros(len(mass)),
        draws=np.asarray(h),
    )
