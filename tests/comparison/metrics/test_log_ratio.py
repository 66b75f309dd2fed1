"""Ratios of sums: the studentised resamples by loops, coverage by simulation, and the edges."""

import math

import numpy as np
import pytest

from probrev.comparison.metrics import log_ratio
from probrev.comparison.metrics.log_ratio import FEWEST_OBSERVATIONS, estimate_ratios


def draw(rng, size, share=0.4):
    """Two numbers per observation, correlated and skewed, as squared errors are."""
    below = rng.gamma(0.8, 1.0, size) * np.exp(0.5 * rng.normal(size=size))
    return below + share * below.mean() * rng.gamma(1.0, 1.0, size), below


def studentise(above, below):
    """Log of the ratio and its standard error, from the definition."""
    size, a, b = len(above), above.sum(), below.sum()
    square = sum((x / a - y / b) ** 2 for x, y in zip(above, below, strict=True))
    return math.log(a / b), math.sqrt(size / (size - 1) * square)


def test_interval_is_the_bootstrap_t_by_loops(monkeypatch):
    monkeypatch.setattr(log_ratio, "NUM_RESAMPLES", 99)
    above, below = draw(np.random.default_rng(0), 20)
    rng = np.random.default_rng(1)
    picked = rng.integers(20, size=(99, 20))
    center, error = studentise(above, below)
    t = []
    for rows in picked:
        value, own = studentise(above[rows], below[rows])
        t.append((value - center) / own)
    (found,) = estimate_ratios(above[None], below[None], np.random.default_rng(1), (0.9, 0.5))
    assert found.value == pytest.approx(math.exp(center), rel=1e-12)
    assert found.std_error == pytest.approx(math.exp(center) * error, rel=1e-12)
    for (low, high), prob in zip(found.intervals, (0.9, 0.5), strict=True):
        ends = np.quantile(t, [(1 + prob) / 2, (1 - prob) / 2], method="nearest")
        assert (low, high) == pytest.approx(np.exp(center - ends * error), rel=1e-9)


def test_memory_does_not_change_the_interval(monkeypatch):
    above, below = draw(np.random.default_rng(0), 40)
    (whole,) = estimate_ratios(above[None], below[None], np.random.default_rng(1))
    monkeypatch.setattr(log_ratio, "MOST_WEIGHTS", 10 * 40)
    (parts,) = estimate_ratios(above[None], below[None], np.random.default_rng(1))
    assert parts == whole


def test_nearly_equal_sums_keep_their_digits():
    """Numerators that exceed their denominators by a part in a billion."""
    rng = np.random.default_rng(2)
    below = rng.gamma(2.0, 1.0, 30)
    excess = 1e-9 * rng.gamma(2.0, 1.0, 30)
    (found,) = estimate_ratios((below + excess)[None], below[None], rng)
    low, high = found.intervals[0]
    expected = excess.sum() / below.sum()
    assert found.value - 1 == pytest.approx(expected, rel=1e-5)
    assert 0.3 * expected < low - 1 < expected < high - 1 < 3 * expected


def test_a_multiple_is_known_for_certain():
    below = np.random.default_rng(3).gamma(2.0, 1.0, 30)
    (found,) = estimate_ratios(below[None], below[None], np.random.default_rng(0))
    assert found == (1.0, 0.0, ((1.0, 1.0),))


def test_few_observations_or_no_positive_sum_have_no_interval():
    rng = np.random.default_rng(4)
    above, below = draw(rng, FEWEST_OBSERVATIONS - 1)
    (found,) = estimate_ratios(above[None], below[None], rng)
    assert found.value == pytest.approx(above.sum() / below.sum())
    assert np.isnan(found.intervals).all()
    above, below = draw(rng, 40)
    for pair in ((-above, below), (above, -below), (above, 0 * below)):
        (found,) = estimate_ratios(pair[0][None], pair[1][None], rng)
        assert np.isnan(found.intervals).all()
    assert math.isinf(found.value)


def test_terms_may_be_negative():
    rng = np.random.default_rng(5)
    above, below = draw(rng, 60)
    above[:5] -= 2 * above[:5]
    (found,) = estimate_ratios(above[None], below[None], rng)
    low, high = found.intervals[0]
    assert low < found.value < high < math.inf


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 32])
def test_intervals_cover(size):
    """Two in three excess risks of a net; the pool's own ratio is the truth."""
    hits, truth = 0, 1 + 0.4
    for index in range(1000):
        rng = np.random.default_rng([size, index])
        below = rng.gamma(1.5, 1.0, size)
        above = below + 0.4 * 1.5 * rng.gamma(1.0, 1.0, size)
        (found,) = estimate_ratios(above[None], below[None], rng)
        low, high = found.intervals[0]
        hits += low <= truth <= high
    assert 920 <= hits <= 970
