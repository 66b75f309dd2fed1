"""What a program draws besides h counts for the status, and is kept with its dims."""

import re

import arviz as az
import numpy as np
import pytest

from probrev.posterior.joined import join_posteriors
from probrev.posterior.posterior import from_draws

RNG = np.random.default_rng(0)
H = RNG.gamma(1.0, 1.0, (4, 500, 2, 3))
X = np.ones((2, 5))
MIXING = RNG.normal(size=(4, 500, 2, 3))


def posterior_with(sampling="mcmc", h=H, **sites):
    dims = {"local": ("hidden",), "factor": ("group", "factor_dim_1")}
    return from_draws("mine", h, X, sites=sites, site_dims=dims, sampling=sampling)


def test_sites_are_kept_with_their_dims():
    factor = RNG.normal(size=(4, 500, 2, 2, 5))
    found = posterior_with(local=MIXING, factor=factor, scale=MIXING[..., 0] > 0)
    assert list(found.sites) == ["local", "factor", "scale"]
    assert found.sites["local"].dims == ("chain", "draw", "obs", "hidden")
    assert found.sites["factor"].dims == ("chain", "draw", "obs", "group", "factor_dim_1")
    assert found.sites["scale"].dtype == np.int64
    rows = az.summary(found.tree.sel(obs=1), var_names=["local", "scale"], kind="stats")
    assert list(rows.index) == ["local[0]", "local[1]", "local[2]", "scale"]


def test_without_sites_nothing_is_said_of_them():
    found = from_draws("mine", H, X)
    assert found.status == "ok"
    assert "site" not in found.status_reason
    assert "site_diagnostics" not in found.tree


def test_ok_is_earned_by_sites_too():
    assert posterior_with(local=MIXING).status == "ok"
    drifting = MIXING + np.linspace(0, 3, 4)[:, None, None, None]
    found = posterior_with(local=MIXING, other=drifting, scale=MIXING[..., 0])
    assert found.status == "not converged"
    assert found.status_reason.startswith("site 'other' has R-hat")
    figures = found.tree["site_diagnostics"]
    assert float(figures["other_r_hat"].max()) > 1.1 > float(figures["local_r_hat"].max())
    np.testing.assert_allclose(figures["local_r_hat"], az.rhat(found.sites["local"]))


@pytest.mark.parametrize(
    ("values", "status", "match"),
    [
        (np.full((4, 500, 2), 3.0), "ok", "smallest ESS"),
        (np.broadcast_to(np.arange(4)[:, None, None], (4, 500, 2)), "stuck", "site 'one' is stuck"),
        (np.where(MIXING[..., 0] > 3, np.inf, MIXING[..., 1]), "unchecked", "are not finite"),
        (RNG.integers(0, 3, (4, 500, 2)), "ok", r"beside h largest R-hat 1\.\d+ \(site 'one'\)"),
        (RNG.uniform(size=(4, 500, 2)) < 0.3, "ok", "beside h"),
    ],
    ids=["constant", "stuck at integers", "not finite", "integers", "truth values"],
)
def test_sites_that_are_not_continuous(values, status, match):
    found = posterior_with(one=values)
    assert found.status == status
    assert re.search(match, found.status_reason)


def test_where_h_is_in_doubt_that_comes_first():
    still = H.copy()
    still[..., 1] = np.arange(4)[:, None, None]
    found = posterior_with(h=still, one=np.broadcast_to(np.arange(4)[:, None, None], (4, 500, 2)))
    assert found.status == "stuck"
    assert found.status_reason.startswith("2 units are stuck")
    assert "site 'one' is stuck" in found.status_reason


def test_sites_of_draws_declared_iid():
    walk = np.cumsum(RNG.normal(size=(4, 500, 2)), axis=1)
    assert posterior_with(sampling="iid", one=walk).status == "unreliable"


def test_batches_are_joined_with_their_sites():
    first, second = posterior_with(local=MIXING), posterior_with(local=MIXING[:, ::-1])
    joined = join_posteriors([first, second], [0, 2])
    assert joined.sites["local"].shape == (4, 500, 4, 3)
    assert joined.tree["site_diagnostics/local_r_hat"].shape == (4, 3)
    assert "beside h" in joined.status_reason


@pytest.mark.parametrize(
    ("name", "shape", "match"),
    [
        ("h_1", (4, 500, 2), "has a site 'h_1'"),
        ("local", (4, 500, 2), "site 'local' must have dims"),
        ("one", (4, 499, 2), "with the chains, draws and observations of h"),
    ],
)
def test_sites_that_do_not_fit_are_refused(name, shape, match):
    with pytest.raises(ValueError, match=match):
        posterior_with(**{name: np.ones(shape)})
