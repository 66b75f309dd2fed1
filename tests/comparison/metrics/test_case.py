"""Rows of the table: means, ratios and their bootstrap."""

import numpy as np
import pytest
from scipy.stats import binomtest

from probrev.comparison.metrics.case import Case, row_of_mean, row_of_ratio, row_of_share
from probrev.posterior.posterior import from_draws


@pytest.mark.parametrize(("low", "zero", "expected"), [(0, 0, True), (-1, 0, False), (1, 2, False)])
def test_a_support_is_of_what_is_never_negative(low, zero, expected):
    """Active means above 0, which says nothing of an h of both signs."""
    h = np.full((4, 500, 2, 3), 1.5)
    h[:, ::2, :, 0] = zero
    h[:, ::2, :, 1] = low
    posterior = from_draws("any", h, np.ones((2, 5)), sampling="iid")
    case = Case(posterior, posterior.mean, None, posterior.mean, None, 0)  # pyright: ignore[reportArgumentType]
    assert case.has_atom is expected


def test_row_of_mean():
    row = row_of_mean("m", "s", np.array([1.0, 4.0, 7.0, 0.0]))
    error = np.sqrt(((np.array([1, 4, 7, 0]) - 3) ** 2).sum() / 3 / 4)
    assert row[:4] == ("m", "s", 3.0, pytest.approx(error))
    assert (row.low, row.high) == pytest.approx((3 - 1.96 * error, 3 + 1.96 * error))
    assert np.isnan(row_of_mean("m", "s", np.array([2.0])).std_error)


@pytest.mark.parametrize(("hits", "size"), [(0, 32), (1, 32), (7, 20), (40, 40)])
def test_row_of_share_is_wilsons_interval(hits, size):
    """For yes-or-no answers it is SciPy's."""
    values = np.arange(size) < hits
    row = row_of_share("m", "s", values)
    known = binomtest(hits, size).proportion_ci(0.95, method="wilson")
    assert (row.value, row.low, row.high) == pytest.approx((hits / size, known.low, known.high))
    assert row.std_error == pytest.approx(values.std(ddof=1) / np.sqrt(size))


@pytest.mark.parametrize("scale", [1e-3, 0.3, 1.0])
def test_row_of_share_stays_inside_and_covers(scale):
    """Means of probabilities: beta draws, near 0, with a mean that is known."""
    hits, a = 0, 0.3
    b = a * (1 - 0.1 * scale) / (0.1 * scale)
    for index in range(400):
        row = row_of_share("m", "s", np.random.default_rng(index).beta(a, b, 60))
        assert 0 <= row.low <= row.value <= row.high <= 1
        hits += row.low <= 0.1 * scale <= row.high
    assert hits >= 0.85 * 400
    inside = row_of_share("m", "s", np.full(9, 0.25))
    assert 0 <= inside.low < 0.25 < inside.high <= 1
    assert np.isnan(row_of_share("m", "s", np.ones(1)).low)


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
