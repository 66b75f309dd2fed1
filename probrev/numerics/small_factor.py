"""Upper triangular factors of very small matrices, written out so that many of them vectorise."""

import jax.numpy as jnp
from jaxtyping import Array, Float

TINY = 1e-290


def factorize(matrix: Float[Array, "active active"]) -> Float[Array, "active active"]:
    """The upper triangular U with U U^T = matrix, which is positive definite.

    Backward stable, unlike an inverse: columns of W that repeat leave a precision with a condition
    number of 1e10, and still L = U^-T meets L^T matrix L = I to about 1e-6.

    Pivots that rounding takes to 0 or below are replaced by 1e-14 of their diagonal.
    """
    size = matrix.shape[0]
    upper: list[list[Array]] = [[jnp.zeros(())] * size for _ in range(size)]
    for j in range(size - 1, -1, -1):
        pivot = matrix[j, j] - sum((upper[j][k] ** 2 for k in range(j + 1, size)), jnp.zeros(()))
        upper[j][j] = jnp.sqrt(jnp.maximum(pivot, 1e-14 * matrix[j, j] + TINY))
        for i in range(j):
            rest = sum((upper[i][k] * upper[j][k] for k in range(j + 1, size)), jnp.zeros(()))
            upper[i][j] = (matrix[i, j] - rest) / upper[j][j]
    return jnp.array(upper).reshape(size, size)


def solve_factor(
    upper: Float[Array, "active active"], right: Float[Array, " active"]
) -> Float[Array, " active"]:
    """The x with U U^T x = right."""
    size = right.shape[0]
    half: list[Array] = [jnp.zeros(())] * size
    for i in range(size - 1, -1, -1):
        rest = sum((upper[i, k] * half[k] for k in range(i + 1, size)), jnp.zeros(()))
        half[i] = (right[i] - rest) / upper[i, i]
    whole: list[Array] = []
    for i in range(size):
        rest = sum((upper[k, i] * whole[k] for k in range(i)), jnp.zeros(()))
        whole.append((half[i] - rest) / upper[i, i])
    return jnp.array(whole).reshape(size)


def invert_transposed(upper: Float[Array, "active active"]) -> Float[Array, "active active"]:
    """The lower triangular L = U^-T, so that L L^T is the inverse of U U^T."""
    size = upper.shape[0]
    lower: list[list[Array]] = [[jnp.zeros(())] * size for _ in range(size)]
    for j in range(size):
        lower[j][j] = 1 / upper[j, j]
        for i in range(j + 1, size):
            rest = sum((upper[k, i] * lower[k][j] for k in range(j, i)), jnp.zeros(()))
            lower[i][j] = -rest / upper[i, i]
    return jnp.array(lower).reshape(size, size)
