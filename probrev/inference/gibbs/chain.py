"""Drives a pure MCMC step in compiled chunks, with progress and a checkpoint between them."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from probrev.plumbing.checkpoint import load_checkpoint, save_checkpoint
from probrev.plumbing.numbers import plain_numbers
from probrev.plumbing.progress import Progress
from probrev.plumbing.refusal import Refusal

# Draws held on the device at a time, and about how long they take: long enough to hide the call,
# short enough to show progress.
CHUNK_BYTES = 2**26
CHUNK_STEPS = 2000
CHUNK_SECONDS = 0.3
FIRST_CHUNK = 50
SECONDS_BETWEEN_CHECKPOINTS = 20.0


class Chain(NamedTuple):
    """What is left of the chains, those of all groups one after the other.

    Attributes:
        draws: pytree of what was kept, (chain, draw, ...).
        means: pytree of the averages over the kept steps, (chain, ...).
        groups: last state of each group, and its sums over the kept steps.
    """

    draws: Any
    means: Any
    groups: list[tuple[Any, Any]]

    @property
    def states(self) -> list[Any]:
        """Last state of each group."""
        return [state for state, _ in self.groups]


def nothing(state: Any) -> tuple[()]:
    """Keeps, or averages, nothing."""
    del state
    return ()


def run_chain(
    step: Callable[..., Any],
    states: Sequence[Any],
    args: tuple,
    *,
    keep: Callable[[Any], Any],
    average: Callable[[Any], Any] = nothing,
    num_warmup: int,
    num_samples: int,
    max_samples: int | None = None,
    extend: Chain | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> Chain:
    """Runs groups of chains side by side and returns their draws, and averages over them.

    A step leaves cores idle between its parallel parts, so each group has a thread of its own. The
    key lives in the state, so the draws do not depend on how the run is cut into chunks.

    Args:
        step: (state, *args) -> state, a pure module-level function (it is compiled once a shape).
        states: start of each group of chains, a pytree with the random key in it.
        args: what the step needs besides, pytrees.
        keep: state -> pytree of what every draw keeps, (chain, ...); a module-level function.
        average: state -> pytree of what is only averaged, alike.
        num_warmup: steps that are thrown away.
        num_samples: steps that are kept.
        max_samples: a checkpoint that was on its way to more steps than `num_samples`, but no more
            than these, is followed to where it was going.
        extend: what the same call has returned for fewer steps, which is gone on from.
        checkpoint: file to save in and to resume from.
        progress: called with steps done and in all.

    Raises:
        ValueError: the checkpoint belongs to another run, or holds more draws than are asked for.
    """
    if num_warmup < 0 or num_samples < 1:
        raise Refusal(
            "num_warmup must be at least 0 and num_samples at least 1; "
            f"got {num_warmup} and {num_samples}"
        )
    kept_shape, sums_shape = jax.eval_shape(lambda state: (keep(state), average(state)), states[0])
    num_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept_shape))
    size = int(np.clip(CHUNK_BYTES // max(num_bytes * len(states), 1), 1, CHUNK_STEPS))
    groups = [(state, _zeros(sums_shape)) for state in states]
    total, done, kept = num_warmup + num_samples, 0, []
    names = (step.__qualname__, keep.__qualname__, average.__qualname__)
    run = (names, (groups, np.asarray(0)), args, num_warmup)
    if extend is not None:
        groups, kept = extend.groups, [jax.tree.map(_swap, extend.draws)]
        done = num_warmup + len(jax.tree.leaves(kept)[0])
    elif checkpoint is not None and Path(checkpoint).exists():
        (groups, goal), done, kept = load_checkpoint(checkpoint, run, kept_shape)
        if total < goal <= num_warmup + (max_samples or num_samples):
            total = int(goal)
    if done > total:
        raise Refusal(
            f"the checkpoint {checkpoint} holds {done - num_warmup} draws, more than "
            f"num_samples = {num_samples}: ask for at least as many, or name another file"
        )
    advance = partial(_advance, step, keep, average, size)
    # Compiled here, once, and not in every thread: no step is made.
    jax.block_until_ready(advance(*groups[0], jnp.asarray(0), jnp.asarray(False), args))
    saved, pace = time.monotonic(), FIRST_CHUNK
    while done < total:
        # A chunk holds warm-up or draws, never both.
        keeping, begun = done >= num_warmup, time.monotonic()
        end = min(done + min(pace, size), total if keeping else num_warmup)
        groups, draws = _advance_all(advance, groups, end - done, keeping, args)
        if keeping:
            kept.append(draws)
        seconds_a_step = (time.monotonic() - begun) / (end - done)
        pace = int(np.clip(CHUNK_SECONDS / seconds_a_step, 1, 2 * pace))
        done = end
        if progress is not None:
            progress(done, total)
        if checkpoint is not None and (
            done == total or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS
        ):
            save_checkpoint(checkpoint, run, (groups, np.asarray(total)), done, kept)
            saved = time.monotonic()
    draws = jax.tree.map(lambda *leaves: _swap(np.concatenate(leaves)), *kept)
    sums = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(sums for _, sums in groups))
    means = jax.tree.map(lambda leaf: leaf / (total - num_warmup), sums)
    return Chain(draws, means, groups)


def _swap(draws: np.ndarray) -> np.ndarray:
    """(draw, chain, ...) to (chain, draw, ...), and back."""
    return np.moveaxis(draws, 0, 1)


def _zeros(shapes: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, float), shapes)


def _advance_all(
    advance: Callable[..., Any], groups: list[Any], num_steps: int, keeping: bool, args: tuple
) -> tuple[list[Any], Any]:
    """A chunk of every group; the groups, and their draws (draw, chain, ...) put together."""
    chunk = jnp.asarray(num_steps), jnp.asarray(keeping)
    x64, device = jax.config.jax_enable_x64, jax.config.jax_default_device

    def run(group: Any) -> tuple[Any, Any, Any]:
        # Threads do not inherit what a `with` has set.
        with plain_numbers(), jax.enable_x64(x64), jax.default_device(device):
            return jax.block_until_ready(advance(*group, *chunk, args))

    with ThreadPoolExecutor(len(groups)) as pool:
        results = list(pool.map(run, groups))
    draws = jax.tree.map(
        # NumPy's slices: JAX would compile one for every number of steps.
        lambda *leaves: np.concatenate([np.asarray(leaf)[:num_steps] for leaf in leaves], axis=1),
        *(draws for *_, draws in results),
    )
    return [(state, sums) for state, sums, _ in results], draws


@partial(jax.jit, static_argnames=("step", "keep", "average", "size"))
def _advance(step, keep, average, size, state, sums, num_steps, keeping, args):
    """`num_steps` steps, at most `size`; the number is dynamic so that one compilation serves."""

    def body(index, carry):
        state, sums, draws = carry
        state = step(state, *args)
        sums = jax.tree.map(lambda a, b: a + jnp.where(keeping, b, 0), sums, average(state))
        # Not `at[index].set`, which would look each time whether there is such a place.
        put = partial(jax.lax.dynamic_update_index_in_dim, index=index, axis=0)
        return state, sums, jax.tree.map(put, draws, keep(state))

    shapes = jax.eval_shape(keep, state)
    draws = jax.tree.map(lambda leaf: jnp.zeros((size, *leaf.shape), leaf.dtype), shapes)
    return jax.lax.fori_loop(0, num_steps, body, (state, sums, draws))
