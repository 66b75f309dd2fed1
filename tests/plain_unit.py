"""The law of one unit of a layer written down for each activation, in NumPy and SciPy alone."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import probrev as pr


class SoftThreshold(pr.Activation):
    """Shrinks by 1/2 towards a flat between two points: an activation of one's own."""

    flats = (pr.Flat(0.0, -0.5, 0.5),)
    stretches = ((-np.inf, 0.0), (0.0, np.inf))

    def __call__(self, z):
        return jnp.sign(z) * jnp.maximum(jnp.abs(z) - 0.5, 0.0)

    def inverse(self, y):
        return y + 0.5 * jnp.sign(y)

    def log_inverse_slope(self, y):
        return jnp.zeros_like(y)

    def __str__(self):
        return "soft_threshold"


TANH = pr.Increasing(
    jnp.tanh, jnp.arctanh, lambda y: -jnp.log1p(-(y**2)), low=-1.0, high=1.0, name="tanh"
)
SOFTPLUS = pr.Increasing(
    jax.nn.softplus,
    lambda y: y + jnp.log(-jnp.expm1(-y)),
    lambda y: -jnp.log(-jnp.expm1(-y)),
    low=0.0,
    name="softplus",
)
ACTIVATIONS = {
    "relu": pr.Relu(),
    "identity": pr.Identity(),
    "leaky": pr.LeakyRelu(0.2),
    "clipped": pr.ClippedRelu(1.3),
    "threshold": pr.Threshold(),
    "tanh": TANH,
    "softplus": SOFTPLUS,
    "soft threshold": SoftThreshold(),
}


def some_now(*everyday):
    """Every activation, those that are not named as slow tests."""
    return [
        pytest.param(name, marks=() if name in everyday else pytest.mark.slow)
        for name in ACTIVATIONS
    ]


class Plain(NamedTuple):
    """sigma, rho and alpha of a unit."""

    noise_std: float
    keep_prob: float
    gain: float


def forward(name, z):
    """The activation itself."""
    match name:
        case "relu":
            return np.where(z > 0, z, 0.0)
        case "identity":
            return z
        case "leaky":
            return np.where(z > 0, z, 0.2 * z)
        case "clipped":
            return np.where(z < 0, 0.0, np.where(z > 1.3, 1.3, z))
        case "threshold":
            return np.where(z > 0, 1.0, 0.0)
        case "tanh":
            return 2 / (1 + np.exp(-2 * z)) - 1
        case "softplus":
            return np.log(1 + np.exp(z))
        case "soft threshold":
            return np.where(z > 0.5, z - 0.5, np.where(z < -0.5, z + 0.5, 0.0))
    raise AssertionError(name)


def likelihood(name, x, z, unit):
    """Density of x, or its mass where it has one, given the pre-activation z; arrays broadcast."""
    sigma, rho, alpha = unit
    y, z = np.broadcast_arrays(np.asarray(x, float) / alpha, np.asarray(z, float))
    below = lambda edge: norm.cdf((edge - z) / sigma)  # noqa: E731
    above = lambda edge: norm.sf((edge - z) / sigma)  # noqa: E731
    density = lambda zeta: rho / alpha * norm.pdf(zeta, z, sigma)  # noqa: E731
    dropped = np.where((y == 0) & (rho < 1), 1 - rho, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        match name:
            case "relu":
                return np.select([y > 0, y == 0], [density(y), 1 - rho + rho * below(0)], 0.0)
            case "identity":
                return np.where(dropped > 0, dropped, density(y))
            case "leaky":
                own = np.where(y > 0, density(y), density(y / 0.2) / 0.2)
                return np.where(dropped > 0, dropped, own)
            case "clipped":
                at_top = np.isclose(y, 1.3, rtol=1e-12)
                return np.select(
                    [at_top, (y > 0) & (y < 1.3), y == 0],
                    [rho * above(1.3), density(y), 1 - rho + rho * below(0)],
                    0.0,
                )
            case "threshold":
                return np.select([y == 1, y == 0], [rho * above(0), 1 - rho + rho * below(0)], 0.0)
            case "tanh":
                own = density(0.5 * np.log((1 + y) / (1 - y))) / (1 - y**2)
                return np.where(dropped > 0, dropped, np.where(np.abs(y) < 1, own, 0.0))
            case "softplus":
                own = density(np.log(np.exp(y) - 1)) / (1 - np.exp(-y))
                return np.where(dropped > 0, dropped, np.where(y > 0, own, 0.0))
            case "soft threshold":
                own = density(y + 0.5 * np.sign(y))
                flat = 1 - rho + rho * (norm.cdf((0.5 - z) / sigma) - norm.cdf((-0.5 - z) / sigma))
                return np.where(y == 0, flat, own)
    raise AssertionError(name)


def simulate(rng, name, z, unit):
    """Draws x by its definition."""
    sigma, rho, alpha = unit
    value = forward(name, z + sigma * rng.normal(size=np.shape(z)))
    return alpha * value * (rng.uniform(size=np.shape(z)) < rho)


def values(name, unit, z):
    """Values of all kinds, those of flats and, where it is one, 0: (value,) for a density plot."""
    low, high = z - 6 * unit.noise_std, z + 6 * unit.noise_std
    points = [-0.5, 0.0, 0.5, 1.3]
    return unit.gain * forward(name, np.concatenate([np.linspace(low, high, 31), points]))
