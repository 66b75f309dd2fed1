"""The predicted risk of nets, against nets that are run on fresh weights."""

import jax
import numpy as np
import pytest
from numpyro.distributions import HalfNormal
from scipy.stats import norm

import probrev as pr
from probrev.runs import registry
from probrev.theory.net_risk import (
    RowMoments,
    _nodes,
    estimated_moments,
    predict_net_risk,
    raw_rectified_moments,
    read_out,
    rectified_risk,
)

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


@pytest.mark.slow
@pytest.mark.parametrize(("bias", "keep_prob"), [("universal", 1.0), ("calibrated", 0.5)])
def test_prediction_of_deep_nets(bias, keep_prob):
    """Two layers, neither of them with unit weights or the default gain."""
    measured, predicted = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        bottom = pr.Layer(rng.normal(0, 1.3, (6000, 800)), 0.6, 0.1, 0.0005)
        top = pr.Layer(rng.normal(0, 0.8, (800, 40)), 0.7, 0.6, 0.005)
        model = pr.LayeredModel(PRIOR, [bottom, top])
        key = jax.random.key(seed)
        net = pr.FeedforwardNet.from_model(key, model, bias, keep_prob=keep_prob)
        obs = model.simulate(jax.random.key(100 + seed), 300)
        error = ((net(obs.x, key if keep_prob < 1 else None) - obs.h) ** 2).sum(1)
        measured.append(float(error.mean()))
        predicted.append(float(predict_net_risk(jax.random.key(200 + seed), PRIOR, net)))
    spread = np.std(measured, ddof=1) / np.sqrt(6)
    assert abs(np.mean(measured) - np.mean(predicted)) < 4 * spread + 0.02 * np.mean(predicted)


@pytest.mark.slow
def test_moments_of_an_estimate_are_those_of_draws():
    """The integrals over g against a sum on a fine grid, mask and noise of the readout included."""
    layer = pr.Layer(np.ones((2, 3)), 0.7, 0.5, 0.6)
    spread = np.array([[1.3]])
    bias = pr.Bias(offset=-0.1)
    moments = RowMoments(*np.array([[[0.4]], [[0.9]], [[1.7]]]))
    g = _nodes()[0]
    units = np.concatenate([[0.0], 0.6 * 1.3 * g])[None]
    found = estimated_moments(layer, read_out(layer, bias, spread, moments, units))
    z = np.linspace(-9, 9, 20_001)
    mass = norm.pdf(z) * (z[1] - z[0])
    kept = read_out(layer, bias, spread, moments, 0.6 * 1.3 * np.maximum(z, 0)[None])
    dropped = read_out(layer, bias, spread, moments, np.zeros((1, 1)))
    on, off = raw_rectified_moments(*kept), raw_rectified_moments(*dropped)
    first, second = (
        0.7 * np.asarray(a)[0] + 0.3 * float(b[0, 0]) for a, b in zip(on, off, strict=True)
    )
    expected = [mass @ (z * first), mass @ second, mass @ (z**2 * second)]
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-6)


def test_a_bias_per_unit_below_the_top_is_refused():
    model = registry.load("layered")(n_visible=60, n_intermediate=20, n_hidden=5)
    net = pr.FeedforwardNet(model.layers, (pr.Bias(offset=np.zeros(20)), pr.Bias()))
    with pytest.raises(ValueError, match="the bias of layer 0 differs between units"):
        predict_net_risk(jax.random.key(0), model.prior, net)


def test_what_is_not_predicted_is_refused():
    weights = np.random.default_rng(0).normal(size=(6, 4))
    prior = pr.SpikeAndSlab(4, 0.3, pr.FiniteSlab([1.0], [1.0]))
    below, linear = pr.Layer(np.ones((9, 6)), 0.5), pr.Layer(weights, activation="identity")
    deep = pr.FeedforwardNet((below, linear), (pr.Bias(), pr.Bias()))
    with pytest.raises(ValueError, match=r"every layer but layers\[0\] has activation relu"):
        pr.predict_net_risk(jax.random.key(0), prior, deep)
    biased = pr.Layer(weights, 0.5, bias=np.ones(6))
    net = pr.FeedforwardNet((biased,), (pr.Bias(),), scales=(biased.weight_std,))
    with pytest.raises(ValueError, match=r"layers\[0\] has a bias"):
        pr.predict_net_risk(jax.random.key(0), prior, net)
