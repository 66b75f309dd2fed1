"""Posteriors of `cases` in plain NumPy and SciPy: the oracle of probrev's integrals.

One and two active units: quadrature (`quadrature`). Three and four: importance sampling
(`sampling`), with standard errors; where those of three are above 3e-3, which says that the
weights are too uneven for the errors themselves to be trusted, quadrature too. No code is shared
with probrev, and all is done in h itself, axis by axis.
"""

import itertools
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from analyses.exact_accuracy.cases import Case
from analyses.exact_accuracy.integrand import Integrand, make_integrand
from analyses.exact_accuracy.quadrature import integrate_line, integrate_plane, integrate_space
from analyses.exact_accuracy.sampling import sample

WELL_SAMPLED = 3e-3


class Truth(NamedTuple):
    """One posterior, and what its numbers are known to.

    Attributes:
        log_evidence: log p(x).
        support_probs: of every support, by size, then lexicographic, (support,).
        mean: (hidden,).
        second: E[h^2], (hidden,).
        std_errors: of the four before, the first relative, in one array; 0 without Monte Carlo.
    """

    log_evidence: float
    support_probs: np.ndarray
    mean: np.ndarray
    second: np.ndarray
    std_errors: np.ndarray


def list_supports(case: Case) -> list[tuple[int, ...]]:
    """All supports, by size, then lexicographic."""
    sizes = range(case.max_active + 1)
    units = range(case.weights.shape[1])
    return [support for size in sizes for support in itertools.combinations(units, size)]


def solve(case: Case) -> Truth:
    """The posterior of a case."""
    n_hidden = case.weights.shape[1]
    supports = list_supports(case)
    parts = [integrate(make_integrand(case, support)) for support in supports]
    tops = np.array([top for top, _ in parts])
    batches = max(len(values) for _, values in parts)
    answers = np.array([
        _combine(n_hidden, supports, tops, [values[k % len(values)] for _, values in parts])
        for k in range(batches)
    ])  # fmt: skip
    whole = _combine(n_hidden, supports, tops, [values.mean(0) for _, values in parts])
    errors = answers.std(0, ddof=1) / np.sqrt(batches) if batches > 1 else 0 * whole
    normaliser = sum(
        np.prod(np.where(np.isin(np.arange(n_hidden), support), p, 1 - p))
        for p in [case.inclusion_prob]
        for support in supports
    )
    cuts = np.cumsum([1, len(supports), n_hidden])
    log_evidence, probs, mean, second = np.split(whole, cuts)
    return Truth(float(log_evidence[0] - np.log(normaliser)), probs, mean, second, errors)


def _combine(
    n_hidden: int, supports: list[tuple[int, ...]], tops: np.ndarray, values: list[np.ndarray]
) -> np.ndarray:
    """Log evidence, support probabilities, mean and second moment, from every support's integrals.

    Each of `values` holds the integrals of 1, h and h^2 times exp(-top).
    """
    log_mass = tops + np.log([value[0] for value in values])
    total = logsumexp(log_mass)
    moments = np.zeros((2, n_hidden))
    for support, top, value in zip(supports, tops, values, strict=True):
        moments[:, list(support)] += np.exp(top - total) * value[1:].reshape(2, -1)
    return np.concatenate([[total], np.exp(log_mass - total), *moments])


def integrate(g: Integrand) -> tuple[float, np.ndarray]:
    """Log scale `top`, and the integrals of 1, h, h^2 times exp(-top), one row per batch."""
    size = len(g.linear)
    if size == 0:
        return float(g(np.zeros(0))), np.ones((1, 1))
    if size == 1:
        return integrate_line(g)
    if size == 2:
        return integrate_plane(g)
    top, values = sample(g)
    spread = values[:, 0].std(ddof=1) / np.sqrt(len(values))
    if size == 3 and spread > WELL_SAMPLED * values[:, 0].mean():
        return integrate_space(g)
    return top, values
