"""The predicted risk of nets, against nets that are run on fresh weights."""

import jax
import numpy as np
import pytest
from numpyro.distributions import HalfNormal
from scipy.stats import norm

import probrev as pr
from probrev import registry
from probrev.net_risk import predict_net_risk, rectified_risk

PRIOR = pr.SpikeAndSlab(40, 0.1, HalfNormal(0.6))


def test_rectified_risk_is_the_integral():
    z = np.linspace(-10, 10, 200_001)
    for center, std, h in ((0.4, 0.7, 0.9), (-1.3, 0.5, 0.2), (2.0, 0.1, 1.7)):
        plain = ((np.maximum(center + std * z, 0) - h) ** 2 * norm.pdf(z)).sum() * (z[1] - z[0])
        np.testing.assert_allclose(rectified_risk(*map(np.asarray, (center, std, h))), plain, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bias", "keep_prob"), [("theory", 1.0), ("universal", 0.5), ("calibrated", 1.0)]
)
def test_prediction_is_what_nets_do_on_fresh_weights(bias, keep_prob):
    measured, predicted = [], []
    for seed in range(6):
        weights = np.random.default_rng(seed).normal(0, 1.7, size=(1500, 40))
        model = pr.LayeredModel(PRIOR, [pr.Layer(weights, 0.6, 1.2)])
        key = jax.random.key(seed)
        net = pr.FeedforwardNet.from_model(key, model, bias, keep_prob=keep_prob)
        obs = model.simulate(jax.random.key(100 + seed), 1000)
        error = ((net(obs.x, key if keep_prob < 1 else None) - obs.h) ** 2).sum(1)
        measured.append(float(error.mean()))
        predicted.append(float(predict_net_risk(jax.random.key(200 + seed), PRIOR, net)))
    spread = np.std(measured, ddof=1) / np.sqrt(6)
    assert abs(np.mean(measured) - np.mean(predicted)) < 4 * spread + 0.02 * np.mean(predicted)


def test_deep_nets_are_refused():
    model = registry.load("layered")(n_visible=60, n_intermediate=20, n_hidden=5)
    net = pr.FeedforwardNet(model.layers, (pr.Bias(), pr.Bias()))
    with pytest.raises(ValueError, match="this one has 2: measure it on draws"):
        predict_net_risk(jax.random.key(0), model.prior, net)
