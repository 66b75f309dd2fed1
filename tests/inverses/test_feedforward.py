"""The net against plain NumPy, and its random version against the theory's moments."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probrev as pr
from probrev.inverses.feedforward import Bias

RNG = np.random.default_rng(21)
KEY = jax.random.key(6)
SLAB = pr.FiniteSlab([0.5, 1.6], [0.4, 0.6])
PRIOR = pr.SpikeAndSlab(6, 0.25, SLAB)
LAYER = pr.Layer(RNG.normal(0, 0.7, (25, 6)), 0.6, 0.5, 1.9)
ONE = pr.LayeredModel(PRIOR, [LAYER])
TWO = pr.LayeredModel(PRIOR, [pr.Layer(RNG.normal(size=(90, 25)), 0.8, 0.1), LAYER])
THRESHOLD = np.sqrt(2 * np.log(6))


def readout_plainly(layer, x):
    """u = c W^T x with c such that E u = h: 2 / (gain rho mean_i ||W_i||^2)."""
    weights = np.asarray(layer.weights)
    energy = (weights**2).sum(0).mean()
    scale = 2 / (float(layer.gain) * float(layer.keep_prob) * energy)
    std = scale * np.sqrt((weights**2).mean()) * np.sqrt((x**2).sum(-1, keepdims=True))
    return scale * x @ weights, std


@pytest.fixture(scope="module")
def obs():
    return ONE.simulate(jax.random.key(0), 4096)


@pytest.fixture(scope="module")
def calibrated():
    return pr.FeedforwardNet.from_model(KEY, ONE, "calibrated")


def test_universal_bias_is_read_off_x(obs):
    net = pr.FeedforwardNet.from_model(KEY, ONE, "universal")
    x = np.asarray(obs.x)
    readout, std = readout_plainly(LAYER, x)
    expected = np.maximum(readout - THRESHOLD * std, 0)
    assert 0.05 < (expected > 0).mean() < 0.9
    np.testing.assert_allclose(net(obs.x), expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(net(obs.x[4]), expected[4], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("keep_prob", [1.0, 0.4])
def test_theory_bias_is_a_constant_known_before_x(keep_prob):
    """-sqrt(2 log m) sqrt(2 s^2 / (rho q n)), s^2 in units of W's own scale."""
    net = pr.FeedforwardNet.from_model(KEY, ONE, "theory", keep_prob=keep_prob)
    energy = 6 * 0.25 * (0.4 * 0.5**2 + 0.6 * 1.6**2)
    variance = energy + 0.5**2 / (np.asarray(LAYER.weights) ** 2).mean()
    expected = -THRESHOLD * np.sqrt(2 * variance / (0.6 * keep_prob * 25))
    # The energy is an average over 4096 draws, each with a relative spread below 1.
    np.testing.assert_allclose(net.biases[0].offset, expected, rtol=4.5 / np.sqrt(4096) / 2)
    assert net.biases[0].multiple == 0


def test_an_array_is_its_own_bias(obs):
    bias = np.array([-0.3, 0.2, -1.5, 0.0, -0.1, -0.7])
    net = pr.FeedforwardNet.from_model(KEY, ONE, bias)
    x = np.asarray(obs.x[:50])
    expected = np.maximum(readout_plainly(LAYER, x)[0] + bias, 0)
    np.testing.assert_allclose(net(x), expected, rtol=1e-11, atol=1e-13)


def test_calibrated_bias_minimises_the_error_on_fresh_draws(obs, calibrated):
    readout, std = readout_plainly(LAYER, np.asarray(obs.x))
    grid = np.linspace(-1, 3, 81)
    errors = [((np.maximum(readout - c * std, 0) - obs.h) ** 2).sum(1).mean() for c in grid]
    found = ((calibrated(obs.x) - obs.h) ** 2).sum(1).mean()
    assert grid[0] < calibrated.biases[0].multiple < grid[-1]
    assert found <= min(errors) * 1.005
    assert errors[-1] > 1.2 * found < errors[0] / 1.2


