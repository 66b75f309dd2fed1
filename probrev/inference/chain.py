"""Drives a pure MCMC step in compiled chunks, with progress and a checkpoint between them."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from probrev.checkpoint import load_checkpoint, save_checkpoint
from probrev.progress import Progress

# Draws held on the device at a time: large enough to hide the call, small enough to show progress.
CHUNK_BYTES = 2**26
CHUNK_STEPS = 100
SECONDS_BETWEEN_CHECKPOINTS = 20.0


def run_chain(
    step: Callable[..., Any],
    state: Any,
    args: tuple,
    *,
    num_warmup: int,
    num_samples: int,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """Runs a chain and returns the draws of `state.h`.

    The key lives in the state, so the draws do not depend on how the run is cut into chunks.

    Args:
        step: (state, *args) -> state, a pure module-level function (it is compiled once a shape).
        state: start of all chains; a NamedTuple with `h` (chain, obs, hidden) and `rng_key`.
        args: what the step needs besides, pytrees.
        num_warmup: steps that are thrown away.
        num_samples: steps that are kept.
        checkpoint: file to save in and to resume from.
        progress: called with steps done and in all.

    Returns:
        Draws, (chain, num_samples, obs, hidden).

    Raises:
        ValueError: the checkpoint belongs to another run.
    """
    if num_warmup < 0 or num_samples < 1:
        raise ValueError(
            "num_warmup must be at least 0 and num_samples at least 1; "
            f"got {num_warmup} and {num_samples}"
        )
    total, done, kept = num_warmup + num_samples, 0, []
    run = (step.__qualname__, state, args, num_warmup)
    if checkpoint is not None and Path(checkpoint).exists():
        state, done, kept = load_checkpoint(checkpoint, run)
    size = int(np.clip(CHUNK_BYTES // max(state.h.nbytes, 1), 1, CHUNK_STEPS))
    saved = time.monotonic()
    while done < total:
        # A chunk holds warm-up or draws, never both.
        end = min(done + size, num_warmup if done < num_warmup else total)
        state, draws = _advance(step, size, state, jnp.asarray(end - done), args)
        if done >= num_warmup:
            kept.append(np.asarray(draws[: end - done]))
        done = end
        if progress is not None:
            progress(done, total)
        if checkpoint is not None and (
            done == total or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS
        ):
            save_checkpoint(checkpoint, run, state, done, kept)
            saved = time.monotonic()
    return np.moveaxis(np.concatenate(kept)[:num_samples], 0, 1)


@partial(jax.jit, static_argnames=("step", "size"))
def _advance(step, size, state, num_steps, args):
    """`num_steps` steps, at most `size`; the number is dynamic so that one compilation serves."""

    def body(index, carry):
        state, draws = carry
        state = step(state, *args)
        return state, draws.at[index].set(state.h)

    draws = jnp.zeros((size, *state.h.shape), state.h.dtype)
    return jax.lax.fori_loop(0, num_steps, body, (state, draws))
