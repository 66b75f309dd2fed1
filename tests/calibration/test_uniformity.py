"""Three exact tests of uniform ranks: their level, their power, and what they say was seen."""

import numpy as np
import pytest
from scipy.stats import binom, kstest, norm

from probrev.calibration.uniformity import (
    detectable_location,
    detectable_spread,
    measure_uniformity,
    wanted_size,
)


def p_values(make, num_replicates, seed=0):
    rng = np.random.default_rng(seed)
    return np.array(
        [
            (one.p_value, one.location_p, one.spread_p, one.shape_p)
            for one in (measure_uniformity(make(rng)) for _ in range(num_replicates))
        ]
    )


def of_few_draws(rng, size=60, num_draws=5):
    """Randomised ranks among so few draws of a law with an atom that most are ties."""
    values = np.maximum(rng.normal(size=(size, num_draws + 1)) + rng.normal(size=(size, 1)), 0)
    below = (values[:, 1:] < values[:, :1]).sum(1)
    equal = (values[:, 1:] == values[:, :1]).sum(1)
    return (below + rng.uniform(size=size) * (equal + 1)) / (num_draws + 1)


RANKS = {"uniform": lambda rng: rng.uniform(size=60), "few draws, many ties": of_few_draws}


@pytest.mark.parametrize("name", RANKS)
def test_p_values_of_uniform_ranks_are_uniform(name):
    found = p_values(RANKS[name], 800)
    for column in found.T[1:]:
        assert kstest(column, "uniform").pvalue > 1e-3
    # Three times the smallest: conservative, and only just.
    share = (found[:, 0] <= 0.05).mean()
    assert 0.015 < share < 0.07


@pytest.mark.slow
@pytest.mark.parametrize("name", RANKS)
def test_the_level_holds_where_it_is_used(name):
    """1e-3 over 12,000 replications."""
    convicted = (p_values(RANKS[name], 12_000, seed=1)[:, 0] <= 1e-3).sum()
    assert binom.sf(convicted - 1, 12_000, 1e-3) > 1e-3
    assert convicted > 1


def test_what_is_said_to_be_seen_is_seen_nine_times_in_ten():
    rng, size, level, count = np.random.default_rng(2), 80, 1e-3, 400
    factor, shift = detectable_spread(size, level), detectable_location(size, level)
    for scale, center in ((factor, 0.0), (1.0, shift)):
        ranks = norm.cdf(center + scale * rng.normal(size=(count, size)))
        seen = sum(measure_uniformity(one).p_value <= level for one in ranks)
        assert binom.cdf(seen, count, 0.9) > 1e-3
        # The two other tests see a little more.
        assert binom.sf(seen - 1, count, 0.92) > 1e-3


def test_figures_are_those_of_the_planted_fault():
    z = norm.ppf((np.arange(4000) + 0.5) / 4000)
    narrow = measure_uniformity(norm.cdf(1.3 * z))
    assert narrow.spread == pytest.approx(1.3, rel=0.01)
    assert narrow.location == pytest.approx(0, abs=1e-9)
    assert narrow.location_p > 0.99
    low = measure_uniformity(norm.cdf(z + 0.2))
    assert (low.location, low.spread) == pytest.approx((0.2, 1.0), abs=5e-3)
    assert low.spread_p > 0.5


def test_the_distance_is_that_of_scipy():
    ranks = np.random.default_rng(3).beta(1.3, 1, size=50)
    expected = kstest(ranks, "uniform", method="exact")
    assert measure_uniformity(ranks).shape_p == pytest.approx(expected.pvalue, rel=1e-6)


def test_a_shape_with_the_right_mean_and_variance_is_seen():
    z = np.where(np.arange(600) % 2 == 0, 0.95, -0.95)
    z = z + np.sqrt(1 - 0.95**2) * np.random.default_rng(4).normal(size=600)
    found = measure_uniformity(norm.cdf(z))
    assert min(found.location_p, found.spread_p) > 0.05
    assert found.shape_p < 1e-6


def test_wanted_size_is_where_the_factor_is_reached():
    size = wanted_size(1.5, 1e-4)
    assert detectable_spread(size, 1e-4) <= 1.5 < detectable_spread(size - 1, 1e-4)
