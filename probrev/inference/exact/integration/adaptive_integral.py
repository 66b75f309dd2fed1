"""Integrals of many supports together, each as finely as its share of their sum deserves."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from probrev.inference.exact.integration.support_box import Box
from probrev.inference.exact.integration.support_integral import (
    CellIntegrals,
    count_points,
    integrate_cells,
    whole_boxes,
)
from probrev.inference.exact.integration.support_problem import SupportProblem
from probrev.inference.exact.integration.support_zoom import Known, locate
from probrev.model.row_terms import RowTerms

# Evaluations of f in one observation's cells: beyond, the error stays what it is.
MAX_ELEMENTS = 1.5e9
# Of the sum, what may be given up around boxes before they are drawn again, with the mass known.
OUTSIDE_TARGET = 5e-5
MOST_RELOCATIONS = 3
LARGEST_LOG_LOSS = 100.0
# A support's own mass, or so much of all: what lies outside is measured against the greater.
SMALLEST_SHARE = 1e-3


@dataclass
class Part:
    """Problems of one number of active units, which these are, boxes, and integrals of cells."""

    units: Int[np.ndarray, "problem active"]
    problems: SupportProblem
    boxes: Box
    cells: CellIntegrals


class Moments(NamedTuple):
    """Of every problem of a part, summed over its cells.

    Attributes:
        log_mass: log integral, (problem,).
        mean: E[h], (problem, active).
        var: Var[h_i], (problem, active).
        second: E[(h_i - center_i)^2], the scale that errors are measured by, (problem, active).
    """

    log_mass: Float[np.ndarray, " problem"]
    mean: Float[np.ndarray, "problem active"]
    var: Float[np.ndarray, "problem active"]
    second: Float[np.ndarray, "problem active"]


def integrate_part(
    problems: SupportProblem,
    units: Int[np.ndarray, "problem active"],
    rows: RowTerms,
) -> Part:
    """Boxes of the problems, and their integrals with one cell each."""
    boxes = locate(problems, rows)
    cells = integrate_cells(problems, boxes, *whole_boxes(*problems.linear.shape), rows)
    return Part(units, problems, boxes, cells)


def join_parts(parts: list[Part]) -> Part:
    """Parts of one size as one."""
    starts = np.cumsum([0, *(len(part.problems.linear) for part in parts)])
    cells = [
        part.cells._replace(owner=part.cells.owner + start)
        for part, start in zip(parts, starts, strict=False)
    ]
    join = lambda *leaves: np.concatenate(leaves)  # noqa: E731
    return Part(
        np.concatenate([part.units for part in parts]),
        jax.tree.map(join, *(part.problems for part in parts)),
        jax.tree.map(join, *(part.boxes for part in parts)),
        jax.tree.map(join, *cells),
    )


def measure(part: Part) -> Moments:
    """Sums the cells of every problem."""
    cells, count = part.cells, len(part.problems.linear)
    log_mass = np.full(count, -np.inf)
    np.logaddexp.at(log_mass, cells.owner, cells.log_mass)
    share = np.exp(cells.log_mass - log_mass[cells.owner])[:, None]
    first, second = np.zeros((2, *part.problems.linear.shape))
    np.add.at(first, cells.owner, share * cells.first)
    np.add.at(second, cells.owner, share * cells.second)
    return Moments(log_mass, part.boxes.center + first, np.maximum(second - first**2, 0.0), second)


def refine(parts: list[Part], rows: RowTerms, tolerance: float) -> float:
    """Draws boxes again and halves cells, where that matters, until errors are small.

    Args:
        parts: of every size; changed in place.
        rows: the terms of all rows, for f.
        tolerance: on the sum of the cells' errors.

    Returns:
        The sum over all cells of |coarse - fine| over the whole integral, the largest of mass and
        moments in each (a moment's relative to the unit's second moment about the mode, in its
        support or over all where it is active, the smaller). Nothing cancels in it; but it is an
        estimate, not a bound.
    """
    for _ in range(MOST_RELOCATIONS):
        if not _relocate(parts, rows):
            break
    left = MAX_ELEMENTS
    while True:
        losses = _losses(parts)
        every = np.concatenate(losses)
        chosen = every > 0 if every.sum() > tolerance else np.zeros(len(every), bool)
        chosen &= _worst(every, tolerance)
        cost = np.concatenate([np.full(len(part.cells.owner), _cost(part)) for part in parts])
        chosen &= _affordable(every, chosen, cost, left)
        if not chosen.any():
            return float(every.sum())
        for part, mask in zip(parts, _split(chosen, losses), strict=True):
            if mask.any():
                _halve(part, mask, rows)
        left -= cost[chosen].sum()


def log_outside(parts: list[Part]) -> list[Float[np.ndarray, " problem"]]:
    """Log of what is proved to lie outside each box: of mass, or of a second moment if more.

    The latter about the mode, and relative to the whole posterior's where the unit is active.
    """
    found = []
    for part, scale in zip(parts, _unit_scales(parts), strict=True):
        second = part.boxes.outside_second - np.log(scale)
        found.append(np.maximum(part.boxes.outside, second.max(1, initial=-np.inf)))
    return found


def _unit_scales(parts: list[Part]) -> list[Float[np.ndarray, "problem active"]]:
    """E[(h_i - center_i)^2] over all supports with unit i active, for every problem's units."""
    moments = [measure(part) for part in parts]
    log_total = log_sum(np.concatenate([one.log_mass for one in moments]))
    size = 1 + max(part.units.max(initial=0) for part in parts)
    mass, second = np.zeros((2, size))
    for part, one in zip(parts, moments, strict=True):
        share = np.maximum(np.exp(one.log_mass - log_total), 1e-200)[:, None]
        np.add.at(mass, part.units, share * np.ones_like(one.second))
        np.add.at(second, part.units, share * one.second)
    scale = np.maximum(second / np.where(mass > 0, mass, 1.0), 1e-300)
    return [scale[part.units] for part in parts]


