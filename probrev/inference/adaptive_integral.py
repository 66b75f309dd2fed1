"""Integrals of many supports together, each as finely as its share of their sum deserves."""

import jax
import numpy as np
from scipy.special import logsumexp

from probrev.evidence import Evidence
from probrev.inference.support_integral import LEVELS, Integrals, integrate_problems
from probrev.inference.support_problem import SupportProblem

# Points of the finest rule per problem: beyond, a level is not tried.
MAX_POINTS = 2**19


def refine(
    problems: list[SupportProblem],
    found: list[Integrals],
    rows: Evidence,
    steepest: float,
    tolerance: float,
) -> list[Integrals]:
    """Integrates the problems that matter again, by finer rules, until their errors are small.

    Args:
        problems: one entry per number of active units, each with a leading axis.
        found: their integrals at level 0.
        rows: the evidence, for f.
        steepest: bound on -(log f)''.
        tolerance: on the sum over problems of share times error.
    """
    for level in range(1, len(LEVELS)):
        total = log_sum(np.concatenate([one.log_mass for one in found]))
        losses = [np.exp(one.log_mass - total) * one.error for one in found]
        chosen = _worst(np.concatenate(losses), tolerance)
        chosen = np.split(chosen, np.cumsum([len(loss) for loss in losses])[:-1])
        for place, picked in enumerate(chosen):
            num_active = problems[place].linear.shape[1]
            picked = np.flatnonzero(picked)
            if picked.size and LEVELS[level][1] ** num_active <= MAX_POINTS:
                part = jax.tree.map(lambda leaf, at=picked: leaf[at], problems[place])
                finer = integrate_problems(part, rows, steepest, level)
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
