"""The schema that every posterior has, and posteriors from elsewhere."""

import json

import arviz as az
import numpy as np
import pytest

from probrev.posterior.posterior import Kind, Moments, from_draws
from tests import small_case
from tests.small_case import NUM_OBS

X = np.asarray(small_case.observe().x)
DRAWS = np.random.default_rng(0).gamma(1, 1, (4, 250, NUM_OBS, 3))
DRAWS *= np.random.default_rng(1).uniform(size=DRAWS.shape) < [0.2, 0.9, 0.0]


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


def test_it_prints_its_status_first_and_no_draws(posterior):
    assert repr(posterior) == (
        f"Posterior by {posterior.method}, ok: {NUM_OBS} observations, 4 units, 4 x 1000 draws"
    )
    page = posterior._repr_html_()
    assert page.index("ok") < page.index(posterior.method)
    assert len(page) < 2000
    hostile = from_draws("<script>", DRAWS, X)._repr_html_()
    assert "<script>" not in hostile


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


def test_moments_of_intermediates_keep_the_numbers_of_their_observations():
    h = np.random.default_rng(0).normal(size=(2, 40, 2, 3))
    below = Moments(*np.random.default_rng(1).uniform(size=(3, 2, 5)))
    found = from_draws("mine", h, np.ones((2, 4)), obs=[3, 7], intermediates=[below])
    table = found.tree["intermediates"]
    np.testing.assert_array_equal(table["obs"], [3, 7])
    np.testing.assert_array_equal(table["h_1_var"].sel(obs=7), below.var[1])


def test_moments_of_short_numbers_are_added_up_in_long_ones():
    """However the draws lie in memory, of which a sum in 32 bits would depend."""
    draws = np.random.default_rng(0).gamma(9.0, 1.0, (4, 5000, 2, 3)).astype(np.float32)
    turned = np.ascontiguousarray(draws.transpose(2, 3, 0, 1)).transpose(2, 3, 0, 1)
    for h in (draws, turned):
        found = from_draws("mine", h, np.ones((2, 5)))
        assert found.draws.dtype == np.float32
        np.testing.assert_allclose(found.mean, draws.astype(float).mean((0, 1)), rtol=1e-13)
        np.testing.assert_allclose(found.var, draws.astype(float).var((0, 1)), rtol=1e-12)
