"""Posteriors of `random_posteriors` in plain NumPy and SciPy: the oracle of probrev's integrals.

One and two active units: composite Gauss-Legendre rules. The inner one has panels at everything
that a line through the integrand can show (peak of the Gaussian part, greatest value, steps of the
silent rows); the outer one is halved where two orders differ. Three active units: importance
sampling from the kernels of a tempered population, with standard errors; where these are above
3e-3, which says that the weights are too uneven for the errors themselves to be trusted, such
planes along the axis that is least steep. No code is shared with probrev, and all is done in h
itself, axis by axis.
"""

import itertools
from typing import NamedTuple

import numpy as np
from random_posteriors import Case
from scipy.special import log_ndtr, logsumexp, ndtr
from scipy.stats import norm

TOLERANCE = 2e-6
MOST_PANELS = 3000
POWERS = 2.0 ** np.arange(-2, 7)
STEPS = np.array([-8.0, -3.5, -1.2, 0.0, 1.2, 3.5, 8.0])
NUM_INNER, NUM_COARSE, NUM_FINE = 5, 6, 9
BLOCK = 40
WELL_SAMPLED = 3e-3
NUM_PARTICLES, NUM_CENTERS, NUM_DRAWS, NUM_BATCHES = 3000, 300, 200_000, 20


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


class Integrand(NamedTuple):
    """log g = constant + linear . h - h' precision h / 2 + sum_j log f(offset_j + silent_j . h).

    Attributes:
        far: of each axis a point beyond which the prior has nothing.
        offset: of every row; 0 but within an integral over another axis.
    """

    constant: float
    linear: np.ndarray
    precision: np.ndarray
    silent: np.ndarray
    keep_prob: float
    far: np.ndarray
    offset: np.ndarray

    def __call__(self, h: np.ndarray) -> np.ndarray:
        """Log g of points (..., active)."""
        gaussian = self.constant + h @ self.linear - 0.5 * ((h @ self.precision) * h).sum(-1)
        return gaussian + log_silence(self.offset + h @ self.silent.T, self.keep_prob)


def log_silence(t: np.ndarray, keep_prob: float) -> np.ndarray:
    """Sum over the last axis of log[(1 - rho) + rho Phi(-t)]."""
    if keep_prob == 1:
        return log_ndtr(-t).sum(-1)
    return np.log((1 - keep_prob) + keep_prob * ndtr(-t)).sum(-1)


def list_supports(case: Case) -> list[tuple[int, ...]]:
    """All supports, by size, then lexicographic."""
    sizes = range(case.max_active + 1)
    units = range(case.weights.shape[1])
    return [support for size in sizes for support in itertools.combinations(units, size)]


def make_integrand(case: Case, support: tuple[int, ...]) -> Integrand:
    """p(x, h) over the active units of a support, the prior's cap on their number left out."""
    on = np.array(support, int)
    off = np.setdiff1d(np.arange(case.weights.shape[1]), on)
    weights = case.weights[:, on] / case.noise_std
    seen = case.x > 0
    y = case.x[seen] / (case.gain * case.noise_std)
    scale = case.gain * case.noise_std
    constant = norm.logpdf(y).sum() + seen.sum() * np.log(case.keep_prob / scale)
    constant += np.log(case.inclusion_prob[on]).sum() + np.log1p(-case.inclusion_prob[off]).sum()
    s, loc = case.scale[on], case.loc[on]
    if case.slab == "exponential":
        constant, slope, curvature, far = constant - np.log(s).sum(), -1 / s, 0 * s, 45 * s
    else:
        constant += (norm.logpdf(loc / s) - np.log(s) - norm.logcdf(loc / s)).sum()
        slope, curvature, far = loc / s**2, 1 / s**2, np.maximum(loc, 0) + 12 * s
    return Integrand(
        float(constant),
        weights[seen].T @ y + slope,
        weights[seen].T @ weights[seen] + np.diag(curvature),
        weights[~seen],
        case.keep_prob,
        far,
        np.zeros(int((~seen).sum())),
    )


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
    if size == 3:
        top, values = sample_three(g)
        spread = values[:, 0].std(ddof=1) / np.sqrt(len(values))
        if spread <= WELL_SAMPLED * values[:, 0].mean():
            return top, values
        return integrate_space(g)
    if size == 1:
        linear, precision = g.linear[:, None], g.precision[0, 0]
        no_steps = g.offset[None]
        top, line = integrate_lines(
            g, np.full(1, g.constant), linear[0], precision, no_steps, g.silent[:, 0], g.far[0]
        )
        return float(top[0]), line
    return integrate_plane(g)


