"""Simulation-based calibration and Geweke's joint test of the samplers."""

from functools import partial

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import HalfNormal
from scipy.stats import kstest

import probrev as pr
from tests.inference.gibbs.test_gibbs import joint_law_z_scores, one_layer, two_layers
from tests.marks import by_hand

FINITE = pr.FiniteSlab([0.4, 0.9, 1.7], [0.5, 0.3, 0.2])
PRIORS = {
    "half-normal": pr.SpikeAndSlab(8, 0.3, HalfNormal(0.9)),
    "finite, capped": pr.SpikeAndSlab(8, 0.3, FINITE, max_active=3),
    "exactly k": pr.KSparse(8, 2, HalfNormal(0.9)),
}


def model_of(name):
    if name in PRIORS:
        return one_layer(PRIORS[name], n_visible=25)
    return two_layers(pr.SpikeAndSlab(3, 0.4, HalfNormal(0.9)), n_visible=25)


def randomized_ranks(model, num_obs: int) -> dict[str, np.ndarray]:
    """Rank of the truth among thinned draws, ties broken at random, for each functional."""
    obs = model.simulate(jax.random.key(21), num_obs)
    posterior = pr.gibbs(
        jax.random.key(22), model, obs, num_warmup=500, num_samples=4000, num_chains=1,
        keep_layers=True,
    )  # fmt: skip
    names = [*(f"h_{level}" for level in range(1, len(model.layers))), "h"]
    draws = [posterior.tree["posterior"][name].to_numpy()[0, ::40] for name in names]
    log_likelihood = jax.jit(lambda h: model.layers[0].log_likelihood(h, obs.x))
    functionals = {
        "h_0": lambda *signals: signals[-1][:, 0],
        "sum": lambda *signals: signals[-1].sum(1),
        "number active": lambda *signals: (signals[-1] > 0).sum(1),
        "sum next to x": lambda *signals: signals[0].sum(1),
        "log likelihood": lambda *signals: np.asarray(log_likelihood(signals[0])),
    }
    rng = np.random.default_rng(23)
    ranks = {}
    for name, functional in functionals.items():
        truth = functional(*map(np.asarray, (*obs.intermediates, obs.h)))
        drawn = np.stack([functional(*signals) for signals in zip(*draws, strict=True)])
        less, equal = (drawn < truth).sum(0), (drawn == truth).sum(0)
        ranks[name] = (less + rng.uniform(size=num_obs) * (equal + 1)) / (len(drawn) + 1)
    return ranks


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["half-normal", "exactly k", *by_hand("finite, capped", "two layers")]
)
def test_simulation_based_calibration(name):
    model = model_of(name)
    for functional, ranks in randomized_ranks(model, 500).items():
        assert kstest(ranks, "uniform").pvalue > 1e-3, functional


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["finite, capped", "two layers", *by_hand("half-normal", "exactly k")]
)
def test_geweke(name):
    model = model_of(name)
    z_scores = joint_law_z_scores(model, num_pairs=20_000, num_steps=30)
    assert np.abs(z_scores).max() <= 4, z_scores


def hierarchical():
    rate = numpyro.sample("rate", dist.Beta(1.5, 3.0))
    scale = numpyro.sample("scale", dist.HalfCauchy(0.5))
    return numpyro.sample("h", pr.SpikeAndSlab(4, rate, HalfNormal(scale)))


ROOT = np.array([[1.0, 0.3], [-0.8, 0.5], [0.4, -1.0], [0.6, 0.8]])
COVARIANCE = ROOT @ ROOT.T + 0.2 * np.eye(4)
GIVEN = {
    "rectified Gaussian": pr.RectifiedGaussian([0.2, -0.3, 0.1, 0.0], COVARIANCE),
    "hierarchical": hierarchical,
}


@pytest.mark.proof
@pytest.mark.parametrize("name", GIVEN)
def test_what_units_are_given_is_calibrated_too(name):
    layer = pr.Layer(np.random.default_rng(5).normal(0.2, 1, (10, 4)), 0.6, 0.8, 0.7)
    model = pr.LayeredModel(GIVEN[name], [layer])
    method = partial(pr.gibbs, num_samples=3000)
    found = pr.check_calibration(
        jax.random.key(6), model, method, num_simulations=200,
        from_truth=partial(method, start="truth"),
    )  # fmt: skip
    ranked = set(found.table()["quantity"])
    own = {"rectified Gaussian": "factor", "hierarchical": "rate"}[name]
    assert any(own in quantity for quantity in ranked), ranked
    assert found.word == "calibrated", found.sentence
    assert found.starts["starts"] == "agrees", found.starts["starts_reason"]
