"""Message passing through one layer in plain NumPy, W and W^2 as arrays."""

import numpy as np
from scipy.special import ndtr

import probrev as pr

FINITE = pr.FiniteSlab([0.5, 1.2, 1.9], [0.5, 0.3, 0.2])


def one_layer(n_visible=40, n_hidden=7, seed=0, mean=0.1, **options):
    """A small model of one layer in which rho / alpha is not 1."""
    settings = {"keep_prob": 0.6, "noise_std": 0.9, "gain": 0.3, **options}
    weights = np.random.default_rng(seed).normal(mean, 1, (n_visible, n_hidden))
    prior = pr.SpikeAndSlab(n_hidden, np.linspace(0.1, 0.4, n_hidden), FINITE)
    return pr.LayeredModel(prior, [pr.Layer(weights, **settings)])


def iterate_plainly(model, x, num_iterations=400, step=0.5):
    """Mean, variance and P(h > 0) for one x after so many iterations, of which `step` is taken."""
    layer, prior = model.layers[0], model.prior
    W, rho, alpha = np.asarray(layer.weights), float(layer.keep_prob), float(layer.gain)
    sigma, values = float(layer.noise_std), np.asarray(FINITE.values)
    pi = np.asarray(prior.inclusion_prob)[:, None]
    probs = np.concatenate([1 - pi, pi * np.asarray(FINITE.probs)], axis=1)
    levels = np.concatenate([[0.0], values])
    mean, var, g = probs @ levels, probs @ levels**2 - (probs @ levels) ** 2, np.zeros(len(x))
    for _ in range(num_iterations):
        V = W**2 @ var
        omega = W @ mean - V * g
        c = np.sqrt(sigma**2 + V)
        t = omega / c
        f, density = 1 - rho + rho * ndtr(-t), np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
        silent = -rho * density / (c * f)
        g = np.where(x > 0, (x / alpha - omega) / c**2, silent)
        info = np.where(x > 0, 1 / c**2, silent**2 - rho * t * density / (c**2 * f))
        tau = 1 / (W.T**2 @ info)
        r = mean + tau * (W.T @ g)
        weight = probs * np.exp(-((r[:, None] - levels) ** 2) / (2 * tau[:, None]))
        weight /= weight.sum(1, keepdims=True)
        new = weight @ levels
        new_var = weight @ levels**2 - new**2
        mean, var = (1 - step) * mean + step * new, (1 - step) * var + step * new_var
    return new, new_var, 1 - weight[:, 0]
