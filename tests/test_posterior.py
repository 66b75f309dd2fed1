"""The schema that every posterior has, and posteriors from elsewhere."""

import json

import arviz as az
import numpy as np
import pytest
import xarray as xr

import probrev as pr
from probrev.posterior import Kind, from_draws
from tests import small_case
from tests.small_case import NUM_OBS

X = np.asarray(small_case.observe().x)
DRAWS = np.random.default_rng(0).gamma(1, 1, (4, 250, NUM_OBS, 3))
DRAWS *= np.random.default_rng(1).uniform(size=DRAWS.shape) < [0.2, 0.9, 0.0]


def their_tree(h=DRAWS, dims=("chain", "draw", "obs", "hidden"), **groups):
    return xr.DataTree.from_dict({"posterior": xr.Dataset({"h": (dims, h)}), **groups})


@pytest.fixture(params=["exact", "sampler", "approximation"])
def posterior(request):
    return getattr(small_case, request.param)()


def test_schema(posterior):
    assert posterior.draws.dims == ("chain", "draw", "obs", "hidden")
    assert posterior.draws.shape == (4, 1000, NUM_OBS, 4)
    np.testing.assert_array_equal(posterior.obs, np.arange(NUM_OBS))
    np.testing.assert_array_equal(posterior.tree["observed_data/x"], X)
    for name in ("mean", "var", "inclusion_prob", "mean_error_var"):
        assert getattr(posterior, name).dims == ("obs", "hidden")
    assert posterior.status == "ok"
    assert json.loads(posterior.tree.attrs["settings"]) is not None
    assert ("exact" in posterior.tree) == (posterior.kind is Kind.EXACT)
    assert ("approximation" in posterior.tree) == (posterior.kind is Kind.APPROXIMATE)
    assert ("diagnostics" in posterior.tree) == (posterior.kind is Kind.SAMPLED)
    assert az.extract(posterior.tree, var_names="h").sizes["sample"] == 4000


def test_exact_moments_are_not_those_of_its_draws():
    posterior = small_case.exact()
    draws = posterior.draws.to_numpy().reshape(-1, NUM_OBS, 4)
    spread = np.sqrt(posterior.var.to_numpy() / len(draws))
    difference = np.abs(draws.mean(0) - posterior.mean.to_numpy())
    assert np.all(difference < 4.5 * spread + 1e-6)
    assert difference.max() > 1e-5
    assert not posterior.mean_error_var.any()


def test_moments_of_draws():
    posterior = from_draws("mine", DRAWS, X, settings={"num_samples": 250})
    flat = DRAWS.reshape(-1, NUM_OBS, 3)
    np.testing.assert_allclose(posterior.mean, flat.mean(0), rtol=1e-12)
    np.testing.assert_allclose(posterior.var, flat.var(0), rtol=1e-10)
    np.testing.assert_allclose(posterior.inclusion_prob, (flat > 0).mean(0), rtol=1e-12)
    error = posterior.mean_error_var.to_numpy()
    np.testing.assert_allclose(error, DRAWS.mean(1).var(0, ddof=1) / 4, rtol=1e-12)
    assert error.sum() == pytest.approx((flat.var(0) / len(flat)).sum(), rel=0.5)
    assert not error[:, 2].any()  # never moved
    assert np.isnan(posterior.seconds_per_obs)
    assert json.loads(posterior.tree.attrs["settings"]) == {"num_samples": 250}


def test_divergences_reach_the_status():
    diverging = np.zeros((4, 250, NUM_OBS), dtype=bool)
    diverging[1, 3, 0] = True
    posterior = from_draws("mine", DRAWS, X, sample_stats={"diverging": diverging})
    assert posterior.status == "not converged"
    assert posterior.status_reason.startswith("1 of the transitions diverged")
    assert posterior.tree["sample_stats/diverging"].dims == ("chain", "draw", "obs")


def test_a_tree_from_elsewhere():
    posterior = pr.from_datatree(their_tree(), X)
    assert posterior.method == "external"
    assert posterior.model is None
    np.testing.assert_array_equal(posterior.draws, DRAWS)
    np.testing.assert_array_equal(posterior.tree["observed_data/x"], X)


def test_a_tree_of_one_observation_needs_no_obs_dimension():
    tree = their_tree(DRAWS[:, :, 0], dims=("chain", "draw", "unit"))
    np.testing.assert_array_equal(pr.from_datatree(tree, X[:1]).draws, DRAWS[:, :, :1])


def test_divergences_of_a_tree_from_elsewhere_are_counted():
    stats = xr.Dataset({"diverging": (("chain", "draw"), np.arange(1000).reshape(4, 250) == 7)})
    posterior = pr.from_datatree(their_tree(sample_stats=stats), X)
    assert posterior.status == "not converged"
    assert "transitions diverged" in posterior.status_reason


def test_a_tree_of_arvizs_own_making():
    tree = az.from_dict({"posterior": {"h": DRAWS}})
    np.testing.assert_array_equal(pr.from_datatree(tree, X).draws, DRAWS)


@pytest.mark.parametrize(
    ("tree", "match"),
    [
        (xr.DataTree(), "needs a variable `h` in its `posterior` group.*got groups"),

        (xr.DataTree.from_dict({"prior": xr.Dataset()}), r"got groups \['prior'\]"),
        (xr.DataTree.from_dict({"posterior": xr.Dataset({"beta": 1})}), "needs a variable `h`"),
        (their_tree(DRAWS[:, :, :2]), rf"with {NUM_OBS} observations.*got shape \(4, 250, 2, 3\)"),
        (their_tree(DRAWS[0, :, 0], ("draw", "unit")), r"must have dims.*got shape \(250, 3\)"),
    ],
)  # fmt: skip
def test_trees_that_do_not_fit_are_refused(tree, match):
    with pytest.raises(ValueError, match=match):
        pr.from_datatree(tree, X)


@pytest.mark.parametrize(
    "dims", [("draw", "chain", "obs", "hidden"), ("chain", "draw", "hidden", "obs")]
)
def test_dimensions_are_told_by_their_names(dims):
    """A tree says which axis is which; reading them by position would mix up units and chains."""
    h = their_tree()["posterior/h"].transpose(*dims)
    tree = xr.DataTree.from_dict({"posterior": h.to_dataset(name="h")})
    np.testing.assert_array_equal(pr.from_datatree(tree, X).draws, DRAWS)


def test_draws_must_be_finite():
    broken = DRAWS.copy()
    broken[1, 2, 3, 0] = np.nan
    with pytest.raises(ValueError, match="`h` must be finite"):
        pr.from_datatree(their_tree(broken), X)