def integrate_lines(
    g: Integrand,
    constant: np.ndarray,
    linear: np.ndarray,
    precision: float,
    offsets: np.ndarray,
    steps: np.ndarray,
    far: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Along lines h >= 0: exp(constant + linear h - precision h^2 / 2) prod f(offset + step h).

    Args:
        g: for keep_prob.
        constant: (line,).
        linear: (line,).
        precision: of all.
        offsets: (line, row).
        steps: (row,).
        far: where the prior ends.

    Returns:
        Log scale (line,), and integrals of 1, h, h^2 (line, 3).
    """

    def log_g(h: np.ndarray) -> np.ndarray:
        gaussian = constant[:, None] + linear[:, None] * h - 0.5 * precision * h**2
        return gaussian + log_silence(offsets[:, None] + h[:, :, None] * steps, g.keep_prob)

    edges = _line_edges(linear, precision, offsets, steps, far)
    for _ in range(5):  # panels that close in on the greatest value
        best = log_g(edges).argmax(1)
        low, high = (
            np.take_along_axis(edges, np.clip(best + k, 0, edges.shape[1] - 1)[:, None], 1)
            for k in (-1, 1)
        )
        edges = np.sort(np.concatenate([edges, low + (high - low) * np.linspace(0.1, 0.9, 7)], 1))
    node, weight = _legendre(NUM_INNER)
    width = np.diff(edges)
    h = (edges[:, :-1, None] + width[:, :, None] * node).reshape(len(edges), -1)
    value = log_g(h)
    top = value.max(1)
    term = np.exp(value - top[:, None]) * (width[:, :, None] * weight).reshape(h.shape)
    return top, np.stack([term.sum(1), (term * h).sum(1), (term * h**2).sum(1)], 1)


def _line_edges(
    linear: np.ndarray, precision: float, offsets: np.ndarray, steps: np.ndarray, far: float
) -> np.ndarray:
    """Where a line's panels begin and end, sorted, (line, edge)."""
    one = np.ones_like(linear)
    peak, std = 0 * one, far * one
    if precision > 0:
        peak, std = np.maximum(linear / precision, 0), one / np.sqrt(precision)
    decay = np.minimum(std, 1 / np.maximum(np.abs(linear - precision * peak), 1 / std))
    end = np.maximum(far * one, peak + 14 * std)
    around = decay[:, None] * POWERS
    points = [peak[:, None] + around, peak[:, None] - around, around, end[:, None] * POWERS / 64]
    sharp = np.abs(steps) * end.max() > 0.3
    if sharp.any():
        where = -offsets[:, sharp] / steps[sharp]
        points.append(
            (where[:, :, None] + STEPS / np.abs(steps[sharp])[:, None]).reshape(len(one), -1)
        )
    edges = np.concatenate([0 * one[:, None], peak[:, None], *points, end[:, None]], axis=1)
    return np.sort(np.clip(edges, 0, end[:, None]), axis=1)


def integrate_plane(g: Integrand) -> tuple[float, np.ndarray]:
    """Two active units: lines along the second axis, panels on the first halved where needed."""
    edges = _outer_edges(g)
    panels = np.stack([edges[:-1], edges[1:]], 1)
    top, coarse, fine = _panels(g, panels)
    while len(panels) < MOST_PANELS:
        level = top.max()
        gap = np.exp(top - level)[:, None] * np.abs(coarse - fine)
        total = (np.exp(top - level)[:, None] * fine).sum(0)
        loss = (gap / total).max(1)
        if loss.sum() <= TOLERANCE:
            break
        order = np.argsort(loss)
        split = np.ones(len(loss), bool)
        split[order[np.cumsum(loss[order]) <= TOLERANCE / 2]] = False
        middle = panels[split].mean(1)
        halves = np.concatenate([
            np.stack([panels[split, 0], middle], 1), np.stack([middle, panels[split, 1]], 1)
        ])  # fmt: skip
        new = _panels(g, halves)
        panels = np.concatenate([panels[~split], halves])
        top, coarse, fine = (
            np.concatenate([old[~split], made])
            for old, made in zip((top, coarse, fine), new, strict=True)
        )
    total = (np.exp(top - top.max())[:, None] * fine).sum(0)
    return float(top.max()), total[None]


def _outer_edges(g: Integrand) -> np.ndarray:
    """First panels of the outer axis: around peaks of the Gaussian part, and closing in on 0.

    The Gaussian part is taken with and without the silent rows as if each had been seen at 0, over
    the second axis or at 0 of it.
    """
    peaks, points = [0.0], []
    for precision in (g.precision, g.precision + g.silent.T @ g.silent):
        (a, b), (_, c) = precision
        pairs = [(a, g.linear[0])]
        if c > 0:
            pairs.append((a - b**2 / c, g.linear[0] - b * g.linear[1] / c))
        for curvature, slope in pairs:
            if curvature > 1e-12 * a:
                peak, std = max(slope / curvature, 0.0), curvature**-0.5
                decay = min(std, 1 / max(abs(slope - curvature * peak), 1 / std))
                peaks.append(peak + 14 * std)
                points += [peak, *(peak + decay * POWERS), *(peak - decay * POWERS)]
                points += [*(decay * POWERS)]
    end = max(g.far[0], *peaks) if g.far[0] > 0 else max(peaks)
    points += [0.0, *(end * 2.0 ** np.arange(-24, 1))]
    return np.unique(np.clip(points, 0, end))


def integrate_space(g: Integrand) -> tuple[float, np.ndarray]:
    """Three active units: planes along the least steep axis, by two orders, one row each."""
    steep = np.sqrt(np.diag(g.precision) + (g.silent**2).sum(0))
    order = np.argsort(steep)
    linear, far, silent = g.linear[order], g.far[order], g.silent[:, order]
    precision = g.precision[np.ix_(order, order)]
    edges = np.concatenate([[0], far[0] * 2.0 ** np.arange(-14, 1)])
    rows = []
    for number in (NUM_COARSE, NUM_FINE):
        node, weight = _legendre(number)
        width = np.diff(edges)[:, None]
        points = (edges[:-1, None] + width * node).ravel()
        parts = []
        for h in points:
            plane = g._replace(
                constant=g.constant + linear[0] * h - 0.5 * precision[0, 0] * h**2,
                linear=linear[1:] - precision[1:, 0] * h,
                precision=precision[1:, 1:],
                silent=silent[:, 1:],
                far=far[1:],
                offset=g.offset + silent[:, 0] * h,
            )
            top, ((mass, one, two, one_square, two_square),) = integrate_plane(plane)
            parts.append((top, mass, mass * h, one, two, mass * h**2, one_square, two_square))
        table = np.array(parts)
        rows.append((table[:, 0], table[:, 1:], (width * weight).ravel()))
    top = max(tops.max() for tops, _, _ in rows)
    values = np.array([(np.exp(t - top) * w) @ v for t, v, w in rows])
    back = np.argsort(order)
    moments = [values[:, :1], values[:, 1:4][:, back], values[:, 4:][:, back]]
    return float(top), np.concatenate(moments, axis=1)


def _panels(g: Integrand, panels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log scale, and integrals of 1, h1, h2, h1^2, h2^2 by two orders, of panels of the first."""
    nodes = [_legendre(number) for number in (NUM_COARSE, NUM_FINE)]
    node = np.concatenate([one[0] for one in nodes])
    width = panels[:, 1] - panels[:, 0]
    first = panels[:, :1] + width[:, None] * node
    flat = first.ravel()
    parts = []
    for start in range(0, len(flat), BLOCK):
        h = flat[start : start + BLOCK]
        parts.append(
            integrate_lines(
                g,
                g.constant + g.linear[0] * h - 0.5 * g.precision[0, 0] * h**2,
                g.linear[1] - g.precision[0, 1] * h,
                g.precision[1, 1],
                g.offset + h[:, None] * g.silent[:, 0],
                g.silent[:, 1],
                g.far[1],
            )
        )
    tops = np.concatenate([part[0] for part in parts]).reshape(first.shape)
    zeroth, one, two = np.concatenate([part[1] for part in parts]).T.reshape(3, *first.shape)
    top = tops.max(1)
    values = np.stack([zeroth, first * zeroth, one, first**2 * zeroth, two], 2)
    values = values * np.exp(tops - top[:, None])[:, :, None]
    coarse, fine = values[:, :NUM_COARSE], values[:, NUM_COARSE:]
    return (
        top,
        width[:, None] * np.einsum("pnk,n->pk", coarse, nodes[0][1]),
        width[:, None] * np.einsum("pnk,n->pk", fine, nodes[1][1]),
    )


def sample_three(g: Integrand) -> tuple[float, np.ndarray]:
    """Three active units, by importance sampling in u = log h from a tempered population."""
    rng = np.random.default_rng(int(abs(g.constant) * 1e6) % 2**32)
    population = _temper(rng, g)
    centers = population[rng.choice(len(population), NUM_CENTERS, replace=False)]
    spread = np.cov(population.T) + 1e-10 * np.eye(3)
    white = np.linalg.inv(np.linalg.cholesky(spread))
    far = ((centers[:, None] - population) @ white.T) ** 2
    near = np.argsort(far.sum(-1), axis=1)[:, :60]
    local = np.array([np.cov(population[index].T) for index in near]) + 1e-3 * spread
    # A tenth of the kernels is wide, for what the population has missed.
    local[::10] = 2 * spread
    factors = np.linalg.cholesky(1.3 * local)
    which = rng.integers(NUM_CENTERS, size=NUM_DRAWS)
    noise = rng.normal(size=(NUM_DRAWS, 3)) / np.sqrt(rng.chisquare(5, (NUM_DRAWS, 1)) / 5)
    u = centers[which] + np.einsum("nij,nj->ni", factors[which], noise)
    log_weight = _log_target(g, u) - _log_kernels(u, centers, factors)
    top = log_weight.max()
    weight = np.exp(log_weight - top)
    h = np.exp(np.minimum(u, 300.0))
    values = np.concatenate([weight[:, None], weight[:, None] * h, weight[:, None] * h**2], 1)
    return float(top), values.reshape(NUM_BATCHES, -1, 7).mean(1)


def _log_target(g: Integrand, u: np.ndarray) -> np.ndarray:
    """Log density of u = log h."""
    inside = np.abs(u).max(-1) < 300
    h = np.exp(np.where(inside[:, None], u, 0.0))
    return np.where(inside, g(h) + np.where(inside[:, None], u, 0.0).sum(-1), -np.inf)


def _log_kernels(u: np.ndarray, centers: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Log of the kernels' mean, each a Student law of 5 degrees of freedom."""
    # Gamma(4) / (Gamma(5/2) (5 pi)^(3/2))
    constant = np.log(6 / 1.329340388179137) - 1.5 * np.log(5 * np.pi)
    total = np.full(len(u), -np.inf)
    for center, factor in zip(centers, factors, strict=True):
        v = np.linalg.solve(factor, (u - center).T)
        log_kernel = constant - np.log(np.diag(factor)).sum() - 4 * np.log1p((v**2).sum(0) / 5)
        total = np.logaddexp(total, log_kernel)
    return total - np.log(len(centers))


def _temper(rng: np.random.Generator, g: Integrand) -> np.ndarray:
    """A population of log h, moved from a wide law to the target in steps of temperature."""
    middle, wide = np.log(0.05 * g.far), 2.0

    def log_base(u: np.ndarray) -> np.ndarray:
        return -0.5 * ((u - middle) ** 2).sum(-1) / wide**2

    u, heat = middle + wide * rng.normal(size=(NUM_PARTICLES, 3)), 0.0
    while heat < 1:
        gap = np.maximum(_log_target(g, u), -1e290) - log_base(u)
        step = _next_step(gap, 1 - heat)
        heat += step
        weight = np.exp(step * (gap - gap.max()))
        u = u[rng.choice(len(u), len(u), p=weight / weight.sum())]
        factor = np.linalg.cholesky(np.cov(u.T) + 1e-12 * np.eye(3))
        log_law = heat * _log_target(g, u) + (1 - heat) * log_base(u)
        for size in np.tile([1.2, 0.5, 0.15, 0.04], 5):
            new = u + size * rng.normal(size=u.shape) @ factor.T
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


def _legendre(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    node, weight = np.polynomial.legendre.leggauss(number)
    return (node + 1) / 2, weight / 2
