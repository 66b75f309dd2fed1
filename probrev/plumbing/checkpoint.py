"""Saving a long run on its way, so that, interrupted, it resumes bit for bit."""

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution

from probrev.plumbing.fields import FIELDS
from probrev.plumbing.pytree import describe
from probrev.plumbing.refusal import Refusal, taken_for
from probrev.plumbing.replacing import replacing


def save_checkpoint(path: str | Path, run: Any, state: Any, done: int, kept: list[Any]) -> None:
    """Writes a run to `path`, whole or not at all; one that cannot be written is warned of.

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
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, fingerprint=fingerprint(run), done=done, **leaves)  # pyright: ignore[reportArgumentType]
    except OSError as error:
        warnings.warn(
            f"the checkpoint {path} could not be written ({error.strerror or error}): the run goes "
            "on, and if it is interrupted it cannot be gone on with from here",
            RuntimeWarning,
            stacklevel=2,
        )


def load_checkpoint(path: str | Path, run: Any, kept: Any) -> tuple[Any, int, list[Any]]:
    """Reads what `save_checkpoint` wrote: state, number of steps done, draws so far.

    Args:
        path: file to read.
        run: what defines the run; its second entry is the start.
        kept: a pytree like those of the draws.

    Raises:
        ValueError: the file is not a checkpoint, or belongs to another run.
    """
    wanted = fingerprint(run)
    with taken_for(path, "a checkpoint", "delete it, and the run starts again"):
        # Opened here: NumPy leaves a broken archive open.
        with Path(path).open("rb") as source, np.load(source, allow_pickle=False) as file:
            saved = dict(file)
        if str(saved["fingerprint"]) != wanted:
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
    digest = hashlib.sha256()
    for part in _parts(run):
        digest.update(part)
    return digest.hexdigest()


def _parts(tree: Any) -> Iterator[bytes]:
    """What a pytree is, node by node.

    Not by `jax.tree.flatten`: the fields of a NumPyro distribution are in the order of a set, which
    string hashing makes another in every process.
    """
    node = jax.tree_util.default_registry.flatten_one_level(tree)
    if node is None:
        yield from _leaf(tree)
        return
    children, structure = list(node[0]), node[1]
    yield f"{type(tree).__module__}.{type(tree).__qualname__}".encode()
    if isinstance(tree, Distribution) and not hasattr(tree, FIELDS):
        # By the names of its parameters, and by whatever else it is flattened to, in any order.
        yield from _parts({name: vars(tree).get(name) for name in tree.arg_constraints})
        yield from sorted(fingerprint(part).encode() for part in (*children, *structure))
        return
    yield f"({describe(structure)}){len(children)}".encode()
    for child in children:
        yield from _parts(child)


def _leaf(leaf: Any) -> Iterator[bytes]:
    """Numbers and texts by their dtype, shape and bytes; anything else by what it does or says."""
    is_plain = isinstance(leaf, str | bool | int | float | np.ndarray | np.generic | jax.Array)
    if not is_plain:
        yield describe(leaf).encode()
        return
    value = np.asarray(leaf if isinstance(leaf, str) else _to_numpy(leaf))
    yield repr((value.shape, str(value.dtype))).encode()
    yield value.tobytes()


def _to_numpy(leaf: Any) -> np.ndarray:
    """A leaf as plain numbers; typed keys as their bits."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def _like(value: np.ndarray, leaf: Any) -> Any:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.array(value), impl=jax.random.key_impl(leaf))
    return jnp.array(value)
