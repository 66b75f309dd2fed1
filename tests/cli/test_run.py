"""The part of `probrev compare` that samples."""

import jax
import numpy as np
import pytest

import probrev as pr
from probrev.cli import run


@pytest.mark.slow
def test_gibbs_goes_on_until_it_has_converged(monkeypatch):
    monkeypatch.setattr(run, "FIRST_ROUND", 60)
    monkeypatch.setattr(run, "GROWTH", 20)
    monkeypatch.setattr(run, "LAST_ROUND", 1200)
    weights = np.random.default_rng(0).normal(size=(20, 3))
    prior = pr.SpikeAndSlab(3, 0.4, pr.FiniteSlab([0.6, 1.4], [0.5, 0.5]))
    model = pr.LayeredModel(prior, [pr.Layer(weights, 0.6, 1.0)])
    obs = model.simulate(jax.random.key(0), 2)
    rounds = []
    found = run.sample_until_converged(
        jax.random.key(1), model, obs, progress=lambda done, total: rounds.append(total)
    )
    assert sorted(set(rounds)) == [560, 1700]
    assert found.status == "ok", found.status_reason
    once = pr.gibbs(jax.random.key(1), model, obs, num_samples=1200)
    np.testing.assert_array_equal(found.draws, once.draws)
