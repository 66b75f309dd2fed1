"""Posteriors by plain loops in NumPy and SciPy, sharing no code with probrev."""

import itertools
import math
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

# n_visible, n_hidden, num_values, max_active
SIZES = ((6, 4, 2, 2), (3, 5, 1, 5), (5, 3, 3, 3), (2, 5, 2, 1))


class Case(NamedTuple):
    """A random small model of one ReLU layer, and observations."""

    weights: np.ndarray
    keep_prob: float
    noise_std: float
    gain: float
    inclusion_prob: float
    values: np.ndarray
    probs: np.ndarray
    max_active: int
    x: np.ndarray


def random_case(seed: int) -> Case:
    """A case with everything away from 0 and 1: dropout, noise, gain, a bound on active units."""
    rng = np.random.default_rng(seed)
    # Few sizes, so that few are compiled; all else is random.
    n_visible, n_hidden, num_values, max_active = SIZES[seed % len(SIZES)]
    weights = rng.normal(0.3, 1.2, (n_visible, n_hidden))
    keep_prob, noise_std, gain = rng.uniform(0.2, 0.95), rng.uniform(0.2, 2), rng.uniform(0.2, 3)
    values = np.sort(rng.uniform(0.2, 2.5, num_values))
    probs = rng.dirichlet(np.ones(num_values))
    h = rng.choice(values, (3, n_hidden)) * (rng.uniform(size=(3, n_hidden)) < 0.4)
    noisy = h @ weights.T + noise_std * rng.normal(size=(3, n_visible))
    x = gain * np.maximum(noisy, 0) * (rng.uniform(size=noisy.shape) < keep_prob)
    return Case(
        weights, keep_prob, noise_std, gain, rng.uniform(0.1, 0.6), values, probs, max_active, x
    )


def log_likelihood(case: Case, h: np.ndarray, x: np.ndarray) -> float:
    """log p(x | h), row by row."""
    total = 0.0
    for row, value in zip(case.weights, x, strict=True):
        z = float(row @ h)
        if value > 0:
            density = norm.logpdf(value / case.gain, z, case.noise_std)
            total += math.log(case.keep_prob / case.gain) + density
        else:
            silent = norm.cdf(-z / case.noise_std)
            total += math.log(1 - case.keep_prob + case.keep_prob * silent)
    return total


class Answer(NamedTuple):
    """Moments of one posterior."""

    mean: np.ndarray
    var: np.ndarray
    inclusion_prob: np.ndarray
    log_evidence: float


def posterior(case: Case, x: np.ndarray) -> Answer:
    """Sums over every vector of levels, weighing each by prior times likelihood."""
    n_hidden = case.weights.shape[1]
    levels = np.concatenate([[0.0], case.values])
    level_probs = np.concatenate([[1 - case.inclusion_prob], case.inclusion_prob * case.probs])
    states, prior, log_terms = [], [], []
    for choice in itertools.product(range(len(levels)), repeat=n_hidden):
        if sum(level > 0 for level in choice) > case.max_active:
            continue
        h = levels[list(choice)]
        states.append(h)
        prior.append(math.prod(level_probs[level] for level in choice))
        log_terms.append(log_likelihood(case, h, x))
    states, prior = np.array(states), np.array(prior)
    log_terms = np.array(log_terms) + np.log(prior / prior.sum())
    top = log_terms.max()
    weights = np.exp(log_terms - top)
    evidence = weights.sum()
    weights /= evidence
    mean = weights @ states
    return Answer(
        mean=mean,
        var=weights @ (states - mean) ** 2,
        inclusion_prob=weights @ (states > 0),
        log_evidence=top + math.log(evidence),
    )


def half_normal_posterior(case: Case, x: np.ndarray, scale: float, num_nodes: int = 28) -> Answer:
    """The same under a half-normal slab: tensor quadrature over every support.

    `case.values`, `case.probs` and `case.max_active` are not used.
    """
    n_hidden = case.weights.shape[1]
    nodes, node_weights = np.polynomial.legendre.leggauss(num_nodes)
    points, node_weights = (nodes + 1) * 3 * scale, node_weights * 3 * scale
    density = 2 * norm.pdf(points, 0, scale) * node_weights
    zeroth, first, second = 0.0, np.zeros(n_hidden), np.zeros(n_hidden)
    active_mass = np.zeros(n_hidden)
    for size in range(n_hidden + 1):
        spikes = case.inclusion_prob**size * (1 - case.inclusion_prob) ** (n_hidden - size)
        for support in itertools.combinations(range(n_hidden), size):
            h = np.zeros((num_nodes**size, n_hidden))
            h[:, support] = tensor(points, size)
            weight = tensor(density, size)
            z = h @ case.weights.T
            seen = norm.logpdf(x / case.gain, z, case.noise_std) + math.log(
                case.keep_prob / case.gain
            )
            silent = np.log(1 - case.keep_prob + case.keep_prob * norm.cdf(-z / case.noise_std))
            terms = spikes * weight.prod(1) * np.exp(np.where(x > 0, seen, silent).sum(1))
            zeroth += terms.sum()
            first += terms @ h
            second += terms @ h**2
            active_mass += terms @ (h > 0)
    mean = first / zeroth
    return Answer(mean, second / zeroth - mean**2, active_mass / zeroth, math.log(zeroth))


def tensor(values: np.ndarray, size: int) -> np.ndarray:
    """All tuples of `size` values, one a row."""
    axes = np.meshgrid(*[values] * size, indexing="ij") if size else []
    return np.stack(axes, -1).reshape(-1, size) if size else np.zeros((1, 0))
