"""R-hat and effective sizes of many variables together, against ArviZ's of each."""

import arviz as az
import numpy as np
import pytest
import xarray as xr

from probrev.posterior import convergence
from probrev.posterior.convergence import ess_of_mean, measure_convergence

RATES = [-0.6, 0.0, 0.5, 0.9, 0.99, 0.999]


def chains(num_chains, num_draws):
    """AR(1) processes of several rates, and what a spike and a slab make of them."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(num_chains, num_draws, len(RATES)))
    for step in range(1, num_draws):
        values[:, step] += np.array(RATES) * values[:, step - 1]
    spiked = np.where(values > 0.3, values, 0.0)
    few = np.where(values > values.max((0, 1)) - 0.1, 1.0, 0.0)
    return np.concatenate([values, spiked, np.round(spiked), few], axis=2)


@pytest.mark.parametrize("shape", [(4, 200), (4, 203), (2, 5), (2, 4), (1, 60), (3, 3)])
def test_every_figure_is_arvizs(shape, monkeypatch):
    monkeypatch.setattr(convergence, "BLOCK_ELEMENTS", 5 * shape[0] * shape[1])
    draws = chains(*shape)
    draws = draws[..., (draws != draws[:1, :1]).any((0, 1))]
    draws = draws[..., : draws.shape[2] // 2 * 2].reshape(*shape, 2, -1)
    labelled = xr.DataArray(draws, dims=("chain", "draw", "row", "column"))
    with np.errstate(all="ignore"):
        found = measure_convergence(draws)
        for name, expected in {
            "r_hat": az.rhat(labelled),
            "ess_bulk": az.ess(labelled, method="bulk"),
            "ess_tail": az.ess(labelled, method="tail"),
        }.items():
            np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-9, err_msg=name)
        draws[..., 1, 1] = 0.3
        of_mean = ess_of_mean(draws)
        assert np.isnan(of_mean[1, 1])
        expected = az.ess(labelled, method="mean").to_numpy()
        expected[1, 1] = np.nan
        np.testing.assert_allclose(of_mean, expected, rtol=1e-9)


def test_a_nan_is_of_no_rank():
    draws = chains(4, 200)
    draws[1, 3, 2] = np.nan
    with np.errstate(all="ignore"):
        found = [*measure_convergence(draws), ess_of_mean(draws)]
    for figures in found:
        assert np.isnan(figures[2])
        assert np.isfinite(figures[:2]).all()
