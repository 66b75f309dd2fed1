import arviz as az
import numpy as np
import pytest
import xarray as xr

from probrev.plumbing.arviz_defaults import arviz_defaults
from probrev.posterior.diagnostics import measure_mixing

ODD = {"data.sample_dims": ["draw"], "stats.ci_prob": 0.5, "stats.ci_kind": "hdi"}


@pytest.mark.parametrize("num_chains", [1, 4])
def test_a_user_s_settings_change_no_diagnostic(num_chains):
    walk = np.random.default_rng(0).normal(size=(num_chains, 200, 2, 3)).cumsum(1)
    draws = xr.DataArray(walk, dims=("chain", "draw", "obs", "hidden"))
    wanted = measure_mixing(draws, "mcmc")
    with az.rc_context(ODD):
        found = measure_mixing(draws, "mcmc")
    xr.testing.assert_identical(found, wanted)


def test_they_are_the_user_s_again_after_it_and_after_an_error():
    with az.rc_context(ODD):
        with arviz_defaults():
            assert tuple(az.rcParams["data.sample_dims"]) == ("chain", "draw")
        with pytest.raises(KeyError), arviz_defaults():
            raise KeyError
        assert az.rcParams["stats.ci_prob"] == 0.5
