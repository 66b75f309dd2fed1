"""Rows of the table: means, ratios and their bootstrap."""

import numpy as np
import pytest

from probrev.metrics.case import row_of_mean, row_of_ratio


def test_row_of_mean():
    row = row_of_mean("m", "s", np.array([1.0, 4.0, 7.0, 0.0]))
    error = np.sqrt(((np.array([1, 4, 7, 0]) - 3) ** 2).sum() / 3 / 4)
    assert row[:4] == ("m", "s", 3.0, pytest.approx(error))
    assert (row.low, row.high) == pytest.approx((3 - 1.96 * error, 3 + 1.96 * error))
    assert np.isnan(row_of_mean("m", "s", np.array([2.0])).std_error)


def test_ratio_is_pooled_and_its_bootstrap_is_paired():
    """Against a plain resampling loop, on two columns that nearly move together."""
    rng = np.random.default_rng(0)
    below = rng.gamma(0.8, 1.0, 40)
    above = 3 * below + rng.normal(0, 0.2, 40)
    row = row_of_ratio("m", "s", above, below, seed=1)
    assert row.value == pytest.approx(above.sum() / below.sum())
    picks = rng.integers(0, 40, (4000, 40))
    ratios = np.array([above[p].sum() / below[p].sum() for p in picks])
    assert row.std_error == pytest.approx(ratios.std(), rel=0.1)
    np.testing.assert_allclose((row.low, row.high), np.percentile(ratios, [2.5, 97.5]), rtol=0.01)
    # Unpaired, the interval would be many times as wide.
    unpaired = [above[p].sum() / below[q].sum() for p, q in zip(picks, picks[::-1], strict=True)]
    assert np.std(unpaired) > 5 * row.std_error


def test_bootstrap_interval_covers():
    """A 95 % interval of 60 observations holds the true ratio in some 88 to 99 % of data sets."""
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(200):
        below = rng.gamma(2.0, 1.0, 60)
        above = below * rng.gamma(4.0, 0.5, 60)
        row = row_of_ratio("m", "s", above, below, seed=2, num_resamples=500)
        hits += row.low < 2.0 < row.high
    assert 176 <= hits <= 198


@pytest.mark.parametrize("below", [np.zeros(5), np.array([0.0, 0.0, 0.0, 0.0, 1.0])])
def test_a_ratio_that_resampling_can_make_infinite_has_no_interval(below):
    row = row_of_ratio("m", "s", np.ones(5), below, seed=0)
    assert np.isnan([row.std_error, row.low, row.high]).all()
    assert row_of_ratio("m", "s", np.ones(1), np.full(1, 2.0), seed=0).value == 0.5
