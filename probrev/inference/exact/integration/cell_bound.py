r"""Proved upper bounds on the mass of cells of a box, which no value at a node can replace.

A cell is low <= fraction <= high of every slice, with h = center + factor u. From the intervals of
u and of u - lowest over the cell come two enclosures of h (one by u, one by h = factor_ii (u_i -
lowest_i)), of every t_j = censored_j . h + offset_j, and of the volume (the longest slice of each
axis).
"""

import itertools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from probrev.inference.exact.integration.support_box import SMALLEST_VOLUME, Box
from probrev.inference.exact.integration.support_problem import SupportProblem, project
from probrev.model.row_terms import RowTerms


class Cells(NamedTuple):
    """Cells of one box: their fractions of every slice, (cell, active) each."""

    low: Float[Array, "cell active"]
    high: Float[Array, "cell active"]


def grid(low: Array, high: Array, number: int) -> Cells:
    """A cell cut in so many along every axis."""
    corner = np.array(list(itertools.product(range(number), repeat=len(low))))
    step = (high - low) / number
    low, step = low[None], step[None]
    return Cells(low + corner * step, low + (corner + 1) * step)


class Enclosure(NamedTuple):
    """What u, u - lowest and the volume of every cell lie between; `low` > `high` where empty.

    Attributes:
        low: least u, (cell, active).
        high: greatest u, (cell, active).
        least: least u - lowest, (cell, active).
        most: greatest u - lowest, (cell, active).
        log_volume: upper bound on the log volume in h, -inf where empty, (cell,).
    """

    low: Float[Array, "cell active"]
    high: Float[Array, "cell active"]
    least: Float[Array, "cell active"]
    most: Float[Array, "cell active"]
    log_volume: Float[Array, " cell"]


class CellBounds(NamedTuple):
    """Of every cell: log upper bound of its mass, and where it lies.

    Attributes:
        log_bound: proved, (cell,).
        spread: greatest |h_i - center_i|, (cell, active).
        enclosure: of u.
    """

    log_bound: Float[Array, " cell"]
    spread: Float[Array, "cell active"]
    enclosure: Enclosure


def enclose(box: Box, cells: Cells) -> Enclosure:
    """Intervals of every cell, axis by axis.

    With t = lowest_i in [a, b], u_i = (1 - z) left(t) + z right(t) rises in t and in z, and
    u_i - lowest_i falls in t and rises in z. Slices with t > high or t + width < low are empty, so
    a and b are cut to the others. The slice's length is concave in t, with its greatest value
    between t = low and t = high - width.
    """
    lows, highs, leasts, mosts = [], [], [], []
    log_volume = jnp.zeros(len(cells.low))
    for i in range(len(box.center)):
        row, own = box.factor[i], box.factor[i, i]
        least = sum((jnp.minimum(row[k] * lows[k], row[k] * highs[k]) for k in range(i)), 0.0)
        most = sum((jnp.maximum(row[k] * lows[k], row[k] * highs[k]) for k in range(i)), 0.0)
        a = jnp.maximum(-(box.center[i] + most) / own, box.low[i] - box.width[i])
        b = jnp.minimum(-(box.center[i] + least) / own, box.high[i])
        a, b = jnp.broadcast_to(a, log_volume.shape), jnp.broadcast_to(b, log_volume.shape)
        low, high = cells.low[:, i], cells.high[:, i]

        def ends(t: Array, i: int = i) -> tuple[Array, Array]:
            return jnp.maximum(t, box.low[i]), jnp.minimum(box.high[i], t + box.width[i])

        (left_a, right_a), (left_b, right_b) = ends(a), ends(b)
        lows.append((1 - low) * left_a + low * right_a)
        highs.append((1 - high) * left_b + high * right_b)
        leasts.append((1 - low) * (left_b - b) + low * (right_b - b))
        mosts.append((1 - high) * (left_a - a) + high * (right_a - a))
        longest = jnp.zeros_like(a)
        for turn in (box.low[i], box.high[i] - box.width[i]):
            left, right = ends(jnp.clip(turn, a, b))
            longest = jnp.maximum(longest, right - left)
        log_span = jnp.log(jnp.maximum(longest * (high - low) * own, SMALLEST_VOLUME))
        log_volume = log_volume + jnp.where(a > b, -jnp.inf, log_span)
    low, high, least, most = (jnp.stack(one, 1) for one in (lows, highs, leasts, mosts))
    return Enclosure(low, high, least, most, log_volume)


