"""Pairs of x and h, and their likelihood, in plain NumPy and SciPy: nothing of probrev's."""

from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr


class Truth(NamedTuple):
    """A layer's parameters; slope is that below 0."""

    weights: np.ndarray
    keep_prob: float
    noise_std: float
    gain: float
    bias: np.ndarray
    slope: float = 0.0


def random_truth(rng, n_visible, n_hidden, **changed):
    """A layer with everything away from 0 and 1."""
    weights = rng.normal(0.2, 1.0, (n_visible, n_hidden))
    return Truth(weights, 0.8, 0.9, 0.4, rng.normal(0.1, 0.6, n_visible))._replace(**changed)


def draw_h(rng, num_obs, n_hidden):
    """Half-normal units, active at a rate of .6."""
    return np.abs(rng.normal(size=(num_obs, n_hidden))) * (rng.random((num_obs, n_hidden)) < 0.6)


def draw_x(rng, truth, h, shared=0.0):
    """X given h; rows' noise has the correlation `shared`, and variance 1 all the same."""
    own, common = rng.normal(size=(len(h), len(truth.weights))), rng.normal(size=(len(h), 1))
    noise = np.sqrt(1 - shared) * own + np.sqrt(shared) * common
    v = h @ truth.weights.T + truth.bias + truth.noise_std * noise
    return (
        truth.gain * np.where(v > 0, v, truth.slope * v) * (rng.random(v.shape) < truth.keep_prob)
    )


def log_likelihood(truth, x, h):
    """Log p(x_j | h) of every row, written out anew."""
    rho, sigma, slope = truth.keep_prob, truth.noise_std, truth.slope
    z, y = h @ truth.weights.T + truth.bias, x / truth.gain
    pre = np.where(y < 0, y / slope if slope else np.nan, y)
    with np.errstate(divide="ignore"):
        log_drop = np.log(1 - rho)
    density = (
        np.log(rho / (truth.gain * sigma * np.sqrt(2 * np.pi)))
        - 0.5 * ((pre - z) / sigma) ** 2
        - np.where(y < 0, np.log(slope) if slope else 0.0, 0.0)
    )
    if slope == 0:
        silent = np.logaddexp(log_drop, np.log(rho) + log_ndtr(-z / sigma))
        return np.where(x > 0, density, silent)
    return density if rho == 1 else np.where(x != 0, density, log_drop)
