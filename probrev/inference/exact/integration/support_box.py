r"""Where the integral over one support has its mass: the first box, proved, and points inside.

Coordinates are h = center + factor u, factor lower triangular. h_i >= 0 bounds u_i given those
before it: u_i >= lowest_i. Beside that each u_i has bounds of its own, and one on u_i - lowest_i =
h_i / factor_ii, for masses that pile up at h_i = 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from probrev.inference.exact.integration.support_bound import gaussian_bounds
from probrev.inference.exact.integration.support_problem import SupportProblem, find_mode
from probrev.model.row_terms import RowTerms
from probrev.numerics.small_factor import factorize, invert_transposed, solve_factor

# What lies so far below the greatest log value found is left out, and bounded.
DROP = 28.0
# Of the mass, what may lie outside where the mass is known.
SHARE = 1e-7
# (P + F) instead of P shortens the ball by at most 1.001^2: F is 1e-3 of the prior's curvature.
STRETCH = 1.0021
SMALLEST_VOLUME = 1e-300


class Box(NamedTuple):
    """The points left <= u_i <= right of a box, and bounds on what lies outside it.

    Attributes:
        center: (active,).
        factor: (active, active).
        low: of u, (active,).
        high: of u, (active,).
        width: of u - lowest, (active,).
        outside: log of a proved bound on the integral outside, ().
        outside_second: the same of (h_i - center_i)^2 times the integrand, (active,).
    """

    center: Float[Array, " active"]
    factor: Float[Array, "active active"]
    low: Float[Array, " active"]
    high: Float[Array, " active"]
    width: Float[Array, " active"]
    outside: Float[Array, ""]
    outside_second: Float[Array, " active"]

    def slice_ends(self, lowest: Array, i: int) -> tuple[Array, Array]:
        """Where u_i begins and ends, given the least u_i that h_i >= 0 allows."""
        left = jnp.maximum(lowest, self.low[i])
        right = jnp.minimum(self.high[i], lowest + self.width[i])
        return left, jnp.maximum(right, left)


def first_box(
    problem: SupportProblem,
    rows: RowTerms,
    log_mass: Array,
    second: Float[Array, " active"],
) -> Box:
    r"""A box with every h >= 0 whose log integrand is above the level, 28 below the mode's.

    All comes from the Gaussian part q, which bounds the log integrand since f <= 1. Those h lie in
    a ball of u (q is -|u|^2 / 2 up to what `factor` adds to the precision), and below a cap in
    every h_i (`_caps`).

    Outside q < level. With h0 the greatest q found, d active units and s0 = q(h0) - level, q being
    concave: s = max q - q(h) is under exp(q) stochastically at most Gamma(d) (by Brunn-Minkowski
    the volume of {q >= max q - s} grows no faster than s^d), so that the mass outside is at most
    I Q(d, s0), I any bound on the integral of exp(q), Q the upper incomplete gamma ratio. And
    h_i <= (s / s0) H_i there, by concavity along the ray from h0, H_i the cap: so second moments
    outside are at most I H_i^2 d (d + 1) / s0^2 Q(d + 2, s0).

    Args:
        problem: of one support.
        rows: the terms of all rows, for f.
        log_mass: log integral where it is known, to lower the level so that less than 1e-7 of it
            can lie outside; inf where it is not.
        second: second moments that those outside are to be small against; 0 where not known.
    """
    size = problem.linear.shape[0]
    mode = find_mode(problem, rows)
    # Rows whose weights are 0 (padding among them) weigh the same everywhere.
    dead = rows.log_mass_at_rest((problem.censored == 0).all(1))
    top = _best_gaussian_point(problem)
    greatest = problem.quadratic(top[None])[0] + dead
    slope = problem.linear - problem.precision @ top
    upper = jnp.stack(
        [problem.ceiling, *gaussian_bounds(greatest, slope, problem.precision, top)]
    ).min()
    drop = greatest - problem.log_integrand(mode[None], rows)[0] + DROP
    drop = jnp.maximum(drop, _drop_for_share(size, upper - log_mass))
    caps = _caps(problem, top, greatest - drop, drop, dead)
    # A margin of e for how the caps grow with the drop.
    far = jnp.where(second > 0, 2 * jnp.log(jnp.maximum(caps, mode)) - jnp.log(second), 0.0).max()
    drop = jnp.maximum(drop, _drop_for_share(size + 2, upper - log_mass + far + 1))
    level = greatest - drop
    caps = _caps(problem, top, level, drop, dead)
    factor = invert_transposed(factorize(problem.precision + jnp.diag(problem.floor)))
    tilt = factor.T @ (problem.linear - problem.precision @ mode)
    # u^T u / 2 overstates the curvature by h^T F h / 2: STRETCH pays where the prior has curvature.
    slack = jnp.where(problem.curvature > 0, 0.0, problem.floor * jnp.maximum(caps, mode) ** 2)
    fall = problem.quadratic(mode[None])[0] + dead - level
    radius = STRETCH * jnp.sqrt(tilt @ tilt + 2 * jnp.maximum(fall, 0.0) + slack.sum())
    outside = upper + log_gamma_tail(size, drop)
    second = upper + log_gamma_tail(size + 2, drop) + jnp.log(size * (size + 1) / drop**2)
    reach = 2 * jnp.log(jnp.maximum(caps, mode))
    return Box(
        mode, factor, tilt - radius, tilt + radius, caps / jnp.diag(factor), outside, second + reach
    )


def log_gamma_tail(shape: int, s: Array) -> Array:
    """Log Q(shape, s) = log P(Gamma(shape) > s), s > 0."""
    terms = [jnp.ones_like(s)]
    for k in range(1, shape):
        terms.append(terms[-1] * s / k)
    return jnp.log(sum(terms, jnp.zeros_like(s))) - s


def _drop_for_share(size: int, excess: Array) -> Array:
    """The s with Q(size, s) exp(excess) <= SHARE, nearly; 0 where excess is -inf."""
    s = jnp.full_like(excess, DROP)
    for _ in range(6):
        s = jnp.maximum(excess - np.log(SHARE) + log_gamma_tail(size, s) + s, 1.0)
    return jnp.where(jnp.isfinite(excess), s, 0.0)


def _best_gaussian_point(problem: SupportProblem) -> Float[Array, " active"]:
    """The h >= 0 with the greatest quadratic: the best of the solutions on every active set.

    Rounds over coordinates would not arrive on a thin oblique ridge. Any point serves the bounds.
    """
    size = problem.linear.shape[0]
    matrix = problem.precision + 1e-6 * jnp.diag(problem.floor)
    free = np.array(np.meshgrid(*[[False, True]] * size, indexing="ij")).reshape(size, -1).T

    def solve(mask: Array) -> Array:
        both = mask[:, None] & mask[None, :]
        reduced = jnp.where(both, matrix, jnp.eye(size))
        return jnp.maximum(
            solve_factor(factorize(reduced), jnp.where(mask, problem.linear, 0.0)), 0.0
        )

    points = jax.vmap(solve)(jnp.asarray(free))
    return points[jnp.argmax(problem.quadratic(points))]


def _caps(
    problem: SupportProblem, top: Array, level: Array, drop: Array, dead: Array
) -> Float[Array, " active"]:
    r"""The most that each h_i can be where the Gaussian part is above the level.

    By the prior: it is at most peak + sum_i (slope_i h_i - curvature_i h_i^2 / 2). By any point h1
    where q has a gradient g <= 0: q(h) <= q(h1) + g . (h - h1), so that
    h_i <= (q(h1) - level - g . h1) / (-g_i). For each i that point is chosen (P^-1 (b - g)) whose
    gradient is that of `top`, but steep enough along i; the gradient there is computed anew, so
    rounding and a singular P cost tightness alone.
    """
    slope, curvature = problem.slope, problem.curvature
    most = jnp.where(
        (slope > 0) & (curvature > 0),
        slope**2 / (2 * jnp.where(curvature > 0, curvature, 1.0)),
        0.0,
    )
    room = jnp.maximum(problem.peak + most.sum() - most - level, -most)
    root = jnp.sqrt(jnp.maximum(slope**2 + 2 * curvature * room, 0.0))
    by_prior = jnp.where(
        slope > 0,
        (slope + root) / jnp.where(curvature > 0, curvature, 1.0),
        2 * room / jnp.maximum(root - slope, SMALLEST_VOLUME),
    )
    upper = factorize(problem.precision + 1e-6 * jnp.diag(problem.floor))
    std = jnp.sqrt((invert_transposed(upper) ** 2).sum(1))
    gradient = jnp.minimum(problem.linear - problem.precision @ top, -1e-3 / std)
    steep = jnp.diag(jnp.sqrt(2 * drop) / std)

    def cap(wanted: Array, i: Array) -> Array:
        point = solve_factor(upper, problem.linear - wanted)
        found = problem.linear - problem.precision @ point
        room = problem.quadratic(point[None])[0] + dead - found @ point - level
        valid = (found <= 0).all() & (found[i] < 0)
        return jnp.where(valid, room / jnp.where(valid, -found[i], 1.0), jnp.inf)

    wanted = jnp.minimum(gradient[None], jnp.where(steep > 0, -steep, jnp.inf))
    by_gradient = jax.vmap(cap)(wanted, jnp.arange(len(top)))
    # A hair above, for rounding.
    return 1.001 * jnp.minimum(by_prior, by_gradient)


def nest(
    box: Box,
    low: Float[Array, " active"],
    high: Float[Array, " active"],
    node: Float[np.ndarray, " node"],
    log_weight: Float[np.ndarray, " node"],
) -> tuple[Array, Array]:
    """Tensor nodes of a cell, low <= fraction <= high of every slice.

    Args:
        box: the box.
        low: lower fractions, (active,).
        high: upper fractions, (active,).
        node: in [0, 1].
        log_weight: of the nodes.

    Returns:
        h (point, active), the last axis running fastest, and log weights in dh (point,).
    """
    u, total = jnp.zeros((1, 0)), jnp.zeros(1)
    h: list[Array] = []
    for i in range(len(box.center)):
        lowest = -(box.center[i] + u @ box.factor[i, :i]) / box.factor[i, i]
        left, right = box.slice_ends(lowest, i)
        span = (right - left) * (high[i] - low[i])
        start = left + (right - left) * low[i]
        new = (start[:, None] + span[:, None] * node[None]).ravel()
        log_span = jnp.log(jnp.maximum(span, SMALLEST_VOLUME)) + jnp.log(box.factor[i, i])
        total = ((total + log_span)[:, None] + log_weight[None]).ravel()
        above = (new - jnp.repeat(lowest, len(node))) * box.factor[i, i]
        h = [jnp.repeat(one, len(node)) for one in h] + [jnp.maximum(above, 0.0)]
        u = jnp.concatenate([jnp.repeat(u, len(node), axis=0), new[:, None]], axis=1)
    return jnp.stack(h, 1) if h else jnp.zeros((1, 0)), total


def place(box: Box, fraction: Float[Array, "point active"]) -> tuple[Array, Array]:
    """Points of the box by their fractions of every slice: h (point, active) and log |dh / dz|."""
    u = jnp.zeros((len(fraction), 0))
    total, h = jnp.zeros(len(fraction)), []
    for i in range(len(box.center)):
        lowest = -(box.center[i] + u @ box.factor[i, :i]) / box.factor[i, i]
        left, right = box.slice_ends(lowest, i)
        new = left + (right - left) * fraction[:, i]
        total = total + jnp.log(jnp.maximum(right - left, SMALLEST_VOLUME) * box.factor[i, i])
        h.append(jnp.maximum((new - lowest) * box.factor[i, i], 0.0))
        u = jnp.concatenate([u, new[:, None]], axis=1)
    return jnp.stack(h, 1), total
