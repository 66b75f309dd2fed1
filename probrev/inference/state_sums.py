"""Running sums over states: what enumeration carries from block to block, and how parts merge."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.inference.joint_table import JointTable
from probrev.model import States


class Sums(NamedTuple):
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
    block_mass = weight.sum(1)
    mass = decay * sums.mass + block_mass
    share = _share(block_mass, mass)
    top_log_joint, top = _renew_top(sums.top_log_joint, sums.top, log_joint.T, start)
    return Sums(
        log_scale=log_scale,
        mass=mass,
        first=decay[:, None] * sums.first + weight @ h,
        second=decay[:, None] * sums.second + weight @ h**2,
        active=decay[:, None] * sums.active + weight @ (h > 0).astype(h.dtype),
        draws=_renew_draws(jax.random.fold_in(key, start), sums.draws, weight, share, start),
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
    moves = jax.random.uniform(key, left.draws.shape) < share[:, None]
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
    """Keeps the heaviest states, where the block has one that is heavier than any of them."""

    def renew():
        index = jnp.broadcast_to(start + jnp.arange(log_joint.shape[1]), log_joint.shape)
        best, best_index = _keep_top(log_joint, index, min(top.shape[1], log_joint.shape[1]))
        ranked = jnp.concatenate([top_log_joint, best], axis=1)
        numbers = jnp.concatenate([top, best_index], axis=1)
        return _keep_top(ranked, numbers, top.shape[1])

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
