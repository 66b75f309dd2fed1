"""The trained net against plain NumPy, the net it starts from, and the best linear estimate."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro import sample

import probrev as pr
from probrev.inverses import trained_net as module
from probrev.inverses.trained_net import contain_net

KEY = jax.random.key(4)
RNG = np.random.default_rng(8)
LAYER = pr.Layer(RNG.normal(0.1, 0.7, (30, 5)), 0.6, 0.9, 0.4)
MODEL = pr.LayeredModel(pr.SpikeAndSlab(5, 0.3, pr.FiniteSlab([0.6, 1.7], [0.4, 0.6])), [LAYER])


@pytest.fixture(scope="module")
def calibrated():
    return pr.FeedforwardNet.from_model(KEY, MODEL, "calibrated")


@pytest.fixture(scope="module")
def trained():
    return pr.train_net(KEY, MODEL)


def squared_errors(inverse, obs):
    return ((np.asarray(inverse(obs.x)) - np.asarray(obs.h)) ** 2).sum(1)


def test_it_is_a_rectifier_with_weights_and_biases_of_its_own():
    A, b, c = RNG.normal(size=(5, 30)), RNG.normal(size=5), RNG.normal(size=5)
    x = np.abs(RNG.normal(size=(4, 30)))
    W = np.asarray(LAYER.weights)
    scale = 2 / (0.4 * 0.6 * (W**2).sum(0).mean())
    expected = np.zeros((4, 5))
    for row, unit in np.ndindex(4, 5):
        spread = scale * np.sqrt((W**2).mean() * (x[row] ** 2).sum())
        expected[row, unit] = max(A[unit] @ x[row] + b[unit] - c[unit] * spread, 0.0)
    assert 0.2 < (expected > 0).mean() < 0.8
    net = pr.TrainedNet(LAYER, *(jnp.asarray(part) for part in (A, b, c)))
    np.testing.assert_allclose(net(x), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(net(x[1]), expected[1], rtol=1e-12, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["calibrated", np.arange(5) / 7 - 0.4])
def test_it_contains_every_net_of_one_layer(rule):
    net = pr.FeedforwardNet.from_model(KEY, MODEL, rule)
    x = MODEL.simulate(jax.random.key(1), 50).x
    np.testing.assert_allclose(contain_net(net)(x), net(x), rtol=1e-12, atol=1e-14)


@pytest.mark.slow
def test_training_errs_less_than_where_it_started(calibrated, trained):
    """On fresh draws, by far more than chance."""
    obs = MODEL.simulate(jax.random.key(11), 2000)
    gain = squared_errors(calibrated, obs) - squared_errors(trained, obs)
    assert gain.mean() > 6 * gain.std() / np.sqrt(2000)


@pytest.mark.slow
def test_the_key_decides(trained):
    again = pr.train_net(KEY, MODEL)
    other = pr.train_net(jax.random.key(5), MODEL)
    np.testing.assert_array_equal(again.weights, trained.weights)
    assert not np.array_equal(other.weights, trained.weights)


@pytest.mark.slow
def test_training_that_makes_it_worse_leaves_the_start(monkeypatch, calibrated):
    monkeypatch.setattr(module, "LEARNING_RATE", 1e3)
    module._train_on.clear_cache()
    found, start = pr.train_net(KEY, MODEL), contain_net(calibrated)
    module._train_on.clear_cache()
    for name in ("weights", "offset", "multiple"):
        np.testing.assert_array_equal(getattr(found, name), getattr(start, name))


@pytest.mark.slow
def test_where_the_best_estimate_is_linear_it_is_found():
    """Without rectifier, dropout and spike E[h | x] is least squares with the prior."""
    rng = np.random.default_rng(0)
    prior = pr.SpikeAndSlab(4, 1.0, dist.TruncatedNormal(3.0, 0.5, low=0.0))
    layer = pr.Layer(rng.normal(size=(20, 4)), 1.0, 2.0, 0.5, activation="identity")
    model = pr.LayeredModel(prior, [layer])
    obs = model.simulate(jax.random.key(1), 4000)
    W = np.asarray(layer.weights)
    precision = W.T @ W / 4.0 + np.eye(4) / 0.25
    linear = np.asarray(obs.x) / 0.5 @ W / 4.0 + 3.0 / 0.25
    best = squared_errors(lambda _: np.linalg.solve(precision, linear.T).T, obs).mean()
    net = pr.train_net(KEY, model)
    start = pr.FeedforwardNet.from_model(KEY, model, "calibrated")
    assert best < squared_errors(net, obs).mean() < 1.1 * best
    assert squared_errors(start, obs).mean() > 2 * best


@pytest.mark.slow
def test_any_prior_that_can_be_simulated():
    def prior():
        return jnp.abs(jnp.asarray(sample("h", dist.Laplace().expand([5]).to_event(1))))

    model = pr.LayeredModel(prior, [LAYER])
    obs = model.simulate(jax.random.key(2), 2000)
    start = pr.FeedforwardNet.from_model(KEY, model, "calibrated")
    gain = squared_errors(start, obs) - squared_errors(pr.train_net(KEY, model), obs)
    assert gain.mean() > 6 * gain.std() / np.sqrt(2000)


def test_several_layers_are_refused():
    deep = pr.LayeredModel(MODEL.prior, [pr.Layer(np.ones((6, 30))), LAYER])
    with pytest.raises(ValueError, match="a net of one layer; got a model with 2"):
        pr.train_net(KEY, deep)
