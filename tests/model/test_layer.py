"""One layer, down and up, against plain NumPy and SciPy and the theory's moments."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import probrev as pr
from probrev.model.silence import tabulate_silence

RNG = np.random.default_rng(12)
WEIGHTS = RNG.normal(0.2, 1.4, (7, 3))
H = np.array([[0.7, 0.0, 1.9], [0.0, 0.4, 0.0], [2.2, 1.3, 0.6]])
X = np.maximum(RNG.normal(0.2, 1.0, (4, 7)), 0) * 0.9
LAYERS = {
    "relu": pr.Layer(WEIGHTS, 0.35, 0.8, 1.6),
    "relu_no_dropout": pr.Layer(WEIGHTS, 1.0, 0.8, 0.6),
    "identity": pr.Layer(WEIGHTS, 0.35, 0.8, 1.6, "identity"),
    "identity_no_dropout": pr.Layer(WEIGHTS, 1.0, 0.8, 0.6, "identity"),
}


def log_likelihood_plainly(layer, h, x):
    """log p(x | h) from the definition, one visible unit after the other."""
    rho, sigma, alpha = float(layer.keep_prob), float(layer.noise_std), float(layer.gain)
    total = 0.0
    for row, value in zip(WEIGHTS, x, strict=True):
        z = float(row @ h)
        density = rho * norm.pdf(value, alpha * z, alpha * sigma)
        if layer.activation.is_rectifier:
            mass = 1 - rho + rho * norm.cdf(0, z, sigma)
            density = density if value > 0 else mass if value == 0 else 0.0
        elif value == 0 and rho < 1:
            density = 1 - rho
        total += np.log(density) if density > 0 else -np.inf
    return total


def observations(layer):
    return X * np.where(np.arange(7) % 2, 1, -1) if not layer.activation.is_rectifier else X


@pytest.mark.parametrize("name", LAYERS)
def test_log_likelihood_matches_definition(name):
    layer = LAYERS[name]
    x = observations(layer)
    expected = [[log_likelihood_plainly(layer, h, one) for one in x] for h in H]
    found = jax.jit(layer.log_likelihood)(H[:, None, :], x[None, :, :])
    np.testing.assert_allclose(found, expected, rtol=1e-11)
    table = jax.jit(layer.log_likelihood_table)(H, x)
    np.testing.assert_allclose(table, expected, rtol=1e-11)
    quick = jax.jit(layer.log_likelihood_quick)(H[:, None, :], x[None, :, :])
    np.testing.assert_allclose(quick, expected, rtol=1e-11)


@pytest.mark.parametrize("name", LAYERS)
def test_score_is_the_slope_of_the_log_likelihood(name):
    layer = LAYERS[name]
    x, z = observations(layer)[None], jnp.asarray(H @ WEIGHTS.T)[:, None]

    def log_likelihood(z):
        return layer.distribution(z).log_prob(x).sum()

    expected = jax.grad(log_likelihood)(jnp.repeat(z, x.shape[1], axis=1))
    found = jax.jit(layer.score)(x, z)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    by_table = jax.jit(layer.score)(x, z, tabulate_silence(layer.keep_prob))
    np.testing.assert_allclose(by_table, expected, atol=1e-5)


def test_negative_x_is_impossible_for_relu_in_the_table():
    x = X.copy()
    x[1, 3] = -1e-9
    table = np.asarray(jax.jit(LAYERS["relu"].log_likelihood_table)(H, x))
    np.testing.assert_array_equal(np.isneginf(table), [[False, True, False, False]] * 3)
    quick = LAYERS["relu"].log_likelihood_quick(jnp.asarray(H)[:, None], x[None])
    np.testing.assert_array_equal(np.isneginf(quick), np.isneginf(table))


@pytest.mark.parametrize("name", ["relu", "identity"])
def test_generate_follows_the_likelihood(name):
    """Share of zeros, mean and mean square of every visible unit, by formula in plain SciPy."""
    layer, num = LAYERS[name], 40_000
    rho, sigma, alpha = 0.35, 0.8, 1.6
    z = WEIGHTS @ H[1]
    x, mask = jax.jit(layer.generate)(jax.random.key(4), jnp.tile(H[1:2], (num, 1)))
    x, mask = np.asarray(x), np.asarray(mask)
    assert mask.dtype == bool
    assert not x[~mask].any()
    t = z / sigma
    if name == "relu":
        zero = 1 - rho + rho * norm.cdf(-t)
        mean = rho * alpha * (z * norm.cdf(t) + sigma * norm.pdf(t))
        square = rho * alpha**2 * ((z**2 + sigma**2) * norm.cdf(t) + z * sigma * norm.pdf(t))
    else:
        zero, mean, square = (
            np.full(7, 1 - rho),
            rho * alpha * z,
            rho * alpha**2 * (z**2 + sigma**2),
        )
    for drawn, expected in (((x == 0), zero), (x, mean), (x**2, square)):
        error = 4.5 * drawn.std(0) / np.sqrt(num) + 1e-12
        assert np.all(np.abs(drawn.mean(0) - expected) < error)


def test_default_gain_is_the_papers():
    sign = np.where(np.arange(24).reshape(8, 3) % 2, 1.0, -1.0)  # columns of norm^2 8
    np.testing.assert_allclose(pr.Layer(sign, 0.35).gain, 2 / (0.35 * 8), rtol=1e-14)
    np.testing.assert_allclose(
        pr.Layer(sign, 0.35, activation="identity").gain, 1 / (0.35 * 8), rtol=1e-14
    )
    np.testing.assert_allclose(pr.Layer(3 * sign, 0.35).gain, 2 / (0.35 * 8 * 9), rtol=1e-14)
    norms = (WEIGHTS**2).sum(0).mean()
    np.testing.assert_allclose(pr.Layer(WEIGHTS, 0.8).gain, 2 / (0.8 * norms), rtol=1e-14)
    np.testing.assert_allclose(LAYERS["relu"].weight_std, np.sqrt((WEIGHTS**2).mean()), rtol=1e-14)


def test_readout_is_transposed_weights_at_the_default_gain():
    layer = pr.Layer(WEIGHTS, 0.35, 0.8)
    np.testing.assert_allclose(layer.readout(X), X @ WEIGHTS, rtol=1e-13)
    other = pr.Layer(WEIGHTS, 0.35, 0.8, gain=3 * layer.gain)
    np.testing.assert_allclose(other.readout(3 * X), X @ WEIGHTS, rtol=1e-13)


# gain over the default one, standard deviation of the weights, keep_prob, noise_std, activation
READOUTS = [
    (2.6, 0.4, 0.7, 0.9, "relu"),
    (1.0, 1.0, 0.5, 0.0, "relu"),
    (0.3, 2.5, 1.0, 1.7, "relu"),
    (1.7, 0.6, 0.6, 1.1, "identity"),
]


@partial(jax.jit, static_argnames=("n", "activation"))
def read_out(keys, h, n, std, rho, sigma, gain, activation):
    """Readouts of x drawn through a fresh W each, as if W had the norm that it has on average."""

    def draw(key):
        key_weights, key_x = jax.random.split(key)
        weights = std * jax.random.normal(key_weights, (n, 4))
        layer = pr.Layer(weights, rho, sigma, gain, activation)
        x, _ = layer.generate(key_x, h)
        norm_share = (weights**2).sum(0).mean() / (n * std**2)
        return layer.readout(x) * norm_share, layer.readout_std(x)[..., 0] * norm_share

    return jax.vmap(draw)(keys)


@pytest.mark.parametrize(
    "case", [READOUTS[0], *(pytest.param(case, marks=pytest.mark.slow) for case in READOUTS[1:])]
)
def test_readout_moments_over_fresh_weights(case):
    """E u_i = h_i and Var u_i = 2 (s^2 + 2 h_i^2) / (rho n) - h_i^2 / n, for fresh W every time.

    The scale that makes u unbiased is set from the drawn W's own norm; that fluctuates by a few
    per cent at n = 60 and moves the variance at h_i > 0 in order h_i^2 / (n m), so the expected
    readout is scaled by the norm that W has on average.
    """
    ratio, std, rho, sigma, activation = case
    n, num, h = 60, 15_000, np.array([0.0, 0.5, 1.4, 0.0])
    factor = 2.0 if activation == "relu" else 1.0
    gain = ratio * factor / (rho * n * std**2)
    sigma = sigma * std  # noise is in units of W h

    keys = jax.random.split(jax.random.key(8), num)
    u, read_std = (np.asarray(p) for p in read_out(keys, h, n, std, rho, sigma, gain, activation))
    s2 = (h**2).sum() + (sigma / std) ** 2
    if activation == "relu":
        var = 2 * (s2 + 2 * h**2) / (rho * n) - h**2 / n
    else:  # the same calculation without the rectifier: E[w^2 z^2] = s^2 + 2 h^2, E[w z] = h
        var = (s2 + 2 * h**2) / (rho * n) - h**2 / n
    assert np.all(np.abs(u.mean(0) - h) < 4.5 * np.sqrt(var / num))
    deviation = (u - h) ** 2
    assert np.all(np.abs(deviation.mean(0) - var) < 4.5 * deviation.std(0) / np.sqrt(num))
    # Given x an inactive readout is N(0, readout_std^2), whatever n.
    scaled = u[:, 0] / read_std
    assert abs((scaled**2).mean() - 1) < 4.5 * np.sqrt(2 / num) + 2 / (4 * n)
    expected = pr.Layer(np.full((n, 4), std), rho, sigma, gain, activation)
    np.testing.assert_allclose(expected.prior_readout_std((h**2).sum()) ** 2, var[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"weights": np.ones(3)}, r"weights must have shape \(n_visible, n_hidden\); got shape"),
        ({"weights": np.ones((0, 3))}, r"weights must have shape .* got shape \(0, 3\)"),
        ({"weights": np.array([[1.0, np.nan]])}, "weights must be finite"),
        ({"weights": np.array([[1.0, np.inf]])}, "weights must be finite"),
        ({"weights": np.zeros((4, 2))}, "weights are all 0, so gain has no default"),
        ({"keep_prob": 0.0}, r"keep_prob must lie in \(0, 1\].*got 0.0"),
        ({"keep_prob": 1.1}, r"keep_prob must lie in \(0, 1\].*got 1.1"),
        ({"keep_prob": np.nan}, r"keep_prob must lie in \(0, 1\].*got nan"),
        ({"noise_std": -0.2}, "noise_std must be a finite number, at least 0; got -0.2"),
        ({"noise_std": np.inf}, "noise_std must be a finite number, at least 0; got inf"),
        ({"gain": 0.0}, "gain must be positive and finite; got 0.0"),
        ({"gain": -1.0}, "gain must be positive and finite; got -1.0"),
        ({"activation": "tanh"}, 'must be "relu", "identity", "threshold", or an Act.*got .tanh'),
    ],
)
def test_layer_refuses(arguments, match):
    with pytest.raises(ValueError, match=match):
        pr.Layer(**({"weights": WEIGHTS} | arguments))


def test_layer_takes_nested_lists():
    layer = pr.Layer([[1, 2], [3, 4], [0, -1]])
    assert (layer.n_visible, layer.n_hidden) == (3, 2)
    np.testing.assert_allclose(layer.gain, 2 / (31 / 2), rtol=1e-14)