def test_a_single_hidden_unit_can_be_calibrated():
    """sqrt(2 log 1) = 0, so the rules subtract nothing; the calibration must search on."""
    model = pr.LayeredModel(
        pr.SpikeAndSlab(1, 0.3, SLAB), [pr.Layer(RNG.normal(size=(8, 1)), 0.6, 1.5)]
    )
    net = pr.FeedforwardNet.from_model(KEY, model, "calibrated")
    obs = model.simulate(jax.random.key(1), 4096)
    readout, std = readout_plainly(model.layers[0], np.asarray(obs.x))
    grid = np.linspace(-1, 3, 41)
    errors = [((np.maximum(readout - c * std, 0) - obs.h) ** 2).mean() for c in grid]
    assert float(((net(obs.x) - obs.h) ** 2).mean()) <= min(errors) * 1.02


def test_deep_net_applies_its_layers_from_x_up(obs):
    net = pr.FeedforwardNet.from_model(KEY, TWO, ["universal", np.full(6, -0.2)])
    x = np.asarray(TWO.simulate(jax.random.key(2), 4096).x[:40])
    readout, std = readout_plainly(TWO.layers[0], x)
    first = np.maximum(readout - np.sqrt(2 * np.log(25)) * std, 0)
    second = np.maximum(readout_plainly(LAYER, first)[0] - 0.2, 0)
    signals = net.activations(x)
    assert (second > 0).any()
    np.testing.assert_array_equal(signals[0], x)
    np.testing.assert_allclose(signals[1], first, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(signals[2], second, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(net(x), signals[2])


def test_intermediate_layers_are_calibrated_unless_a_rule_is_given():
    """theory §3: intermediate layers are not sparse, so a universal threshold is far too high."""
    obs = TWO.simulate(jax.random.key(3), 4096)
    middle = np.asarray(obs.intermediates[0])
    errors = {}
    for name, rule in (("default", "universal"), ("universal", ["universal", "universal"])):
        net = pr.FeedforwardNet.from_model(KEY, TWO, rule)
        found = np.asarray(net.activations(obs.x)[1])
        errors[name] = ((found - middle) ** 2).sum() / (middle**2).sum()
        np.testing.assert_allclose(net.biases[1].multiple, THRESHOLD, rtol=1e-12)
    assert net.biases[0].multiple == pytest.approx(np.sqrt(2 * np.log(25)))
    assert errors["default"] < 0.6 * errors["universal"]


@pytest.mark.slow
def test_error_of_an_intermediate_layer_is_that_of_the_theory():
    """Relative error of h^(1) near .1 calibrated and .4 universal, at n_0 >> n_1 log n_1."""
    weights = RNG.normal(size=(8000, 400)), RNG.normal(size=(400, 40))
    prior = pr.SpikeAndSlab(40, 0.1, SLAB)
    model = pr.LayeredModel(prior, [pr.Layer(one, 0.5) for one in weights])
    x, targets = (obs := model.simulate(KEY, 150)).x, np.asarray(obs.intermediates[0])
    readout, std = readout_plainly(model.layers[0], np.asarray(x))
    errors = {}
    for c in (0.5, 0.75, 1.0, np.sqrt(2 * np.log(400))):
        net = pr.FeedforwardNet((model.layers[0],), (Bias(multiple=c),))
        found = np.asarray(net(x))
        np.testing.assert_allclose(found, np.maximum(readout - c * std, 0), rtol=1e-9, atol=1e-12)
        errors[c] = ((found - targets) ** 2).sum() / (targets**2).sum()
    *small, universal = errors.values()
    assert 0.05 < min(small) <= max(small) < 0.13
    assert 0.3 < universal < 0.5


# Layers whose readout is not unbiased


SHIFTED = pr.LayeredModel(
    pr.SpikeAndSlab(6, 0.3, SLAB),
    [pr.Layer(RNG.normal(0.3, 1, (25, 6)), 0.6, 0.5, 1.9, bias=RNG.normal(0.4, 0.6, 25))],
)


def test_calibration_fits_a_scale_and_offsets_where_there_is_a_bias():
    """Its error is not above that of a grid of scales, with an offset each, and far below none."""
    net = pr.FeedforwardNet.from_model(KEY, SHIFTED, "calibrated")
    obs = SHIFTED.simulate(jax.random.key(5), 4096)
    x, h, (layer,) = np.asarray(obs.x), np.asarray(obs.h), SHIFTED.layers
    (scale,), (bias,) = map(float, net.scales), net.biases
    raw, norm = x @ np.asarray(layer.weights), np.linalg.norm(x, axis=1, keepdims=True)
    std = np.sqrt((np.asarray(layer.weights) ** 2).mean()) * norm
    plain = scale * (raw - float(bias.multiple) * std) + np.asarray(bias.offset)
    np.testing.assert_allclose(net(obs.x), np.maximum(plain, 0), rtol=1e-10, atol=1e-12)

    def risk(estimate):
        return ((np.maximum(estimate, 0) - h) ** 2).sum(1).mean()

    grid = [
        risk(s * (raw - c * std) + h.mean(0) - s * (raw - c * std).mean(0) + b)
        for s in np.linspace(0.3, 2, 18) * scale
        for c in np.linspace(-1, 2, 13)
        for b in (-0.2, 0.0, 0.2)
    ]
    assert risk(plain) <= 1.02 * min(grid)
    without = (
        np.asarray(replace(layer, bias=np.zeros(25)).readout(obs.x))
        - np.linspace(-1, 3, 41)[:, None, None] * std
    )
    assert risk(plain) < 0.8 * min(risk(one) for one in without)


@pytest.mark.parametrize("rule", ["theory", "universal", np.zeros(6)])
def test_other_rules_are_refused_where_there_is_a_bias(rule):
    with pytest.raises(ValueError, match="needs a layer whose readout is unbiased for every h"):
        pr.FeedforwardNet.from_model(KEY, SHIFTED, rule)


def test_a_readout_that_is_not_unbiased_is_refused():
    (layer,), match = SHIFTED.layers, "no multiple of W.T x is unbiased for every h.*with a bias"
    with pytest.raises(ValueError, match=match):
        pr.FeedforwardNet((layer,), (Bias(),))
    with pytest.raises(ValueError, match=match):
        pr.ScalarActivation(SHIFTED.sparse_prior, layer)


@pytest.mark.slow
def test_a_threshold_layer_is_inverted_by_a_calibrated_net():
    layer = pr.Layer(RNG.normal(size=(60, 6)), 0.9, 0.3, 1.0, "threshold")
    model = pr.LayeredModel(pr.SpikeAndSlab(6, 0.3, SLAB), [layer])
    net = pr.FeedforwardNet.from_model(KEY, model, "calibrated")
    obs = model.simulate(jax.random.key(6), 2000)
    error = ((net(obs.x) - obs.h) ** 2).sum() / (obs.h**2).sum()
    assert error < 0.25
    assert "universal" not in pr.list_rungs(model)
    assert {"calibrated", "trained", "first_step", "converged"} <= set(pr.list_rungs(model))


# The net's own dropout


def test_dropout_of_the_net_leaves_the_readout_unbiased():
    """Given x: mean W^T x, covariance (1 - q) / q sum_j x_j^2 W_j W_j^T, over the net's keys."""
    q, num = 0.4, 8000
    x = jnp.asarray(RNG.uniform(0, 1, 25))
    # A great offset switches the rectifier off, so what comes out is the readout.
    net = pr.FeedforwardNet((LAYER,), (Bias(offset=100.0),), q)
    keys = jax.random.split(jax.random.key(4), num)
    drawn = np.asarray(jax.vmap(lambda key: net(x, key))(keys)) - 100.0
    readout, _ = readout_plainly(LAYER, np.asarray(x))
    scale = 2 / (1.9 * 0.6 * (np.asarray(LAYER.weights) ** 2).sum(0).mean())
    var = (1 - q) / q * scale**2 * (np.asarray(x) ** 2 @ np.asarray(LAYER.weights) ** 2)
    assert np.all(np.abs(drawn.mean(0) - readout) < 4.5 * np.sqrt(var / num))
    np.testing.assert_allclose(drawn.var(0), var, rtol=4.5 * np.sqrt(2 / num))


def test_threshold_of_a_dropping_net_is_read_off_what_it_kept():
    """theory §3: ||x|| becomes ||x * d_q|| / q; x * d_q is solved for from the readout."""
    square = pr.Layer(RNG.normal(size=(4, 4)), 0.6, 0.5, 1.9)
    x, key, q = jnp.array([0.7, 0.0, 1.9, 0.4]), jax.random.key(1), 0.5
    drawn = pr.FeedforwardNet((square,), (Bias(offset=100.0),), q)(x, key) - 100.0
    unscaled, _ = readout_plainly(square, np.eye(4))
    kept = np.linalg.solve(unscaled.T, np.asarray(drawn))
    np.testing.assert_allclose(kept[kept > 1e-6], np.asarray(x)[kept > 1e-6] / q, rtol=1e-8)
    readout, std = readout_plainly(square, kept)
    found = pr.FeedforwardNet((square,), (Bias(multiple=0.3),), q)(x, key)
    np.testing.assert_allclose(found, np.maximum(readout - 0.3 * std, 0), rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_moments_of_a_dropping_net_over_fresh_weights():
    """E u_i = h_i, Var u_i = 2 (s^2 + 2 h_i^2) / (rho q n) - h_i^2 / n."""
    n, rho, q, sigma, num = 50, 0.7, 0.5, 0.8, 15_000
    h = jnp.array([0.0, 1.5, 0.6])

    def draw(key):
        key_weights, key_x, key_net = jax.random.split(key, 3)
        weights = jax.random.normal(key_weights, (n, 3))
        layer = pr.Layer(weights, rho, sigma, 2 / (rho * n))
        x, _ = layer.generate(key_x, h)
        net = pr.FeedforwardNet((layer,), (Bias(offset=100.0),), q)
        # The readout is scaled by this W's own norm; the theory's by the expected one.
        return (net(x, key_net) - 100.0) * (weights**2).mean()

    u = np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(7), num)))
    h = np.asarray(h)
    var = 2 * ((h**2).sum() + sigma**2 + 2 * h**2) / (rho * q * n) - h**2 / n
    assert np.all(np.abs(u.mean(0) - h) < 4.5 * np.sqrt(var / num))
    deviation = (u - h) ** 2
    assert np.all(np.abs(deviation.mean(0) - var) < 4.5 * deviation.std(0) / np.sqrt(num))


