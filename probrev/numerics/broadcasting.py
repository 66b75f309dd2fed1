"""Explicit broadcasting, for code that runs with implicit rank promotion switched off."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike


def same_rank(*arrays: ArrayLike, shape: tuple[int, ...] = ()) -> tuple[Array, ...]:
    """Give all arrays the rank of their broadcast, by new leading dimensions of size 1.

    Args:
        arrays: Arrays that broadcast against each other.
        shape: A further shape that they must broadcast with.

    Returns:
        The arrays, each reshaped to the common rank (none is expanded).

    Raises:
        ValueError: If the shapes do not broadcast.
    """
    rank = len(jnp.broadcast_shapes(shape, *(jnp.shape(a) for a in arrays)))
    return tuple(jnp.reshape(a, (1,) * (rank - jnp.ndim(a)) + jnp.shape(a)) for a in arrays)
