"""Integrals of many supports together, each as finely as its share of their sum deserves."""

import jax
import numpy as np
from scipy.special import logsumexp

from probrev.evidence import Evidence
from probrev.inference.support_integral import RULES, Coordinates, Integrals, integrate_problems
from probrev.inference.support_problem import SupportProblem

# Points of the finest rule per problem: beyond, a level is not tried.
MAX_POINTS = 2**19


def refine(
    problems: list[SupportProblem],
    coordinates: list[Coordinates],
    found: list[Integrals],
    rows: Evidence,
    tolerance: float,
) -> list[Integrals]:
    """Integrates the problems that matter again, by finer rules, until their errors are small.

    Args:
        problems: one entry per number of active units, each with a leading axis.
        coordinates: what `locate` found for each.
        found: their integrals by the first two rules; changed in place.
        rows: the evidence, for f.
        tolerance: on the sum over problems of share times error.
    """
    for rule in range(2, len(RULES)):
        total = log_sum(np.concatenate([one.log_mass for one in found]))
        losses = [np.exp(one.log_mass - total) * one.error for one in found]
        chosen = _worst(np.concatenate(losses), tolerance)
        chosen = np.split(chosen, np.cumsum([len(loss) for loss in losses])[:-1])
        for place, mask in enumerate(chosen):
            points = RULES[rule] ** problems[place].linear.shape[1]
            picked = np.flatnonzero(mask)
            if picked.size and points <= MAX_POINTS:
                part, where, before = jax.tree.map(
                    lambda leaf, at=picked: leaf[at],
                    (problems[place], coordinates[place], found[place]),
                )
                finer = integrate_problems(part, where, rows, rule, before)
                for old, new in zip(found[place], finer, strict=True):
                    old[picked] = new
    return found


def relative_error(found: list[Integrals]) -> float:
    """Sum over problems of share times error."""
    total = log_sum(np.concatenate([one.log_mass for one in found]))
    return float(sum((np.exp(one.log_mass - total) * one.error).sum() for one in found))


def _worst(loss: np.ndarray, tolerance: float) -> np.ndarray:
    """Which of the losses to reduce so that the others sum to at most half the tolerance."""
    order = np.argsort(loss)
    kept = np.cumsum(loss[order]) <= tolerance / 2
    worst = np.ones(len(loss), bool)
    worst[order[kept]] = False
    return worst


def log_sum(log_values: np.ndarray, axis: int | None = None) -> np.ndarray:
    """Log of the sum of exponentials, as an array."""
    return np.asarray(logsumexp(log_values, axis=axis))
