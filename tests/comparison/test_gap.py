"""The split of the gap against sums written out, and the delta method."""

import numpy as np
import pytest
import xarray as xr

import probrev as pr
from probrev.comparison.gap import split_errors

RNG = np.random.default_rng(12)
NUM_OBS = 300
RISKS = {
    "theory": 9.0, "universal": 7.0, "calibrated": 4.0, "trained": 2.5, "scalar": 4.3,
    "first_step": 3.0, "converged": 2.2,
}  # fmt: skip


def random_errors(names):
    """Errors that share what an observation does to all of them."""
    shared = RNG.gamma(2.0, size=NUM_OBS)
    errors = [RISKS[name] * shared * RNG.gamma(9.0, 1 / 9, size=NUM_OBS) for name in names]
    error = xr.DataArray(np.stack(errors), {"inverse": list(names)}, ("inverse", "obs"))
    bayes = xr.DataArray(1.8 * shared * RNG.gamma(9.0, 1 / 9, size=NUM_OBS), dims="obs")
    return error, bayes, xr.DataArray(RNG.gamma(3.0, 4.0, size=NUM_OBS), dims="obs")


def test_parts_are_differences_and_add_up():
    error, bayes, energy = random_errors(RISKS)
    found = split_errors(error, bayes, energy)
    risk = {name: float(error.sel(inverse=name).sum() / energy.sum()) for name in RISKS}
    risk["posterior"] = float(bayes.sum() / energy.sum())
    expected = {
        "bias": ("universal", "calibrated"),
        "activation": ("calibrated", "scalar"),
        "silence": ("scalar", "first_step"),
        "iteration": ("first_step", "converged"),
        "rest": ("converged", "posterior"),
        "weights": ("calibrated", "trained"),
    }
    assert found["part"].to_numpy().tolist() == list(expected)
    for part, (start, end) in expected.items():
        one = found.sel(part=part)
        assert (one["start"].item(), one["end"].item()) == (start, end)
        assert one["value"] == pytest.approx(risk[start] - risk[end], rel=1e-10)
        assert one["start_risk"] == pytest.approx(risk[start], rel=1e-10)
        assert one["in_sum"].item() == (part != "weights")
    whole = risk["universal"] - risk["posterior"]
    assert float(found["value"].where(found["in_sum"]).sum()) == pytest.approx(whole, rel=1e-10)
    assert found["value"].sel(part="activation") < 0


def test_errors_are_paired():
    """Delta method: the ratio of sums is a sum over observations, to first order."""
    error, bayes, energy = random_errors(RISKS)
    found = split_errors(error, bayes, energy).sel(part="bias")
    own = (error.sel(inverse="universal") - error.sel(inverse="calibrated")).to_numpy()
    weight = energy.to_numpy()
    residual = own - own.sum() / weight.sum() * weight
    std_error = np.sqrt(NUM_OBS) * residual.std(ddof=1) / weight.sum()
    assert float(found["std_error"]) == pytest.approx(std_error, rel=0.06)
    width = float(found["high"] - found["low"])
    assert width == pytest.approx(2 * 1.96 * std_error, rel=0.08)


def test_parts_around_missing_rungs_are_one():
    names = ["theory", "calibrated", "first_step"]
    error, bayes, energy = random_errors(names)
    found = split_errors(error, bayes, energy)
    assert found["part"].to_numpy().tolist() == ["activation + silence", "iteration + rest"]
    assert found["end"].to_numpy().tolist() == ["first_step", "posterior"]
    whole = float((error.sel(inverse="calibrated") - bayes).sum() / energy.sum())
    assert float(found["value"].sum()) == pytest.approx(whole, rel=1e-10)


def test_nothing_to_split():
    error, bayes, energy = random_errors(["theory", "trained"])
    assert split_errors(error, bayes, energy) is None
    error, bayes, energy = random_errors(["universal"])
    assert split_errors(error, bayes, 0 * energy) is None


def test_one_observation_has_no_error():
    error, bayes, energy = (part.isel(obs=slice(1)) for part in random_errors(RISKS))
    found = split_errors(error, bayes, energy)
    assert set(found.data_vars) == {"value"}
    assert np.isfinite(found["value"]).all()


def saved(error, bayes, numbers, h):
    """A comparison with a posterior of some observations, as `compare` lays it out."""
    measured = {"squared_error": error, "bayes_squared_error": bayes}
    measured = xr.Dataset(measured).assign_coords(obs=numbers)
    truth = xr.Dataset({"h": (("obs", "hidden"), h)})
    return pr.Comparison(xr.DataTree.from_dict({"truth": truth, "metrics/exact": measured}))


def test_a_comparison_is_split_on_the_observations_that_the_posterior_covers():
    error, bayes, _ = random_errors(RISKS)
    h = RNG.gamma(2.0, size=(2 * NUM_OBS, 3))
    numbers = np.arange(1, 2 * NUM_OBS, 2)
    found = pr.split_gap(saved(error, bayes, numbers, h), "exact")
    whole = (error.sel(inverse="universal") - bayes).sum() / (h[numbers] ** 2).sum()
    assert float(found["value"].where(found["in_sum"]).sum()) == pytest.approx(float(whole))
    again = split_errors(error, bayes, xr.DataArray((h[numbers] ** 2).sum(1), dims="obs"))
    xr.testing.assert_allclose(found, again)


def test_without_a_truth_there_is_no_gap():
    tree = xr.DataTree.from_dict({"metrics/exact": xr.Dataset({"excess_risk": 1.0})})
    assert pr.split_gap(pr.Comparison(tree), "exact") is None
