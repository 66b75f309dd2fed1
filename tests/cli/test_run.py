"""The part of `probrev compare` that samples."""

import jax
import numpy as np
import pytest

import probrev as pr
from probrev.cli import run


@pytest.mark.slow
def test_gibbs_goes_on_until_it_has_converged(monkeypatch):
    monkeypatch.setattr("probrev.inference.gibbs.gibbs.FIRST_SAMPLES", 60)
    weights = np.random.default_rng(0).normal(size=(20, 3))
    prior = pr.SpikeAndSlab(3, 0.4, pr.FiniteSlab([0.6, 1.4], [0.5, 0.5]))
    model = pr.LayeredModel(prior, [pr.Layer(weights, 0.6, 1.0)])
    obs = model.simulate(jax.random.key(0), 2)
    rounds = []
    found = run.sample_until_converged(
        jax.random.key(1), model, obs, progress=lambda done, total: rounds.append(total)
    )
    assert found.status == "ok", found.status_reason
    num_samples = found.draws.sizes["draw"]
    assert sorted(set(rounds))[0] == 560
    assert sorted(set(rounds))[-1] == 500 + num_samples
    assert 60 < num_samples < 2000
    once = pr.gibbs(jax.random.key(1), model, obs, num_samples=num_samples)
    np.testing.assert_array_equal(found.draws, once.draws)
    assert found.tree.attrs["settings"] == once.tree.attrs["settings"]
    same = pr.gibbs(jax.random.key(1), model, obs, until_converged=True)
    np.testing.assert_array_equal(same.draws, once.draws)
    assert "stopped" not in same.status_reason
    monkeypatch.setattr("probrev.inference.gibbs.gibbs.MOST_BYTES", 8 * 4 * 2 * 3 * 100)
    least = run.sample_until_converged(jax.random.key(1), model, obs, progress=lambda *_: None)
    np.testing.assert_array_equal(least.draws, once.draws[:, :100])
    assert least.status != "ok"
    assert least.status_reason.endswith("; stopped at 100 draws of each chain")
