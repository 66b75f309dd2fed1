import math

import numpy as np
import pytest

from probrev.nets.weights.spectrum import (
    expected_gram,
    fit_bulk,
    measure_spectrum,
    scaled_eigenvalues,
)

RNG = np.random.default_rng(6)


def measured(weights):
    return measure_spectrum(weights, scaled_eigenvalues(weights))


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (25, 25)])
def test_gram_and_eigenvalues_against_plain_arithmetic(shape):
    weights = 0.3 + 2 * RNG.normal(size=shape)
    scaled = weights / weights.std()
    squares = np.sort(np.linalg.svd(scaled, compute_uv=False) ** 2) / max(shape)
    np.testing.assert_allclose(scaled_eigenvalues(weights), squares, atol=1e-12)
    gram = scaled.T @ scaled / shape[0] - np.eye(shape[1])
    found = measured(weights)
    assert found.gram_norm == pytest.approx(np.linalg.norm(gram, 2))
    off = gram[~np.eye(shape[1], dtype=bool)]
    assert found.gram_off_diagonal == pytest.approx(math.sqrt((off**2).mean()))


def test_gaussian_matrices_have_the_expected_gram():
    found = measured(RNG.normal(size=(900, 300)))
    norm, off_diagonal = expected_gram(900, 300)
    assert norm == pytest.approx(2 / math.sqrt(3) + 1 / 3)
    assert found.gram_norm == pytest.approx(norm, rel=0.05)
    assert found.gram_off_diagonal == pytest.approx(off_diagonal, rel=0.02)


@pytest.mark.parametrize("shape", [(400, 200), (200, 400), (300, 300)])
def test_gaussian_matrices_follow_the_law_at_any_scale(shape):
    found = measured(0.01 * RNG.normal(size=shape))
    assert found.mp_ks < 0.02
    assert (found.num_outside, found.energy_outside) == (0, 0)
    assert (found.bulk_num_below, found.bulk_num_above, found.bulk_energy_outside) == (0, 0, 0)
    assert found.bulk_variance == pytest.approx(1, abs=0.03)


def test_spikes_are_counted_and_do_not_move_the_bulk():
    """Five strong directions of known energy added to noise of a known variance."""
    noise = RNG.normal(size=(600, 300))
    left, right = (np.linalg.qr(RNG.normal(size=(side, 5)))[0] for side in (600, 300))
    weights = noise + left * 300 @ right.T
    share = noise.var() / weights.var()
    found = measured(weights)
    assert found.bulk_num_above == 5
    assert found.bulk_num_below == 0
    assert found.bulk_variance == pytest.approx(share, rel=0.03)
    assert found.bulk_ks < 0.02
    energy = np.linalg.svd(weights, compute_uv=False) ** 2
    assert found.bulk_energy_outside == pytest.approx(energy[:5].sum() / energy.sum())
    assert found.top_energy == pytest.approx(energy[:3].sum() / energy.sum())
    assert found.mp_ks > 0.3


def test_a_bulk_is_found_where_most_eigenvalues_are_zero():
    law = fit_bulk(np.concatenate([np.zeros(80), np.ones(20)]), long=200)
    assert law.variance > 0


@pytest.mark.slow
def test_large_gaussian_matrix():
    """2048 x 4096: distance below .005, and nothing outside beyond the Tracy-Widom scale."""
    found = measured(RNG.normal(size=(2048, 4096)))
    assert found.mp_ks < 0.005
    assert found.num_outside == 0
