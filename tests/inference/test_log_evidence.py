"""Evidence of a layer by sequential Monte Carlo, against enumeration and integration."""

import itertools

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import special, stats

import probrev as pr

WEIGHTS = np.random.default_rng(7).normal(0.1, 1, size=(20, 5))
LAYER = pr.Layer(WEIGHTS, keep_prob=0.6, noise_std=0.8, gain=0.3)
FINITE = pr.SpikeAndSlab(5, 0.35, pr.FiniteSlab([0.5, 1.1], [0.7, 0.3]))


def exact_evidence(model, obs):
    return pr.exact(model, obs, num_draws=4).tree["exact/log_evidence"].to_numpy()


def enumerate_by_hand(x):
    """log p(x) under FINITE and LAYER: every state, its mass and the law of every row."""
    rho, sigma, gain = 0.6, 0.8, 0.3
    terms = []
    for h in itertools.product((0.0, 0.5, 1.1), repeat=5):
        log_mass = sum(np.log({0.0: 0.65, 0.5: 0.35 * 0.7, 1.1: 0.35 * 0.3}[one]) for one in h)
        z = WEIGHTS @ np.array(h)
        seen = np.log(rho / gain) + stats.norm.logpdf(x / gain, z, sigma)
        silent = np.log1p(-rho * stats.norm.sf(-z / sigma))
        terms.append(log_mass + np.where(x > 0, seen, silent).sum())
    return special.logsumexp(terms)


@pytest.mark.slow
def test_agrees_with_enumeration():
    """Rows join two or three at a time; in one observation nothing is seen."""
    model = pr.LayeredModel(FINITE, [LAYER])
    x = np.array(model.simulate(jax.random.key(0), 4).x)
    x[0] = 0
    found = pr.estimate_log_evidence(
        jax.random.key(1), model, pr.Observations(x), num_chains=400, num_temperatures=9
    )
    assert found.value.shape == found.std_error.shape == (4,)
    error = found.value - np.array([enumerate_by_hand(row) for row in x])
    assert (np.abs(error) < 5 * found.std_error).all()
    assert (found.std_error < 0.5).all()


@pytest.mark.slow
def test_rows_are_heard_from_the_step_in_which_they_join():
    """Two steps, so that the second half of x is told by what the first said of h."""
    model = pr.LayeredModel(FINITE, [LAYER])
    obs = model.simulate(jax.random.key(4), 4)
    found = pr.estimate_log_evidence(
        jax.random.key(1), model, obs, num_chains=1600, num_temperatures=2
    )
    error = found.value - np.array([enumerate_by_hand(np.asarray(row)) for row in obs.x])
    assert (np.abs(error) < 5 * found.std_error).all()
    assert (found.std_error < 0.3).all()


@pytest.mark.slow
def test_bound_on_active_units_and_more_steps_than_rows():
    prior = pr.SpikeAndSlab(5, 0.35, pr.FiniteSlab([0.5, 1.1], [0.7, 0.3]), max_active=2)
    model = pr.LayeredModel(prior, [LAYER])
    # What three units together made is unlikely here.
    h = np.array([[0.0, 0, 0, 0, 0], [1.1, 0, 1.1, 0.5, 0]])
    obs = pr.Observations(model.generate(jax.random.key(2), h))
    found = pr.estimate_log_evidence(
        jax.random.key(1), model, obs, num_chains=1600, num_temperatures=50
    )
    assert (np.abs(found.value - exact_evidence(model, obs)) < 5 * found.std_error).all()


@pytest.mark.slow
def test_agrees_with_integration_and_is_unbiased():
    prior = pr.SpikeAndSlab(4, 0.4, dist.Exponential(1.5))
    model = pr.LayeredModel(prior, [pr.Layer(WEIGHTS[:, :4], 0.5, 0.9)])
    obs = model.simulate(jax.random.key(3), 6)
    exact = exact_evidence(model, obs)
    scores = []
    for seed in range(8):
        found = pr.estimate_log_evidence(
            jax.random.key(seed), model, obs, num_chains=1600, num_temperatures=20
        )
        scores.append(np.exp(found.value - exact))
    ratios = np.array(scores)
    std_error = ratios.std(0, ddof=1) / np.sqrt(len(ratios))
    assert (np.abs(ratios.mean(0) - 1) < 5 * std_error).all()
    pooled = ratios.std(ddof=1) / np.sqrt(ratios.size)
    assert pooled < 0.05
    assert abs(ratios.mean() - 1) < 4 * pooled


MODEL = pr.LayeredModel(FINITE, [LAYER])
DEEP = pr.LayeredModel(FINITE, [pr.Layer(np.ones((6, 20)), noise_std=1.0), LAYER])
OBS = pr.Observations(np.ones((1, 20)))


@pytest.mark.parametrize(
    ("model", "obs", "settings", "message"),
    [
        (DEEP, pr.Observations(np.ones((1, 6))), {}, "of one layer.*got 2 layers"),
        (
            pr.LayeredModel(pr.KSparse(5, 2, dist.HalfNormal(1.0)), [LAYER]),
            OBS, {}, "needs a SpikeAndSlab prior.*got KSparse",
        ),
        (
            pr.LayeredModel(FINITE, [pr.Layer(WEIGHTS)]),
            OBS, {}, "needs noise_std > 0",
        ),
        (MODEL, OBS, {"num_chains": 12}, "num_chains must be a multiple of 8"),
        (MODEL, OBS, {"num_temperatures": 0}, "num_temperatures at least 1"),
        (MODEL, pr.Observations(np.ones((1, 6))), {}, "x has 6 columns"),
    ],
)  # fmt: skip
def test_bad_input(model, obs, settings, message):
    with pytest.raises(ValueError, match=message):
        pr.estimate_log_evidence(jax.random.key(0), model, obs, **settings)
