"""Thresholds, what draws can tell of them, and how far off chance takes a perfect sampler."""

import math

import arviz as az
import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom

from probrev.posterior.thresholds import (
    divergence_from_known,
    divergence_from_pooled,
    effective_sizes,
    place_thresholds,
)


def markov_indicators(rng, leave, enter, chains=4, draws=2000):
    """Two-state chains: ESS / N of their mean is (leave + enter) / (2 - leave - enter)."""
    state = rng.random(chains) < enter / (enter + leave)
    found = []
    for _ in range(draws):
        state = np.where(state, rng.random(chains) >= leave, rng.random(chains) < enter)
        found.append(state)
    return np.stack(found, axis=1)


def test_thresholds_of_a_finite_slab_are_between_its_atoms():
    draws = np.zeros((1000, 3))
    draws[:600, 0] = np.repeat([0.4, 0.9, 1.7], [300, 200, 100])
    draws[:19, 1] = 0.4
    draws[:600, 2] = np.repeat([0.4, 0.9, 1.7], [300, 200, 100]) * (1 + 1e-7)
    found = place_thresholds(np.random.default_rng(0).permutation(draws))
    np.testing.assert_allclose(found[0], [0, 0.65, 1.3, np.nan, np.nan, np.nan])
    # Too few draws above 0.
    np.testing.assert_array_equal(found[1], [0] + 5 * [np.nan])
    np.testing.assert_allclose(found[2], found[0], rtol=1e-6)


def test_thresholds_of_a_density_are_quantiles_above_zero():
    rng = np.random.default_rng(1)
    draws = np.where(rng.random((20_000, 1)) < 0.3, rng.gamma(2.0, 1.0, (20_000, 1)), 0.0)
    found = place_thresholds(draws)[0]
    active = draws[draws > 0]
    assert found[0] == 0
    for threshold, level in zip(found[1:], (0.1, 0.25, 0.5, 0.75, 0.9), strict=True):
        assert (active <= threshold).mean() == pytest.approx(level, abs=2 / len(active))
        assert not (active == threshold).any()


def test_sizes_are_the_smaller_of_own_and_of_the_slowest_that_switches():
    rng = np.random.default_rng(2)
    shape = (4, 2000, 2, 2)
    above = np.zeros(shape, bool)
    above[..., 0, 0] = markov_indicators(rng, 0.5, 0.5)
    above[..., 0, 1] = markov_indicators(rng, 0.05, 0.05)
    above[0, 5, 1, 0] = True  # visited once
    above[..., 1, 1] = True  # never left
    found = effective_sizes(above, "mcmc")
    slow = az.ess(xr.DataArray(above[..., 0, 1].astype(float), dims=("chain", "draw")))
    assert float(slow) == pytest.approx(8000 * 0.1 / 1.9, rel=0.3)
    np.testing.assert_allclose(found, float(slow), rtol=1e-12)
    np.testing.assert_array_equal(effective_sizes(above, "iid"), 8000)
    # An indicator slower than any that switches often has its own size, and none has more.
    above[..., 1, 0] = False
    above[:2, :900, 1, 0] = True
    found = effective_sizes(above, "mcmc")
    assert found[1, 0] < 10
    assert found[0, 0] == found[1, 1] == pytest.approx(float(slow), rel=1e-12)


@pytest.mark.parametrize("switches", [9, 10])
def test_ten_switches_each_way_are_needed(switches):
    values = np.zeros(400, bool)
    for index in range(switches):
        values[20 * index + 5 : 20 * index + 12] = True
    found = effective_sizes(values.reshape(1, -1, 1, 1), "mcmc")
    assert np.isnan(found).all() == (switches < 10)


def test_no_size_is_above_the_number_of_draws():
    alternating = (np.arange(1000) % 2 == 0).reshape(1, -1, 1, 1)
    np.testing.assert_array_equal(effective_sizes(alternating, "mcmc"), 1000)


def plain_kl(q, p):
    total = 0.0
    for one, other in ((q, p), (1 - q, 1 - p)):
        if one > 0:
            total += math.inf if other <= 0 else one * math.log(one / other)
    return total


def test_divergences_against_plain_sums():
    shares = np.array([[0.0, 0.2, 1.0], [0.5, 0.01, 0.3]])
    others = np.array([[0.1, 0.25, 1.0], [0.5, 0.0, 0.9]])
    sizes = np.array([[100.0, 250.0, 30.0], [10.0, 4000.0, 77.0]])
    known = divergence_from_known(shares, sizes, others, 0.0)
    pooled = divergence_from_pooled((shares, others), (sizes, 2 * sizes))
    for at in np.ndindex(2, 3):
        q, p, size = shares[at], others[at], sizes[at]
        assert known[at] == pytest.approx(size * plain_kl(q, p), rel=1e-9)
        mean = (q + 2 * p) / 3
        expected = size * plain_kl(q, mean) + 2 * size * plain_kl(p, mean)
        assert pooled[at] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert known[1, 1] == np.inf


def test_a_known_probability_is_known_up_to_its_error():
    one = np.ones((1, 1))
    assert divergence_from_known(0.31 * one, 1e6 * one, 0.3 * one, 0.02) == 0
    expected = 1e6 * plain_kl(0.35, 0.32)
    assert divergence_from_known(0.35 * one, 1e6 * one, 0.3 * one, 0.02) == pytest.approx(expected)


@pytest.mark.parametrize("p", [0.5, 0.03, 1e-3, 1e-5, 0.9999])
def test_bound_holds_in_far_tails(p):
    """Exactly, by the binomial law; 4 standard errors + 2 / n do not at small p."""
    num_comparisons, num_draws = 5760, 4000
    count = np.arange(num_draws + 1.0)[:, None]
    one = np.ones_like(count)
    found = divergence_from_known(count / num_draws, num_draws * one, p * one, 0.0)
    beyond = found[:, 0] > np.log(2 * num_comparisons / 1e-3)
    assert beyond.any()
    chance = binom.pmf(count[beyond, 0], num_draws, p).sum()
    assert chance <= 1e-3 / num_comparisons
