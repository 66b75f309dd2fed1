"""Channels against quadrature of their definitions, and scores against derivatives of log Z."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss
from scipy.stats import norm

import probrev as pr
from probrev.model.channel import hidden_belief, hidden_score, observed_score

# keep_prob, noise_std, gain: rho / alpha is never 1
SETTINGS = [(0.35, 0.8, 0.3), (0.9, 0.15, 2.4), (1.0, 1.1, 0.6)]
OMEGA = jnp.array([-6.0, -1.1, -0.2, 0.3, 1.7, 5.0])
V = jnp.array([0.4, 0.02, 1.3, 0.0, 2.2, 0.7])
X = jnp.array([0.0, 0.4, 0.0, 0.0, 0.0, 1.9])
R = jnp.array([-0.4, 0.9, 0.05, 2.3, -1.6, 0.6])
TAU = jnp.array([0.3, 2.0, 0.01, 0.5, 1.1, 0.08])
NODES, WEIGHTS = leggauss(300)


def layer_of(setting, activation="relu"):
    keep_prob, noise_std, gain = setting
    return pr.Layer(np.ones((2, 2)), keep_prob, noise_std, gain, activation=activation)


@jax.jit
def observed(layer, x, omega, V):
    return observed_score(layer, x, omega, V)


@jax.jit
def hidden(layer, r, tau, omega, V):
    belief = hidden_belief(layer, r, tau, omega, V)
    return belief, hidden_score(layer, belief, omega, V)


@partial(jax.jit, static_argnums=(0, 1))
def differentiate(log_z, score, layer):
    slope = jax.grad(lambda omega: log_z(layer, omega).sum())(OMEGA)
    curvature = jax.grad(lambda omega: score(layer, omega).g.sum())(OMEGA)
    return score(layer, OMEGA), slope, curvature


def check_derivatives(log_z, score, layer):
    """Holds g against d log Z / d omega, and the information against -dg / d omega."""
    found, slope, curvature = differentiate(log_z, score, layer)
    np.testing.assert_allclose(found.g, slope, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found.information, -curvature, rtol=1e-7, atol=1e-8)


def log_likelihood(layer, omega):
    std = jnp.sqrt(V + layer.noise_std**2)
    return pr.LayerUnit(layer.activation, omega, std, layer.keep_prob, layer.gain).log_prob(X)


def score_of_x(layer, omega):
    return observed_score(layer, X, omega, V)


def log_evidence(layer, omega):
    return hidden_belief(layer, R, TAU, omega, V).log_evidence


def score_of_hidden(layer, omega):
    return hidden_score(layer, hidden_belief(layer, R, TAU, omega, V), omega, V)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_observed_score_is_the_derivative_of_the_log_likelihood(setting, activation):
    check_derivatives(log_likelihood, score_of_x, layer_of(setting, activation))


def test_observed_score_is_that_of_the_likelihood_averaged_over_the_pre_activation():
    """The definition: Z(omega) = E p(x | z), z ~ N(omega, V), by quadrature."""
    rho, sigma, alpha = SETTINGS[0]
    layer, variance = layer_of(SETTINGS[0]), 0.7
    nodes = np.linspace(-9, 9, 4001)
    mass = norm.pdf(nodes) * (nodes[1] - nodes[0])
    for x in (0.0, 0.6):
        for omega in (-1.3, 0.4, 2.2):

            def log_z(omega, x=x):
                z = omega + np.sqrt(variance) * nodes
                silent = 1 - rho + rho * norm.cdf(-z / sigma)
                seen = rho / alpha * norm.pdf(x / alpha, z, sigma)
                return np.log(mass @ (seen if x > 0 else silent))

            step = 1e-3
            low, middle, high = (log_z(omega + shift) for shift in (-step, 0, step))
            found = observed(layer, *map(jnp.asarray, (x, omega, variance)))
            np.testing.assert_allclose(found.g, (high - low) / (2 * step), rtol=1e-5)
            curvature = (2 * middle - high - low) / step**2
            np.testing.assert_allclose(found.information, curvature, rtol=1e-4)


@pytest.mark.parametrize("rho", [0.4, 1.0])
def test_silence_in_the_far_tails(rho):
    """Far below 0 silence is no news; far above it is dropout, or without that a hard push."""
    layer = layer_of((rho, 1.0, 0.5))
    omega = jnp.array([-40.0, 40.0, 1e4])
    found = observed(layer, jnp.zeros(3), omega, jnp.zeros(3))
    np.testing.assert_allclose(found.g[0], 0, atol=1e-12)
    np.testing.assert_allclose(found.information[0], 0, atol=1e-12)
    hard = rho == 1.0
    np.testing.assert_allclose(found.g[1:], -omega[1:] * hard, rtol=1e-3, atol=1e-12)
    np.testing.assert_allclose(found.information[1:], [float(hard)] * 2, rtol=1e-3, atol=1e-12)


def integrate_hidden(setting, r, tau, omega, V):
    """Z, mean, variance and P(h > 0) by Gauss-Legendre quadrature over h."""
    rho, sigma, alpha = setting
    c = np.sqrt(V + sigma**2)
    center, spread = alpha * omega, alpha * c
    top = max(center + 10 * spread, min(r + 10 * np.sqrt(tau), center + 40 * spread), spread)
    low = max(0.0, min(center - 10 * spread, r - 10 * np.sqrt(tau)))
    h = low + (top - low) * (NODES + 1) / 2
    weight = WEIGHTS * (top - low) / 2
    slab = rho * norm.pdf(h, center, spread) * norm.pdf(h, r, np.sqrt(tau)) * weight
    spike = (1 - rho + rho * norm.cdf(-omega / c)) * norm.pdf(0, r, np.sqrt(tau))
    z = spike + slab.sum()
    mean, second = slab @ h / z, slab @ h**2 / z
    return np.log(z), mean, second - mean**2, slab.sum() / z


@pytest.mark.parametrize("setting", SETTINGS)
def test_hidden_belief_is_the_integral(setting):
    found, _ = hidden(layer_of(setting), R, TAU, OMEGA, V)
    for index, arguments in enumerate(zip(R, TAU, OMEGA, V, strict=True)):
        expected = integrate_hidden(setting, *map(float, arguments))
        np.testing.assert_allclose([part[index] for part in found], expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("setting", SETTINGS)
def test_hidden_score_is_the_derivative_of_log_z(setting):
    check_derivatives(log_evidence, score_of_hidden, layer_of(setting))


def test_an_exact_message_from_below_is_an_observation():
    """As tau -> 0 a message about h is h itself, so both channels send up the same score."""
    layer = layer_of(SETTINGS[0])
    h = jnp.array([0.0, 0.2, 0.0, 0.9, 0.0, 1.4])
    _, found = hidden(layer, h, jnp.full(6, 1e-12), OMEGA, V)
    for mine, wanted in zip(found, observed(layer, h, OMEGA, V), strict=True):
        np.testing.assert_allclose(mine, wanted, rtol=1e-4, atol=1e-6)


def test_intermediate_units_are_rectified():
    with pytest.raises(ValueError, match="only rectified units are a spike and a slab"):
        hidden_belief(layer_of(SETTINGS[0], "identity"), R, TAU, OMEGA, V)
