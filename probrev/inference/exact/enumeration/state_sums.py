"""Running sums over states: what enumeration carries from block to block, and how parts merge."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.inference.exact.enumeration.joint_table import JointTable
from probrev.model.protocol import States

MOVED_AT_ONCE = 2**13  # draws, of all observations together


class Sums(NamedTuple):
    """Running sums over the states seen so far, relative to the heaviest of them.

    Attributes:
        log_scale: largest log joint so far, (obs,).
        mass: sum of exp(log joint - log_scale), (obs,).
        first: the same sum of h, (obs, hidden).
        second: of h^2, (obs, hidden).
        active: of 1{h > 0}, (obs, hidden).
        draws: numbers of iid drawn states, (obs, draw).
        next_move: log mass at which each of them moves to a newer state, (obs, draw).
        top_log_joint: the heaviest states' log joints, descending, (obs, top).
        top: their numbers, (obs, top).
    """

    log_scale: Float[Array, " obs"]
    mass: Float[Array, " obs"]
    first: Float[Array, "obs hidden"]
    second: Float[Array, "obs hidden"]
    active: Float[Array, "obs hidden"]
    draws: Int[Array, "obs draw"]
    next_move: Float[Array, "obs draw"]
    top_log_joint: Float[Array, "obs top"]
    top: Int[Array, "obs top"]


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def no_sums(num_obs: int, n_hidden: int, num_draws: int, num_top: int) -> Sums:
    """The sums over no states."""
    return Sums(
        log_scale=jnp.full(num_obs, -jnp.inf),
        mass=jnp.zeros(num_obs),
        first=jnp.zeros((num_obs, n_hidden)),
        second=jnp.zeros((num_obs, n_hidden)),
        active=jnp.zeros((num_obs, n_hidden)),
        draws=jnp.zeros((num_obs, num_draws), jnp.int64),
        next_move=jnp.full((num_obs, num_draws), -jnp.inf),
        top_log_joint=jnp.full((num_obs, num_top), -jnp.inf),
        top=jnp.zeros((num_obs, num_top), jnp.int64),
    )


def add_block(
    sums: Sums,
    key: PRNGKeyArray,
    table: JointTable,
    states: States,
    start: Int[Array, ""],
    end: Int[Array, ""],
    size: int,
) -> Sums:
    """Adds the states start, start + 1, ..., start + size - 1, but none from `end` on."""
    index = start + jnp.arange(size)
    h = states[jnp.minimum(index, end - 1)]
    log_joint = jnp.where((index < end)[:, None], table(h), -jnp.inf)
    log_scale = jnp.maximum(sums.log_scale, log_joint.max(0))
    shift = _finite(log_scale)
    weight = jnp.exp(log_joint - shift[None, :]).T
    decay = jnp.exp(sums.log_scale - shift)
    mass = decay * sums.mass + weight.sum(1)
    draws, next_move = _renew_draws(
        jax.random.fold_in(key, start), sums.draws, sums.next_move, weight,
        log_scale + jnp.log(mass), start,
    )  # fmt: skip
    top_log_joint, top = _renew_top(sums.top_log_joint, sums.top, log_joint.T, start)
    return Sums(
        log_scale=log_scale,
        mass=mass,
        first=decay[:, None] * sums.first + weight @ h,
        second=decay[:, None] * sums.second + weight @ h**2,
        active=decay[:, None] * sums.active + weight @ (h > 0).astype(h.dtype),
        draws=draws,
        next_move=next_move,
        top_log_joint=top_log_joint,
        top=top,
    )


@jax.jit
def merge_sums(key: PRNGKeyArray, left: Sums, right: Sums) -> Sums:
    """The sums over the states of both; no state may be in both.

    Of heaviest states that weigh the same, those of `left` go first.
    """
    log_scale = jnp.maximum(left.log_scale, right.log_scale)
    shift = _finite(log_scale)
    left_decay, right_decay = jnp.exp(left.log_scale - shift), jnp.exp(right.log_scale - shift)
    mass = left_decay * left.mass + right_decay * right.mass
    share = _share(right_decay * right.mass, mass)
    moving, staying = jax.random.uniform(key, (2, *left.draws.shape))
    moves = moving < share[:, None]
    top_log_joint, top = _keep_top(
        jnp.concatenate([left.top_log_joint, right.top_log_joint], axis=1),
        jnp.concatenate([left.top, right.top], axis=1),
        left.top.shape[1],
    )
    left_decay, right_decay = left_decay[:, None], right_decay[:, None]
    return Sums(
        log_scale=log_scale,
        mass=mass,
        first=left_decay * left.first + right_decay * right.first,
        second=left_decay * left.second + right_decay * right.second,
        active=left_decay * left.active + right_decay * right.active,
        draws=jnp.where(moves, right.draws, left.draws),
        next_move=(log_scale + jnp.log(mass))[:, None] - jnp.log(staying),
        top_log_joint=top_log_joint,
        top=top,
    )


def _finite(log_scale: Float[Array, " obs"]) -> Float[Array, " obs"]:
    """The scale to divide by: 1 where no state so far was possible."""
    return jnp.where(jnp.isfinite(log_scale), log_scale, 0.0)


def _share(part: Float[Array, " obs"], mass: Float[Array, " obs"]) -> Float[Array, " obs"]:
    """The part's share of the mass; 0 of none."""
    return jnp.where(mass > 0, part / jnp.where(mass > 0, mass, 1.0), 0.0)


