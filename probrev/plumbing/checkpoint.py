"""Saving a long run on its way, so that, interrupted, it resumes bit for bit."""

import hashlib
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from probrev.plumbing.refusal import Refusal
from probrev.plumbing.replacing import replacing


def save_checkpoint(path: str | Path, run: Any, state: Any, done: int, kept: list[Any]) -> None:
    """Writes a run to `path`, whole or not at all.

    Args:
        path: file to write.
        run: what defines the run (names, start, data), to recognise it later.
        state: state after `done` steps.
        done: number of steps done.
        kept: what has been kept so far (draws, scores), a list of pytrees that are alike.
    """
    draws = jax.tree.map(lambda *leaves: np.concatenate(leaves), *kept) if kept else ()
    leaves = {
        f"{name}_{index}": _to_numpy(leaf)
        for name, tree in (("state", state), ("draws", draws))
        for index, leaf in enumerate(jax.tree.leaves(tree))
    }
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, fingerprint=fingerprint(run), done=done, **leaves)  # pyright: ignore[reportArgumentType]


def load_checkpoint(path: str | Path, run: Any, kept: Any) -> tuple[Any, int, list[Any]]:
    """Reads what `save_checkpoint` wrote: state, number of steps done, draws so far.

    Args:
        path: file to read.
        run: what defines the run; its second entry is the start.
        kept: a pytree like those of the draws.

    Raises:
        ValueError: the file is not a checkpoint, or belongs to another run.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            saved = dict(file)
        saved_for = str(saved["fingerprint"])
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise Refusal(f"{path} is not a checkpoint: {error}") from error
    if saved_for != fingerprint(run):
        raise Refusal(
            f"the checkpoint {path} belongs to another run (other key, model, data or "
            "settings): delete it or name another file"
        )
    _, start, *_ = run
    leaves, structure = jax.tree.flatten(start)
    restored = [_like(saved[f"state_{index}"], leaf) for index, leaf in enumerate(leaves)]
    num_kept = jax.tree.structure(kept).num_leaves
    draws = [saved[f"draws_{index}"] for index in range(num_kept) if f"draws_{index}" in saved]
    trees = [jax.tree.unflatten(jax.tree.structure(kept), draws)] if draws else []
    return jax.tree.unflatten(structure, restored), int(saved["done"]), trees


def fingerprint(run: Any) -> str:
    """SHA-256 of a pytree's numbers, texts and structure, the same in every process."""
    leaves, structure = jax.tree.flatten(run)
    # Functions are told apart by their names: where they lie in memory is another each time.
    digest = hashlib.sha256(re.sub(r" at 0x[0-9a-f]+", "", str(structure)).encode())
    for leaf in leaves:
        value = leaf if isinstance(leaf, str) else _to_numpy(leaf)
        digest.update(repr((np.shape(value), str(np.asarray(value).dtype))).encode())
        digest.update(np.asarray(value).tobytes())
    return digest.hexdigest()


def _to_numpy(leaf: Any) -> np.ndarray:
    """A leaf as plain numbers; typed keys as their bits."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def _like(value: np.ndarray, leaf: Any) -> Any:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.array(value), impl=jax.random.key_impl(leaf))
    return jnp.array(value)
