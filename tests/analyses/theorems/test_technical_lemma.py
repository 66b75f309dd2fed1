"""The technical lemma's analysis at a tiny size, its laws and its standard errors."""

import jax
import numpy as np
import pytest
from scipy.stats import kurtosis

from analyses.theorems import technical_lemma


@pytest.mark.slow
def test_computed_and_plotted(tmp_path, capsys):
    sizes = {"n_visible": (20,), "keep_probs": (0.5, 1.0)}
    technical_lemma.compute(tmp_path, num_lemma_draws=20_000, num_readout_draws=4000, **sizes)
    assert technical_lemma.plot(tmp_path).stat().st_size > 10_000
    told = capsys.readouterr().out
    assert "hold within 4 standard errors" in told
    data = technical_lemma.load(tmp_path, "technical_lemma")
    assert abs(technical_lemma.z_scores(data, "lemma")).max() < 4
    data["readout_expected"] = 1.1 * data.readout_expected
    assert "do NOT hold" in technical_lemma.find(data)


def test_lemma_of_two_signs_by_enumeration():
    """w and xi Rademacher: all four cases; draws take their values and no others."""
    h, noise_std = 1.3, technical_lemma.NOISE_STD
    cases = [w * max(w * h + xi, 0) for w in (-1, 1) for xi in (-noise_std, noise_std)]
    np.testing.assert_allclose(np.mean(cases), h / 2)
    np.testing.assert_allclose(np.mean(np.square(cases)), (h**2 + noise_std**2) / 2)
    term, square = technical_lemma.lemma_terms(
        jax.random.key(0), h, "Rademacher", "Rademacher", 500
    )
    np.testing.assert_allclose(np.unique(np.round(term, 9)), np.unique(np.round(cases, 9)))
    np.testing.assert_allclose(square, np.square(term))


def test_laws_have_variance_one_and_the_fourth_moment_named():
    for law, fourth in technical_lemma.FOURTH_MOMENTS.items():
        w = np.asarray(technical_lemma.draw_symmetric(jax.random.key(1), law, 100_000))
        for power, expected in ((2, 1.0), (3, 0.0), (4, fourth)):
            error = (w**power).std() / np.sqrt(w.size)
            assert abs((w**power).mean() - expected) <= 4 * error + 1e-12, (law, power)


def test_standard_error_of_a_variance():
    """Against the spread of variances of many samples from a law with heavy tails."""
    draws = np.random.default_rng(0).laplace(size=(2000, 400))
    spread = draws.var(1, ddof=1).std()
    _, error = technical_lemma.sample_moments(draws[:1].reshape(-1, 1).repeat(2, 1))
    assert error.shape == (2, 2)
    all_draws = draws.reshape(-1, 1)
    _, (only,) = technical_lemma.sample_moments(all_draws)
    np.testing.assert_allclose(only[1] * np.sqrt(2000), spread, rtol=0.05)
    excess = kurtosis(all_draws[:, 0])
    expected = all_draws.var() * np.sqrt((excess + 2) / all_draws.size)
    np.testing.assert_allclose(only[1], [expected], rtol=1e-5)
