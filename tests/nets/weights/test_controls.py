import jax
import numpy as np
import pytest

from probrev.nets.weights.controls import draw_orthonormal, gaussian_control, spectral_control

KEY = jax.random.key(5)


@pytest.mark.parametrize("shape", [(40, 25), (25, 40), (30, 30)])
def test_spectral_control_keeps_the_singular_values_and_nothing_else(shape):
    weights = np.random.default_rng(1).gamma(2.0, size=shape) - 1
    control = spectral_control(KEY, weights)
    np.testing.assert_allclose(
        np.linalg.svd(control, compute_uv=False), np.linalg.svd(weights, compute_uv=False)
    )
    assert abs(np.corrcoef(control.ravel(), weights.ravel())[0, 1]) < 4 / np.sqrt(weights.size)


def test_gaussian_control_has_shape_mean_and_standard_deviation():
    weights = 3 + 0.5 * np.random.default_rng(2).normal(size=(200, 150))
    control = gaussian_control(KEY, weights)
    assert control.shape == (200, 150)
    spread = weights.std() / np.sqrt(weights.size)
    assert abs(control.mean() - weights.mean()) < 4 * spread
    assert abs(control.std() - weights.std()) < 4 * spread


def test_orthonormal_vectors_are_uniform():
    """A Haar vector's entries have mean 0 and mean square 1 / length, the first one's too."""
    basis = draw_orthonormal(KEY, 12, 5)
    np.testing.assert_allclose(basis.T @ basis, np.eye(5), atol=1e-12)
    draws = np.stack([draw_orthonormal(key, 4, 3) for key in jax.random.split(KEY, 400)])
    # Var of an entry is 1/4, of its square 3/24 - 1/16 = 1/16.
    assert np.abs(draws.mean(0)).max() < 4.5 * np.sqrt(1 / 4 / 400)
    assert np.abs((draws**2).mean(0) - 1 / 4).max() < 4.5 * np.sqrt(1 / 16 / 400)
