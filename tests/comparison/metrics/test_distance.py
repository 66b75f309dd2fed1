"""Distances of samples to a posterior: SciPy in one dimension, closed forms, a known sampler."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.special import gamma, hyp1f1

from probrev.comparison.metrics import Case
from probrev.comparison.metrics.distance import (
    distance,
    energy_distance,
    random_directions,
    sliced_wasserstein,
)
from tests.small_case import MODEL

NUM_OBS, N_HIDDEN = 30, 5


def with_atom(rng, size):
    return rng.gamma(2.0, 0.7, size) * (rng.uniform(size=size) < 0.6)


def make_case(draws, samples, truth=None):
    """A case of what `distance` looks at: draws (chain, draw, obs, hidden), samples by name."""

    class Drawn:
        pass

    num_obs, n_hidden = draws.shape[2:]
    coords = {"sampler": list(samples), "obs": 3 + np.arange(num_obs)}
    Drawn.draws = xr.DataArray(draws, dims=("chain", "draw", "obs", "hidden")).assign_coords(
        obs=coords["obs"]
    )
    dims = ("sampler", "sample", "obs", "hidden")
    return Case(
        posterior=Drawn(),  # pyright: ignore[reportArgumentType]
        estimates=xr.DataArray(
            np.zeros((1, num_obs, n_hidden)), dims=("inverse", "obs", "hidden")
        ).assign_coords(inverse=["net"], obs=coords["obs"]),
        truth=None
        if truth is None
        else xr.DataArray(truth, dims=("obs", "hidden")).assign_coords(obs=coords["obs"]),
        x=xr.DataArray(np.zeros((num_obs, 2)), dims=("obs", "visible")),
        model=MODEL,
        seed=0,
        samples=xr.DataArray(np.stack([*samples.values()]), coords, dims) if samples else None,
    )


def rows_of(measured):
    return {(row.metric, row.subject): row for row in measured.rows}


def test_energy_distance_in_one_dimension_is_scipys():
    rng = np.random.default_rng(0)
    first, second = with_atom(rng, 40), 1.4 * with_atom(rng, 70) + 0.2
    found = energy_distance(first[:, None], second[:, None])
    assert found == pytest.approx(stats.energy_distance(first, second), rel=1e-10)
    assert energy_distance(first[:, None], first[::-1, None]) < 1e-7


def test_energy_distance_matches_loops():
    rng = np.random.default_rng(1)
    first, second = with_atom(rng, (7, 3)), 0.3 + with_atom(rng, (9, 3))

    def mean(one, other):
        return np.mean([np.sqrt(((a - b) ** 2).sum()) for a in one for b in other])

    squared = 2 * mean(first, second) - mean(first, first) - mean(second, second)
    assert energy_distance(first, second) == pytest.approx(np.sqrt(squared), rel=1e-12)


def test_energy_distance_of_normals_has_its_closed_form_and_its_bias():
    """E|Z| of Z ~ N(delta, v I) by Kummer's function; V-statistics add E|X - X'| / n of each."""
    rng = np.random.default_rng(2)
    shift, scale, size, other_size = np.array([0.4, -0.2, 0.3]), 1.5, 200, 150
    dims = len(shift)

    def mean_norm(delta, var):
        factor = np.sqrt(2 * var) * gamma((dims + 1) / 2) / gamma(dims / 2)
        return factor * hyp1f1(-0.5, dims / 2, -(delta @ delta) / (2 * var))

    within = [mean_norm(np.zeros(dims), 2.0), mean_norm(np.zeros(dims), 2 * scale**2)]
    between = mean_norm(shift, 1 + scale**2)
    expected = 2 * between - sum(within) + within[0] / size + within[1] / other_size
    squared = [
        energy_distance(
            rng.normal(size=(size, dims)), shift + scale * rng.normal(size=(other_size, dims))
        )
        ** 2
        for _ in range(200)
    ]
    assert abs(np.mean(squared) - expected) < 4 * np.std(squared) / np.sqrt(len(squared))
    assert np.std(squared) / np.sqrt(len(squared)) < 0.02 * expected


def test_sliced_wasserstein_is_scipys_along_each_direction():
    rng = np.random.default_rng(3)
    first, second = with_atom(rng, (60, 3)), 0.3 + 1.2 * with_atom(rng, (60, 3))
    directions = random_directions(rng, 3)
    np.testing.assert_allclose((directions**2).sum(1), 1)
    expected = [stats.wasserstein_distance(first @ one, second @ one) for one in directions]
    assert sliced_wasserstein(first, second, directions) == pytest.approx(np.mean(expected))
    line = random_directions(rng, 1)
    along = sliced_wasserstein(first[:, :1], second[:, :1], line)
    assert along == pytest.approx(stats.wasserstein_distance(first[:, 0], second[:, 0]))


def test_sliced_wasserstein_of_a_shift_has_its_closed_form():
    """|shift| E|theta_1| for theta uniform on the sphere, up to the choice of directions."""
    rng = np.random.default_rng(4)
    shift = np.array([0.5, -1.0, 0.3, 0.0, 0.7])
    first = with_atom(rng, (50, 5))
    directions = random_directions(rng, 5)
    length = np.linalg.norm(shift)
    expected = length * gamma(2.5) / (np.sqrt(np.pi) * gamma(3))
    error = length * np.sqrt((1 / 5 - (expected / length) ** 2) / len(directions))
    assert abs(sliced_wasserstein(first, first + shift, directions) - expected) < 4 * error


@pytest.fixture(scope="module")
def known():
    """Draws of known laws, one per observation, and samples of the same law and of wider ones."""
    rng = np.random.default_rng(5)
    center, scale = rng.normal(1, 1, (NUM_OBS, N_HIDDEN)), rng.gamma(3, 0.3, (NUM_OBS, N_HIDDEN))

    def draw(*size, factor=1.0):
        return center + factor * scale * (with_atom(rng, (*size, NUM_OBS, N_HIDDEN)) - 0.84)

    return make_case(draw(4, 250), {"same": draw(600), "wide": draw(600, factor=1.3)}, center)


@pytest.fixture(scope="module")
def measured(known):
    return distance(known)


def test_a_posterior_sampler_cannot_be_told_from_two_halves(measured):
    found, rows = measured, rows_of(measured)
    for metric in ("energy_distance", "sliced_wasserstein"):
        array = found.arrays[metric]
        assert list(array["sampler"].to_numpy()) == ["same", "wide", "posterior"]
        np.testing.assert_array_equal(array["obs"], 3 + np.arange(NUM_OBS))
        same, wide, halves = array.to_numpy()
        assert abs(stats.ttest_rel(same, halves).statistic) < 4
        assert stats.ttest_rel(wide, halves).statistic > 10
        row = rows[metric, "wide"]
        assert (row.value, row.std_error) == pytest.approx((wide.mean(), stats.sem(wide)))
    for name, scale in (("same", 1), ("posterior", 1), ("wide", 1.3)):
        row = rows["spread_ratio", name]
        assert abs(row.value - scale) < 4 * row.std_error < 0.1
        assert row.low < scale < row.high
        assert row.std_error == pytest.approx((row.high - row.low) / (2 * 1.96), rel=0.1)
        ratio = found.arrays["spread_ratio"].sel(sampler=name)
        assert abs(float(ratio.mean()) - scale) < 0.05


def test_sizes_are_equal_on_both_sides(known, measured):
    """500 draws a half, so 500 of the 600 samples; both halves are held against the first."""
    found = measured
    draws = known.draws.to_numpy()
    first, second = draws[:500, 7], draws[500:, 7]
    samples = known.samples.sel(sampler="wide").to_numpy()[:500, 7]
    for name, one in (("wide", samples), ("posterior", second)):
        at = {"sampler": name, "obs": 3 + 7}
        assert found.arrays["energy_distance"].attrs["num_samples"] == 500
        energy = found.arrays["energy_distance"].sel(at)
        assert float(energy) == pytest.approx(energy_distance(one, first), rel=1e-12)
        spread = np.sqrt(one.var(0, ddof=1).sum() / first.var(0, ddof=1).sum())
        assert float(found.arrays["spread_ratio"].sel(at)) == pytest.approx(spread, rel=1e-12)


def test_risk_is_that_of_the_mean_of_the_samples(known, measured):
    mean = known.samples.sel(sampler="same").to_numpy()[:500].mean(0)
    expected = ((mean - known.truth.to_numpy()) ** 2).sum() / (known.truth.to_numpy() ** 2).sum()
    rows = rows_of(measured)
    assert rows["relative_risk", "same"].value == pytest.approx(expected, rel=1e-12)
    assert ("relative_risk", "posterior") not in rows
    blind = make_case(np.zeros((2, 3, 1, 2)), {"one": np.ones((4, 1, 2))})
    assert not [row for row in distance(blind).rows if row.metric == "relative_risk"]


def test_halves_are_different_chains():
    """Chains that stay at two points: halves differ by the way between them, and have no spread."""
    draws = np.full((2, 6, 3, 2), 0.1)
    draws[1] = [0.1, 2.1]
    found = distance(make_case(draws, {"one": np.ones((50, 3, 2))}))
    np.testing.assert_allclose(found.arrays["energy_distance"].sel(sampler="posterior"), 2)
    assert np.isnan(found.arrays["spread_ratio"]).all()
    assert np.isnan(rows_of(found)["spread_ratio", "one"].value)


@pytest.mark.parametrize(
    ("num_draws", "samples"), [(50, {}), (3, {"one": np.ones((50, 3, 2))})], ids=str
)
def test_nothing_random_or_too_few_draws_is_nothing_measured(num_draws, samples):
    found = distance(make_case(np.ones((1, num_draws, 3, 2)), samples))
    assert not found.rows
    assert not found.arrays
