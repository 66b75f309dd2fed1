"""Gibbs at the size of a real layer, under the correlated prior fitted to its real h."""

import jax
import numpy as np
import pytest

import probrev as pr
from models.digits import build, train_layer


@pytest.mark.proof
def test_claimed_risk_is_the_actual_risk():
    pytest.importorskip("sklearn")
    trained, layers = train_layer(0), build().layers
    v = trained.x_train @ trained.weights + trained.bias
    prior = pr.fit_prior(trained.h_train, kind="correlated", pre_activations=v)
    model = pr.LayeredModel(prior, layers)
    obs = model.simulate(jax.random.key(0), 100)
    posterior = pr.gibbs(
        jax.random.key(1), model, obs, num_chains=2, num_warmup=250, num_samples=250
    )
    claimed = float(posterior.var.sum())
    actual = ((posterior.mean.to_numpy() - np.asarray(obs.h)) ** 2).sum()
    assert 0.9 < claimed / actual < 1.1