def log_sum(log_values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Log of the sum of exponentials, as an array."""
    return np.asarray(logsumexp(log_values, axis=axis))


def _relocate(parts: list[Part], rows: RowTerms) -> bool:
    """Draws those boxes again around which too much may lie; whether there were any."""
    moments, scales = [measure(part) for part in parts], _unit_scales(parts)
    log_total = log_sum(np.concatenate([one.log_mass for one in moments]))
    shares = [np.exp(np.minimum(one - log_total, 50.0)) for one in log_outside(parts)]
    every = np.concatenate(shares)
    if every.sum() <= OUTSIDE_TARGET:
        return False
    masks = _split(_worst(every, OUTSIDE_TARGET), shares)
    for part, one, scale, mask in zip(parts, moments, scales, masks, strict=True):
        if not mask.any():
            continue
        picked = np.flatnonzero(mask)
        problems = jax.tree.map(lambda leaf, at=picked: leaf[at], part.problems)
        least = np.maximum(one.log_mass[picked], log_total + np.log(SMALLEST_SHARE))
        new = locate(problems, rows, Known(least, scale[picked]))
        for old, made in zip(part.boxes, new, strict=True):
            old[picked] = made
        _, low, high = whole_boxes(*problems.linear.shape)
        cells = integrate_cells(part.problems, part.boxes, picked, low, high, rows)
        _replace_cells(part, np.isin(part.cells.owner, picked), cells)
    return True


def _losses(parts: list[Part]) -> list[np.ndarray]:
    """Each cell's error over the whole integral."""
    moments = [measure(part) for part in parts]
    log_total = log_sum(np.concatenate([one.log_mass for one in moments]))
    losses = []
    for part, one, scale in zip(parts, moments, _unit_scales(parts), strict=True):
        cells = part.cells
        second = np.maximum(np.minimum(one.second, scale)[cells.owner], 1e-300)
        gaps = [
            cells.mass_gap[:, None],
            cells.first_gap / np.sqrt(second),
            cells.second_gap / second,
        ]
        worst = np.concatenate(gaps, axis=1).max(1)
        differing = np.exp(np.minimum(cells.log_larger - log_total, LARGEST_LOG_LOSS)) * worst
        hidden = np.exp(np.minimum(cells.log_hidden - log_total, LARGEST_LOG_LOSS))
        losses.append(differing + hidden)
    return losses


def _worst(loss: np.ndarray, tolerance: float) -> np.ndarray:
    """Which of the losses to reduce so that the others sum to at most half the tolerance."""
    order = np.argsort(loss)
    kept = np.cumsum(loss[order]) <= tolerance / 2
    worst = np.ones(len(loss), bool)
    worst[order[kept]] = False
    return worst


def _split(values: np.ndarray, like: list[np.ndarray]) -> list[np.ndarray]:
    """One array per part again."""
    return np.split(values, np.cumsum([len(one) for one in like])[:-1])


def _cost(part: Part) -> float:
    """Evaluations of f that halving one of its cells takes."""
    _, num_rows, num_active = part.problems.censored.shape
    return 2.0 * num_rows * count_points(num_active)


def _affordable(loss: np.ndarray, chosen: np.ndarray, cost: np.ndarray, most: float) -> np.ndarray:
    """The worst of those chosen that together cost no more than `most`."""
    order = np.argsort(-loss)
    affordable = np.empty(len(loss), bool)
    affordable[order] = np.cumsum(np.where(chosen, cost, 0.0)[order]) <= most
    return affordable


def _halve(part: Part, mask: np.ndarray, rows: RowTerms) -> None:
    """Cuts cells in two along the axis that is roughest in each."""
    cells = part.cells
    index = np.arange(mask.sum())
    axis = cells.roughness[mask].argmax(1)
    low, high = cells.low[mask], cells.high[mask]
    middle = (low[index, axis] + high[index, axis]) / 2
    left_high, right_low = high.copy(), low.copy()
    left_high[index, axis] = right_low[index, axis] = middle
    owner = cells.owner[mask]
    new = integrate_cells(
        part.problems,
        part.boxes,
        np.concatenate([owner, owner]),
        np.concatenate([low, right_low]),
        np.concatenate([left_high, high]),
        rows,
    )
    _replace_cells(part, mask, new)


def _replace_cells(part: Part, mask: np.ndarray, new: CellIntegrals) -> None:
    part.cells = jax.tree.map(lambda old, made: np.concatenate([old[~mask], made]), part.cells, new)