def enclose_rows(
    problem: SupportProblem, rows: RowTerms, box: Box, inside: Enclosure
) -> tuple[Float[Array, "cell row"], Float[Array, "cell row"]]:
    """The least and the most that t_j = censored_j . h + offset_j is in every cell."""
    own = jnp.diag(box.factor)[None]
    least, most = [], []
    for low, high, weights, base in (
        (inside.low, inside.high, problem.censored @ box.factor, problem.censored @ box.center),
        (inside.least * own, inside.most * own, problem.censored, jnp.zeros(len(problem.censored))),
    ):
        middle = (base + rows.offset)[None] + project((low + high) / 2, weights)
        half = project(jnp.maximum(high - low, 0.0) / 2, jnp.abs(weights))
        least.append(middle - half)
        most.append(middle + half)
    return jnp.maximum(*least), jnp.minimum(*most)


def bound_cells(problem: SupportProblem, rows: RowTerms, box: Box, cells: Cells) -> CellBounds:
    r"""Upper bounds on the mass of every cell, the smaller of two forms times the volume.

    Centred: with h* a middle of the cell and r_j half the width of t_j,

        log g(h) <= log g(h*) + grad log g(h*) . (h - h*) - (h - h*)^T P (h - h*) / 2
                    + sum_j kappa_j r_j^2 / 2,

    the supremum taken over the enclosure by u, where the quadratic is -|u - u*|^2 / 2 up to the
    floor in `factor`, or over that by h, the quadratic left out. Interval: the suprema of the
    Gaussian part and of every log f, which falls in t, apart. The first is sharp in small cells,
    where the second loses a little on every row; the second is good in large ones.

    Args:
        problem: of one support.
        rows: the terms of all rows, for f.
        box: the box.
        cells: of the box.
    """
    inside = enclose(box, cells)
    floor = problem.floor
    middle_u, half_u = (inside.low + inside.high) / 2, (inside.high - inside.low) / 2
    own, center = jnp.diag(box.factor)[None], box.center[None]
    middle_h = (inside.least + inside.most) / 2 * own
    half_h = jnp.maximum((inside.most - inside.least) / 2 * own, 0.0)
    half_u = jnp.maximum(half_u, 0.0)
    point_u = center + middle_u @ box.factor.T
    reach_u = half_u @ jnp.abs(box.factor).T
    slack = 0.5 * reach_u**2 @ floor

    def rise_u(slope: Array) -> Array:
        """Supremum of slope . (h - h*) plus the quadratic, over the enclosure by u."""
        along = slope @ box.factor
        best = jnp.clip(along, -half_u, half_u)
        return (along * best - 0.5 * best**2).sum(1) + slack

    def rise_h(slope: Array) -> Array:
        return (jnp.abs(slope) * half_h).sum(1)

    narrow_u = project(half_u, jnp.abs(problem.censored @ box.factor))
    narrow_h = project(half_h, jnp.abs(problem.censored))
    by_u = ((narrow_u**2).sum(1) < (narrow_h**2).sum(1))[:, None]
    point = jnp.where(by_u, point_u, middle_h)
    narrow = jnp.where(by_u, narrow_u, narrow_h)
    t = problem.reach(point, rows)
    value = problem.quadratic(point) + rows.log_mass(t)
    slope = problem.linear[None] - point @ problem.precision
    bent = slope + rows.slope(t) @ problem.censored
    rise = jnp.where(by_u[:, 0], rise_u(bent), rise_h(bent))
    centred = value + rise + 0.5 * (narrow**2) @ rows.kappa
    least_t = jnp.maximum(
        problem.reach(point_u, rows) - narrow_u, problem.reach(middle_h, rows) - narrow_h
    )
    apart = jnp.minimum(
        problem.quadratic(point_u) + rise_u(problem.linear[None] - point_u @ problem.precision),
        problem.quadratic(middle_h) + rise_h(problem.linear[None] - middle_h @ problem.precision),
    )
    interval = apart + rows.log_mass(least_t)
    spread = jnp.maximum(jnp.abs(middle_h - half_h - center), jnp.abs(middle_h + half_h - center))
    # What is not a number proves nothing: an infinite bound, so that such a cell is kept.
    bound = jnp.minimum(
        jnp.where(jnp.isnan(centred), jnp.inf, centred),
        jnp.where(jnp.isnan(interval), jnp.inf, interval),
    )
    log_bound = jnp.where(jnp.isneginf(inside.log_volume), -jnp.inf, bound + inside.log_volume)
    return CellBounds(log_bound, spread, inside)
