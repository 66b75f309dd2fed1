"""Complete enumeration of a finite prior's states, in bounded memory."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.inference.exact.enumeration.joint_table import JointTable, make_table
from probrev.inference.exact.enumeration.state_sums import Sums, add_block, merge_sums, no_sums
from probrev.inference.exact.exact_result import ExactOptions, ExactResult
from probrev.model.protocol import States
from probrev.model.states import FiniteStates
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import stream

MAX_STATES = 2**25
# Numbers per temporary array: few enough to stay in cache, many enough to use every core.
BLOCK_ELEMENTS = 2**19
BLOCKS_PER_CALL = 32
# The mesh's one axis: each device has a shard of the states.
SHARD = "shard"


def enumerate_posterior(
    model: Any,
    x: Float[Array, "obs visible"],
    options: ExactOptions,
) -> ExactResult:
    """p(h | x) by visiting every state; see `exact` for the arguments.

    Moments, inclusion probabilities and evidence are exact to rounding. States are streamed in
    blocks: memory does not grow with their number. Where JAX has several devices, each takes a
    share of the states, unless `jax.default_device` names one.

    Raises:
        ValueError: the states are too many or not finite, or some x has probability zero.
    """
    # A model without a density says so here, while its numbers can still be seen.
    state = jax.ShapeDtypeStruct((model.n_hidden,), x.dtype)
    jax.eval_shape(lambda h: model.log_joint(h, x[0]), state)
    return enumerate_table(model.states(), x, make_table(model, x), options)


def enumerate_table(
    states: States,
    x: Float[Array, "obs visible"],
    table: JointTable,
    options: ExactOptions,
) -> ExactResult:
    """The same over any states, log p(h, x) given as a table of its own.

    Raises:
        ValueError: the states are too many or not finite, or some x has probability zero.
    """
    count = check_count(states)
    sums = _enumerate(table, states, count, x.shape, options)
    impossible = np.flatnonzero(~(np.asarray(sums.mass) > 0))
    if impossible.size:
        raise Refusal(
            f"observation {impossible[0]} has probability zero under the model: no state of "
            "the prior could have made it"
        )
    return _summarize(states, sums)


def check_count(states: States) -> int:
    """Number of states; raises ValueError where they are too many to enumerate."""
    count = count_states(states)
    if count > MAX_STATES:
        raise Refusal(
            f"{count:,} states to enumerate, and enumeration stops at {MAX_STATES:,}: "
            "use gibbs, or fewer hidden units, slab values or active units"
        )
    return count


def count_states(states: States) -> int:
    """Number of states; unlike `len`, without a bound on its size."""
    return states.count if isinstance(states, FiniteStates) else len(states)


def _enumerate(
    table: JointTable,
    states: States,
    count: int,
    shape: tuple[int, ...],
    options: ExactOptions,
) -> Sums:
    """Streams all states through `_add_blocks`, every device a contiguous share of them.

    `shape` is that of x.
    """
    num_obs, n_visible = shape
    mesh = Mesh(list_devices(), (SHARD,))
    share = -(-count // mesh.size)
    size = max(1, min(BLOCK_ELEMENTS // max(n_visible, num_obs), share))
    first = np.minimum(np.arange(mesh.size) * share, count)
    last = np.minimum(first + share, count)
    key = stream(options.seed, "exact/draws")
    inputs = jax.device_put((key, table, states), NamedSharding(mesh, P()))
    n_hidden = jax.eval_shape(lambda: states[jnp.arange(1)]).shape[1]
    sums = no_sums(num_obs, n_hidden, options.num_draws, min(options.num_top, count))
    sums = jax.tree.map(lambda leaf: np.stack([leaf] * mesh.size), sums)
    sums = jax.device_put(sums, NamedSharding(mesh, P(SHARD)))
    step = BLOCKS_PER_CALL * size
    for offset in range(0, share, step):
        start = np.minimum(first + offset, last)
        end = np.minimum(start + step, last)
        sums = _add_blocks(sums, *inputs, start, end, mesh, size)
        if options.progress is not None:
            sums.mass.block_until_ready()
            options.progress(int((end - first).sum()), count)
    return _merge_shards(jax.device_get(sums), key, count)


def list_devices() -> list:
    """All devices of this process, or the one that the user chose as `jax.default_device`."""
    if jax.config.jax_default_device is None:
        return jax.local_devices()
    return list(jnp.empty(0).devices())


@partial(jax.jit, static_argnames=("mesh", "size"), donate_argnums=0)
def _add_blocks(
    sums: Sums,
    key: PRNGKeyArray,
    table: JointTable,
    states: States,
    start: Int[Array, " shard"],
    end: Int[Array, " shard"],
    mesh: Mesh,
    size: int,
) -> Sums:
    """Adds every shard's start, ..., end - 1, block by block, in the same temporary arrays."""

    def add_shard(sums, key, table, states, start, end):
        def add(block, sums):
            return add_block(sums, key, table, states, start[0] + block * size, end[0], size)

        num_blocks = -((start[0] - end[0]) // size)
        sums = jax.lax.fori_loop(0, num_blocks, add, jax.tree.map(lambda leaf: leaf[0], sums))
        return jax.tree.map(lambda leaf: leaf[None], sums)

    # A user's model may well have loops that the check of what varies between shards refuses.
    return jax.shard_map(
        add_shard,
        mesh=mesh,
        in_specs=(P(SHARD), P(), P(), P(), P(SHARD), P(SHARD)),
        out_specs=P(SHARD),
        check_vma=False,
    )(sums, key, table, states, start, end)


def _merge_shards(shards: Sums, key: PRNGKeyArray, count: int) -> Sums:
    """The sums over all states from each shard's own; one shard's stay as they are."""
    merged, *others = (Sums(*part) for part in zip(*shards, strict=True))
    for number, part in enumerate(others):
        # Blocks fold in the number of their first state, which is below `count`.
        merged = merge_sums(jax.random.fold_in(key, count + number), merged, part)
    return merged


@jax.jit
def _look_up(states: States, index: Int[Array, "*shape"]) -> Float[Array, "*shape hidden"]:
    """The states with these numbers."""
    return states[index.reshape(-1)].reshape(*index.shape, -1)


def _summarize(states: States, sums: Sums) -> ExactResult:
    """Moments and draws from the sums over all states."""
    h, top_states = _look_up(states, sums.draws.T), _look_up(states, sums.top.T)
    mass = np.asarray(sums.mass)
    first, second, active = (
        np.asarray(sum_) / mass[:, None] for sum_ in (sums.first, sums.second, sums.active)
    )
    log_evidence = np.asarray(sums.log_scale) + np.log(mass)
    return ExactResult(
        mean=first,
        # A difference of moments: rounding takes it below 0 where h is all but certain.
        var=np.maximum(second - first**2, 0),
        inclusion_prob=np.minimum(active, 1),  # and a sum of masses above the whole
        log_evidence=log_evidence,
        top_states=np.asarray(top_states),
        top_log_prob=np.asarray(sums.top_log_joint) - log_evidence[:, None],
        unvisited_mass=np.zeros(len(mass)),
        integration_error=np.zeros(len(mass)),
        draws=np.asarray(h),
    )