def _keep_top(
    log_joint: Float[Array, "obs state"], numbers: Int[Array, "obs state"], num_top: int
) -> tuple[Float[Array, "obs top"], Int[Array, "obs top"]]:
    """The heaviest of these states, descending, and their numbers."""
    kept, rank = jax.lax.top_k(log_joint, num_top)
    return kept, jnp.take_along_axis(numbers, rank, axis=1)


def _renew_top(
    top_log_joint: Float[Array, "obs top"],
    top: Int[Array, "obs top"],
    log_joint: Float[Array, "obs state"],
    start: Int[Array, ""],
) -> tuple[Array, Array]:
    """Keeps the heaviest states: those of the block that are heavier than the least of them.

    Once the sums are under way they are few, and picking them out is quicker than ranking the
    block.
    """
    num_top = top.shape[1]
    count = jnp.cumsum(log_joint > top_log_joint[:, -1:], axis=1, dtype=jnp.int32)

    def rank(log_joint, index):
        ranked = jnp.concatenate([top_log_joint, log_joint], axis=1)
        return _keep_top(ranked, jnp.concatenate([top, start + index], axis=1), num_top)

    def rank_few():
        shape = top.shape
        index = _search(count, jnp.indices(shape)[0], jnp.indices(shape)[1])
        heavier = jnp.take_along_axis(log_joint, index, axis=1, mode="fill", fill_value=-jnp.inf)
        return rank(heavier, index)

    def rank_all():
        index = jnp.broadcast_to(jnp.arange(log_joint.shape[1]), log_joint.shape)
        return rank(log_joint, index)

    most = count[:, -1].max()
    case = jnp.where(most == 0, 0, jnp.where(most <= num_top, 1, 2))
    return jax.lax.switch(case, [lambda: (top_log_joint, top), rank_few, rank_all])


def _renew_draws(
    key: PRNGKeyArray,
    draws: Int[Array, "obs draw"],
    next_move: Float[Array, "obs draw"],
    weight: Float[Array, "obs state"],
    log_mass: Float[Array, " obs"],
    start: Int[Array, ""],
) -> tuple[Array, Array]:
    """Keeps iid draws of the states seen so far: each moves into the new block with its share.

    A draw stays while the mass seen grows from M to M' with probability M / M'; so it moves once
    that exceeds M / u, u uniform. Only those that move need random numbers, some at a time.
    """
    count = jnp.cumsum(next_move < log_mass[:, None], axis=1, dtype=jnp.int32)
    total = jnp.cumsum(count[:, -1])
    before = total - count[:, -1]
    cumulative = jnp.cumsum(weight, axis=1)
    size = min(MOVED_AT_ONCE, draws.size)

    def move(part, carried):
        draws, next_move = carried
        number = part * size + jnp.arange(size)
        obs = jnp.searchsorted(total, number, side="right")
        moved = jnp.where(obs < len(draws), _search(count, obs, number - before[obs]), draws.size)
        place, stay = jax.random.uniform(jax.random.fold_in(key, part), (2, size))
        within = _search(cumulative, obs, place * cumulative[obs, -1])
        within = jnp.minimum(within, weight.shape[1] - 1)
        draws = draws.at[obs, moved].set(start + within, mode="drop")
        renewed = log_mass[obs] - jnp.log(stay)
        return draws, next_move.at[obs, moved].set(renewed, mode="drop")

    return jax.lax.fori_loop(0, -(-total[-1] // size), move, (draws, next_move))


def _search(
    ascending: Float[Array, "row item"] | Int[Array, "row item"],
    row: Int[Array, "*shape"],
    value: Float[Array, "*shape"] | Int[Array, "*shape"],
) -> Int[Array, "*shape"]:
    """How many items of a row are at most the value, by bisection."""
    num_items = ascending.shape[1]
    steps = 2 ** jnp.arange(num_items.bit_length(), dtype=jnp.int32)[::-1]

    def halve(found, step):
        probe = found + step
        item = ascending[row, jnp.minimum(probe, num_items) - 1]
        return jnp.where((probe <= num_items) & (item <= value), probe, found), None

    return jax.lax.scan(halve, jnp.zeros(row.shape, jnp.int32), steps)[0]
