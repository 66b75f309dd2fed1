from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from probrev.nets.weights.entries import measure_entries, sampling_kurtosis_std

RNG = np.random.default_rng(4)
WEIGHTS = RNG.gamma(3.0, 0.5, size=(30, 50)) - 2


def test_against_scipy():
    found = measure_entries(WEIGHTS)
    flat = WEIGHTS.ravel()
    z = (flat - flat.mean()) / flat.std()
    assert found.mean == pytest.approx(flat.mean())
    assert found.std == pytest.approx(flat.std())
    assert found.excess_kurtosis == pytest.approx(stats.kurtosis(flat))
    assert found.ks == pytest.approx(stats.kstest(z, "norm").statistic)


def test_anderson_darling_is_the_weighted_distance_of_the_distribution_functions():
    """Integral of (F_n - F)^2 / (F (1 - F)) dF, by quadrature between the jumps of F_n."""
    weights = RNG.gamma(3.0, size=(3, 4))
    z = np.sort((weights.ravel() - weights.mean()) / weights.std())
    jumps = np.concatenate([[0], stats.norm.cdf(z), [1]])
    pieces = [
        quad(lambda f, share=i / z.size: (share - f) ** 2 / (f * (1 - f)), low, high)[0]
        for i, (low, high) in enumerate(pairwise(jumps))
    ]
    assert measure_entries(weights).anderson_darling == pytest.approx(sum(pieces), rel=1e-6)


def test_effects_of_a_uniform_law():
    """Against the limits: kurtosis -1.2, and distances from the standard normal by integration."""
    found = measure_entries(RNG.uniform(-0.1, 0.1, size=(500, 400)))
    grid = np.linspace(-np.sqrt(3), np.sqrt(3), 200_001)
    uniform, normal = (grid / np.sqrt(3) + 1) / 2, stats.norm.cdf(grid)
    assert found.excess_kurtosis == pytest.approx(-1.2, abs=0.01)
    assert found.ks == pytest.approx(np.abs(uniform - normal).max(), abs=0.003)
    weighted = (uniform - normal) ** 2 / (normal * (1 - normal)) * stats.norm.pdf(grid)
    # Beyond the uniform's ends F_n is 0 or 1.
    tail = quad(lambda f: f / (1 - f), 0, stats.norm.cdf(-np.sqrt(3)))[0]
    area = np.trapezoid(weighted, grid) + 2 * tail
    assert found.anderson_darling == pytest.approx(area, abs=0.002)
    assert (found.ks, found.anderson_darling) == pytest.approx((0.057, 0.011), abs=0.003)


def test_gaussian_entries_show_no_effect():
    found = measure_entries(3 + 0.2 * RNG.normal(size=(500, 400)))
    assert abs(found.excess_kurtosis) < 4 * sampling_kurtosis_std(200_000)
    assert found.ks < 0.004
    assert found.anderson_darling < 1e-5
