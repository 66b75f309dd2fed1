"""What a weight matrix is held against: random ones that share some of its properties."""

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.plumbing import door


@door.guard(key=door.random_key, weights=door.finite_array("n_visible", "n_hidden"))
def gaussian_control(
    key: PRNGKeyArray, weights: Float[np.ndarray | Array, "visible hidden"]
) -> Float[np.ndarray, "visible hidden"]:
    """Draws a matrix of iid Gaussian entries with the shape, mean and standard deviation of W.

    Args:
        key: random key.
        weights: W.
    """
    weights = np.asarray(weights, float)
    noise = np.asarray(jax.random.normal(key, weights.shape), float)
    return weights.mean() + weights.std() * noise


@door.guard(key=door.random_key, weights=door.finite_array("n_visible", "n_hidden"))
def spectral_control(
    key: PRNGKeyArray, weights: Float[np.ndarray | Array, "visible hidden"]
) -> Float[np.ndarray, "visible hidden"]:
    """Draws a matrix with the singular values of W between random singular vectors.

    U diag(s) V^T with U and V uniform (Haar) over matrices with orthonormal columns: whatever of W
    is not in its singular values is gone, its mean too.

    Args:
        key: random key.
        weights: W.
    """
    weights = np.asarray(weights, float)
    return draw_with_values(key, np.linalg.svd(weights, compute_uv=False), weights.shape)


def draw_with_values(
    key: PRNGKeyArray, values: Float[np.ndarray, " short"], shape: tuple[int, int]
) -> Float[np.ndarray, "visible hidden"]:
    """Draws a matrix with given singular values between random singular vectors.

    Args:
        key: random key.
        values: singular values, as many as the shorter side.
        shape: (n_visible, n_hidden).
    """
    key_left, key_right = jax.random.split(key)
    left = draw_orthonormal(key_left, shape[0], values.size)
    right = draw_orthonormal(key_right, shape[1], values.size)
    return (left * values) @ right.T


def draw_orthonormal(
    key: PRNGKeyArray, length: int, count: int
) -> Float[np.ndarray, "length count"]:
    """Draws `count` orthonormal vectors uniformly (Haar).

    Args:
        key: random key.
        length: of each vector, at least `count`.
        count: number of vectors.

    Source: Mezzadri 2007 (arXiv:math-ph/0609050): QR of a Gaussian matrix is Haar once the signs of
    R's diagonal have gone into Q.
    """
    noise = np.asarray(jax.random.normal(key, (length, count)), float)
    basis, triangle = np.linalg.qr(noise)
    return basis * np.sign(np.diagonal(triangle))
