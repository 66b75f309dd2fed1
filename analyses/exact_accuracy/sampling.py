"""Importance sampling over several active units, in u = log h, from a tempered population."""

import numpy as np
from scipy.special import gammaln

from analyses.exact_accuracy.integrand import Integrand

NUM_PARTICLES, NUM_CENTERS, NUM_DRAWS, NUM_BATCHES = 3000, 300, 200_000, 20


def sample(g: Integrand) -> tuple[float, np.ndarray]:
    """Any number of active units from two on; see `integrals.integrate`."""
    size = len(g.linear)
    rng = np.random.default_rng(int(abs(g.constant) * 1e6) % 2**32)
    population = _temper(rng, g)
    centers = population[rng.choice(len(population), NUM_CENTERS, replace=False)]
    spread = np.cov(population.T) + 1e-10 * np.eye(size)
    white = np.linalg.inv(np.linalg.cholesky(spread))
    far = ((centers[:, None] - population) @ white.T) ** 2
    near = np.argsort(far.sum(-1), axis=1)[:, :60]
    local = np.array([np.cov(population[index].T) for index in near]) + 1e-3 * spread
    # A tenth of the kernels is wide, for what the population has missed.
    local[::10] = 2 * spread
    factors = np.linalg.cholesky(1.3 * local)
    which = rng.integers(NUM_CENTERS, size=NUM_DRAWS)
    noise = rng.normal(size=(NUM_DRAWS, size)) / np.sqrt(rng.chisquare(5, (NUM_DRAWS, 1)) / 5)
    u = centers[which] + np.einsum("nij,nj->ni", factors[which], noise)
    log_weight = _log_target(g, u) - _log_kernels(u, centers, factors)
    top = log_weight.max()
    weight = np.exp(log_weight - top)
    h = np.exp(np.minimum(u, 300.0))
    values = np.concatenate([weight[:, None], weight[:, None] * h, weight[:, None] * h**2], 1)
    return float(top), values.reshape(NUM_BATCHES, -1, 1 + 2 * size).mean(1)


def _log_target(g: Integrand, u: np.ndarray) -> np.ndarray:
    """Log density of u = log h."""
    inside = np.abs(u).max(-1) < 300
    h = np.exp(np.where(inside[:, None], u, 0.0))
    return np.where(inside, g(h) + np.where(inside[:, None], u, 0.0).sum(-1), -np.inf)


def _log_kernels(u: np.ndarray, centers: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Log of the kernels' mean, each a Student law of 5 degrees of freedom."""
    size = u.shape[1]
    constant = gammaln((5 + size) / 2) - gammaln(2.5) - size / 2 * np.log(5 * np.pi)
    total = np.full(len(u), -np.inf)
    for center, factor in zip(centers, factors, strict=True):
        v = np.linalg.solve(factor, (u - center).T)
        log_kernel = constant - np.log(np.diag(factor)).sum()
        log_kernel = log_kernel - (5 + size) / 2 * np.log1p((v**2).sum(0) / 5)
        total = np.logaddexp(total, log_kernel)
    return total - np.log(len(centers))


def _temper(rng: np.random.Generator, g: Integrand) -> np.ndarray:
    """A population of log h, moved from a wide law to the target in steps of temperature."""
    middle, wide, size = np.log(0.05 * g.far), 2.0, len(g.linear)

    def log_base(u: np.ndarray) -> np.ndarray:
        return -0.5 * ((u - middle) ** 2).sum(-1) / wide**2

    u, heat = middle + wide * rng.normal(size=(NUM_PARTICLES, size)), 0.0
    while heat < 1:
        gap = np.maximum(_log_target(g, u), -1e290) - log_base(u)
        step = _next_step(gap, 1 - heat)
        heat += step
        weight = np.exp(step * (gap - gap.max()))
        u = u[rng.choice(len(u), len(u), p=weight / weight.sum())]
        factor = np.linalg.cholesky(np.cov(u.T) + 1e-12 * np.eye(size))
        log_law = heat * _log_target(g, u) + (1 - heat) * log_base(u)
        for width in np.tile([1.2, 0.5, 0.15, 0.04], 5):
            new = u + width * rng.normal(size=u.shape) @ factor.T
            log_new = heat * _log_target(g, new) + (1 - heat) * log_base(new)
            taken = np.log(rng.uniform(size=len(u))) < log_new - log_law
            u, log_law = np.where(taken[:, None], new, u), np.where(taken, log_new, log_law)
    return u


def _next_step(gap: np.ndarray, most: float) -> float:
    """The step of temperature that leaves half of the weight effective, at most `most`."""
    low, high = 0.0, most
    for step in [most] + [0.0] * 50:
        step = step or (low + high) / 2
        weight = np.exp(step * (gap - gap.max()))
        enough = weight.sum() ** 2 > (weight**2).sum() * len(gap) / 2
        if enough and step == most:
            return most
        low, high = (step, high) if enough else (low, step)
    return max(low, 1e-12 * most)