def test_a_dropping_net_is_calibrated_with_its_dropout(calibrated):
    """Its readout is noisier for the same x, so the best multiple cannot be the same."""
    net = pr.FeedforwardNet.from_model(KEY, ONE, "calibrated", keep_prob=0.3)
    obs = ONE.simulate(jax.random.key(8), 4096)
    key = jax.random.key(9)
    errors = {}
    for c in (calibrated.biases[0].multiple, net.biases[0].multiple):
        other = pr.FeedforwardNet((LAYER,), (Bias(multiple=c),), 0.3)
        errors[c] = float(((other(obs.x, key) - obs.h) ** 2).sum(-1).mean())
    assert errors[net.biases[0].multiple] < errors[calibrated.biases[0].multiple]


# Refusals


@pytest.mark.parametrize(
    ("bias", "match"),
    [
        ("best", "bias must be one of theory, universal, calibrated, or an array; got 'best'"),
        (["theory", "theory"], r"bias must be one rule, or one per layer \(1\); got 2"),
        (np.zeros(5), r"a bias array must be finite and have shape \(6,\).*got shape \(5,\)"),
        (np.full(6, np.nan), "a bias array must be finite"),
    ],
)
def test_bias_rules_that_do_not_fit_are_refused(bias, match):
    with pytest.raises(ValueError, match=match):
        pr.FeedforwardNet.from_model(KEY, ONE, bias)


@pytest.mark.parametrize("keep_prob", [0.0, 1.2, -0.5])
def test_keep_prob_of_the_net_must_be_a_probability(keep_prob):
    with pytest.raises(ValueError, match=rf"keep_prob must lie in \(0, 1\]; got {keep_prob}"):
        pr.FeedforwardNet.from_model(KEY, ONE, keep_prob=keep_prob)


def test_a_random_net_needs_a_key(obs):
    net = pr.FeedforwardNet((LAYER,), (Bias(),), 0.5)
    with pytest.raises(ValueError, match=r"keep_prob = 0.5.*call net\(x, key\)"):
        net(obs.x[:2])
