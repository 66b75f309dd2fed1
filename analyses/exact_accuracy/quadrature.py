"""Composite Gauss-Legendre rules over one to three active units, nested axis by axis.

The inner rule has panels at everything that a line through the integrand can show (peak of the
Gaussian part, greatest value, steps of the silent rows); the outer one is halved where two orders
differ; over three units such planes along the axis that is least steep.
"""

import numpy as np

from analyses.exact_accuracy.integrand import Integrand, log_silence

TOLERANCE = 2e-6
MOST_PANELS = 3000
POWERS = 2.0 ** np.arange(-2, 7)
STEPS = np.array([-8.0, -3.5, -1.2, 0.0, 1.2, 3.5, 8.0])
NUM_INNER, NUM_COARSE, NUM_FINE = 5, 6, 9
BLOCK = 40


def integrate_line(g: Integrand) -> tuple[float, np.ndarray]:
    """One active unit; see `integrals.integrate`."""
    top, line = integrate_lines(
        g, np.full(1, g.constant), g.linear, g.precision[0, 0], g.offset[None], g.silent[:, 0],
        g.far[0],
    )  # fmt: skip
    return float(top[0]), line


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


def _legendre(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    node, weight = np.polynomial.legendre.leggauss(number)
    return (node + 1) / 2, weight / 2
