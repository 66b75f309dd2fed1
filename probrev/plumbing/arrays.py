"""The door that arrays come in by: what would lose something on its way into JAX is refused."""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from probrev.plumbing.refusal import Refusal


def check_real(name: str, value: Any) -> None:
    """Raises ValueError unless a value is real numbers or truth values, all of them there.

    NumPy and JAX drop a mask, and an imaginary part, with no more than a warning.

    Args:
        name: what to call it in the error.
        value: anything that NumPy can make an array of, or a tracer.
    """
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


def _dtype_of(name: str, value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return value.dtype
    try:
        return np.asarray(value).dtype
    except (ValueError, TypeError):
        raise Refusal(
            f"{name} must be an array of real numbers; got {type(value).__name__} of uneven parts"
        ) from None
