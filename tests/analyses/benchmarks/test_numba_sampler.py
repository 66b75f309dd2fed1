"""The sampler by hand against exact posteriors: a rival that is wrong is no rival."""

import jax
import numpy as np
import pytest
from numpyro.distributions import HalfNormal

import probrev as pr
from analyses.benchmarks.samplers import effective_sizes, run_by_hand


@pytest.mark.proof
def test_agrees_with_exact():
    weights = np.random.default_rng(0).normal(0.3, 1.0, (20, 3)) * [0.5, 1, 2]
    prior = pr.SpikeAndSlab(3, 0.4, HalfNormal(0.8))
    model = pr.LayeredModel(prior, [pr.Layer(weights, keep_prob=0.5, noise_std=0.7)])
    obs = model.simulate(jax.random.key(0), 1)
    exact = pr.exact(model, obs)
    h = run_by_hand(model, np.asarray(obs.x[0]), 4, 20_000).h
    assert h.shape == (4, 20_000, 3)
    ess = effective_sizes(h).min()
    assert (np.abs(h.mean((0, 1)) - exact.mean[0].to_numpy()) < 4 * h.std((0, 1)) / ess**0.5).all()
    prob = exact.inclusion_prob[0].to_numpy()
    gap = np.abs((h > 0).mean((0, 1)) - prob)
    assert (gap < 4 * np.sqrt(prob * (1 - prob) / ess) + 1e-3).all()
    assert np.ptp(prob) > 0.1
