"""The excess-risk identity over the ladder: it holds for a true posterior, and convicts a false."""

import dataclasses

import jax
import numpy as np
import pytest
import xarray as xr

import probrev as pr
from probrev.comparison.metrics import Case
from probrev.comparison.metrics.risk import risk
from probrev.inverses.feedforward import Bias
from probrev.inverses.ladder.layered import RUNGS
from tests.small_case import LAYER, MODEL

pytestmark = pytest.mark.slow
NUM_OBS = 400
QUICK = ("theory", "universal", "calibrated", "scalar", "first_step")


@pytest.fixture(scope="module")
def obs():
    return MODEL.simulate(jax.random.key(12), NUM_OBS)


def estimate(ladder, obs):
    found = np.stack([np.asarray(inverse(obs.x)) for inverse in ladder.values()])
    return xr.DataArray(found, dims=("inverse", "obs", "hidden"), coords={"inverse": list(ladder)})


@pytest.fixture(scope="module")
def estimates(obs):
    ladder = pr.build_ladder(jax.random.key(1), MODEL, QUICK)
    random_net = pr.FeedforwardNet((LAYER,), (Bias(multiple=0.4),), keep_prob=0.5)
    ladder["dropout"] = lambda x: random_net(x, jax.random.key(2))
    ladder["nothing"] = lambda x: np.zeros((len(x), 4))
    return estimate(ladder, obs)


def z_scores(posterior, obs, estimates):
    case = Case(
        posterior=posterior,
        estimates=estimates,
        truth=xr.DataArray(np.asarray(obs.h), dims=("obs", "hidden")),
        x=xr.DataArray(np.asarray(obs.x), dims=("obs", "visible")),
        model=MODEL,
        seed=0,
    )
    found = risk(case).arrays
    excess = found["squared_error"] - found["bayes_squared_error"]
    residual = excess - found["excess_risk"]
    error = residual.std("obs", ddof=1) / np.sqrt(residual.sizes["obs"])
    scores = residual.mean("obs") / error
    return dict(zip(scores["inverse"].to_numpy(), scores.to_numpy(), strict=True))


def test_identity_holds_for_every_inverse(obs, estimates):
    found = z_scores(pr.exact(MODEL, obs, num_draws=4), obs, estimates)
    assert set(found) == {*QUICK, "dropout", "nothing"}
    assert all(abs(z) < 4 for z in found.values())
    assert max(map(abs, found.values())) > 0.05


def test_identity_holds_for_rungs_that_take_compiling(obs):
    ladder = pr.build_ladder(jax.random.key(1), MODEL, [n for n in RUNGS if n not in QUICK])
    found = z_scores(pr.exact(MODEL, obs, num_draws=4), obs, estimate(ladder, obs))
    assert set(found) == {"trained", "two_steps", "three_steps", "converged"}
    assert all(abs(z) < 4 for z in found.values())


def test_identity_convicts_a_posterior_under_another_gain(obs, estimates):
    layer = dataclasses.replace(LAYER, gain=2 * LAYER.gain)
    wrong = pr.LayeredModel(MODEL.prior, [layer])
    found = z_scores(pr.exact(wrong, obs, num_draws=4), obs, estimates)
    assert max(map(abs, found.values())) > 4
