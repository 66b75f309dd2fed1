"""Models side by side: evidence and differences by hand, sensitivities against ArviZ's."""

import arviz as az
import jax
import numpy as np
import pytest
import xarray as xr

import probrev as pr
from probrev.comparison.metrics.case import make_case
from probrev.comparison.priors import MOST_DRAWS, tabulate_priors
from probrev.inference.partition import Estimate
from probrev.posterior.posterior import from_draws
from tests import small_case
from tests.small_case import MODEL, NUM_OBS, OTHER

INVERSES = {"nil": lambda x: np.zeros((len(x), 4))}
KEY = jax.random.key(0)


@pytest.fixture(autouse=True, scope="module")
def no_curve():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("probrev.comparison.compare.noise_curve", lambda key, model: None)
        yield


@pytest.fixture(scope="module")
def posteriors():
    return {
        "sampler": small_case.sampler(),
        "exact": small_case.exact(),
        "other": small_case.exact("other"),
    }


def case_of(posterior):
    nil = xr.DataArray(np.zeros((1, NUM_OBS, 4)), dims=("inverse", "obs", "hidden"))
    nil = nil.assign_coords(inverse=["nil"], obs=np.arange(NUM_OBS), hidden=np.arange(4))
    return make_case(MODEL, small_case.observe(), nil, posterior, 0)


@pytest.fixture(scope="module")
def table(posteriors):
    cases = {name: case_of(one) for name, one in posteriors.items()}
    found = tabulate_priors(KEY, cases, {})
    assert found is not None
    return found


@pytest.mark.slow
def test_a_comparison_has_it_and_each_posterior_its_model(posteriors):
    result = pr.compare(MODEL, small_case.observe(), INVERSES, posteriors)
    assert list(result.tree["priors/model"].to_numpy()) == ["sampler", "other"]
    assert result.model is MODEL
    for posterior, model in zip(result.posteriors.values(), (MODEL, MODEL, OTHER), strict=True):
        assert posterior.model is model


@pytest.mark.slow
def test_a_row_for_each_model(table):
    assert list(table["model"].to_numpy()) == ["sampler", "other"]
    assert list(table["posteriors"].to_numpy()) == ["sampler, exact", "other"]


@pytest.mark.slow
def test_differences_are_paired_over_observations(table):
    own, other = (
        small_case.exact(name).tree["exact/log_evidence"].to_numpy() for name in ("own", "other")
    )
    np.testing.assert_allclose(table["log_evidence"], [own, other])
    np.testing.assert_allclose(table["evidence"], [own.mean(), other.mean()])
    gap = other - own
    np.testing.assert_allclose(table["difference"], [0, gap.mean()], atol=1e-12)
    error = gap.std(ddof=1) / np.sqrt(NUM_OBS)
    np.testing.assert_allclose(table["difference_error"], [0, error], atol=1e-12)
    assert gap.mean() < -2 * error
    assert (table["num_obs"] == NUM_OBS).all()


@pytest.mark.slow
def test_sensitivities_are_arvizs(table):
    posterior = small_case.sampler()
    step = posterior.draws.sizes["draw"] // MOST_DRAWS
    tree = posterior.tree.isel(draw=slice(None, None, step))
    thinned = from_draws("thin", tree["posterior/h"], small_case.observe().x, model=MODEL)
    tree = thinned.with_groups(KEY, ["log_likelihood", "log_prior"]).tree
    expected = az.psense_summary(tree.sel(obs=3), round_to=8)
    found = table.sel(model="sampler", obs=3)
    assert float(found["prior_sensitivity"]) == pytest.approx(expected["prior"].max(), abs=0.01)
    assert float(found["likelihood_sensitivity"]) == pytest.approx(
        expected["likelihood"].max(), abs=0.01
    )


@pytest.mark.slow
def test_one_model_has_no_table():
    own = {"sampler": small_case.sampler(), "exact": small_case.exact()}
    found = pr.compare(MODEL, small_case.observe(), INVERSES, own)
    assert "priors" not in found.tree


@pytest.mark.slow
def test_evidence_that_is_given_stands_first_and_nan_for_none():
    draws = small_case.sampler().draws.to_numpy()
    mine = from_draws("mine", draws[:, :, :2], small_case.observe().x[:2], model=OTHER)
    given = {"mine": Estimate(np.array([-9.0, -8.0]), np.array([0.1, 0.2]))}
    two = {"sampler": small_case.sampler(), "exact": small_case.exact(), "mine": mine}
    found = pr.compare(MODEL, small_case.observe(), INVERSES, two, log_evidence=given)
    table = found.tree["priors"].to_dataset()
    own = small_case.exact().tree["exact/log_evidence"].to_numpy()
    np.testing.assert_allclose(table["log_evidence"].sel(model="mine"), [-9, -8, *[np.nan] * 4])
    np.testing.assert_allclose(table["log_evidence_error"].sel(model="mine")[:2], [0.1, 0.2])
    np.testing.assert_allclose(table["evidence"].sel(model="sampler"), own[:2].mean())
    alone = pr.compare(MODEL, small_case.observe(), INVERSES, two).tree["priors"].to_dataset()
    assert np.isnan(alone["evidence"].sel(model="mine"))
    np.testing.assert_allclose(alone["evidence"].sel(model="sampler"), own.mean())
    assert float(alone["difference"].sel(model="sampler")) == 0


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"nobody": Estimate(np.zeros(6), np.zeros(6))}, "names 'nobody', which is none of the"),
        ({"exact": Estimate(np.zeros(5), np.zeros(5))}, "a value for each of the 6 observations"),
    ],
)
def test_evidence_of_something_else_is_refused(given, match):
    with pytest.raises(ValueError, match=match):
        tabulate_priors(KEY, {"exact": case_of(small_case.exact())}, given)
