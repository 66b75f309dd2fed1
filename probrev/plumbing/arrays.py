"""The door that arrays come in by: what would lose something on its way into JAX is refused.

What is kept is a copy: JAX shares memory with NumPy arrays that happen to be aligned, and would see
what their owner writes into them later.
"""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from probrev.plumbing.refusal import Refusal


def check_real(name: str, value: Any) -> None:
    """Raises ValueError unless a value is real numbers or truth values, all of them there.

    NumPy and JAX drop a mask, and an imaginary part, with no more than a warning.

    Args:
        name: what to call it in the error.
        value: anything that NumPy can make an array of, or a tracer.
    """
    if value is None:
        raise Refusal(f"{name} must be real numbers; got None")
    parts = jax.tree.leaves(value) if isinstance(value, list | tuple) else [value]
    if any(map(np.ma.isMaskedArray, parts)):
        raise Refusal(
            f"{name} is a masked array, and its mask would be lost: fill it, or leave out what is "
            "masked"
        )
    if any(isinstance(part, jax.core.Tracer) for part in parts):
        return
    dtype = _dtype_of(name, value)
    if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise Refusal(
            f"{name} must be real numbers; got an array of {dtype}: convert it first, as in "
            "numpy.asarray(values, dtype=float)"
        )


def as_floats(value: ArrayLike, dtype: DTypeLike = float) -> jax.Array:
    """Numbers as a JAX array to keep, which nobody else can write into.

    A NumPy array is copied. A memory map that is read-only, and has the dtype already, is not: it
    may be as large as memory.

    Args:
        value: anything that JAX can make an array of, or a tracer.
        dtype: of the array.
    """
    is_map = isinstance(value, np.memmap) and not value.flags.writeable
    if is_map or isinstance(value, jax.Array):
        return jnp.asarray(value, dtype)
    return jnp.array(value, dtype)


def own(tree: Any) -> Any:
    """A pytree whose NumPy arrays are JAX arrays, copied; all else in it as it is."""
    if not any(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(tree)):
        return tree
    return jax.tree.map(
        lambda leaf: jnp.array(leaf) if isinstance(leaf, np.ndarray) else leaf, tree
    )


def _dtype_of(name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return value.dtype
    try:
        return np.asarray(value).dtype
    except (ValueError, TypeError):
        raise Refusal(
            f"{name} must be an array of real numbers; got {type(value).__name__} of uneven parts"
        ) from None
