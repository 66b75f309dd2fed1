"""Ratios of two sums over observations, with intervals that few observations can bear."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

NUM_RESAMPLES = 9999
# Below it no interval that was tried holds what it claims.
FEWEST_OBSERVATIONS = 16
# Resampling weights at a time, so that memory is bounded.
MOST_WEIGHTS = 2**23


class LogRatio(NamedTuple):
    """Of R = sum(numerator) / sum(denominator): the value, and its intervals.

    Attributes:
        value: R.
        std_error: of R, by the delta method; NaN without one.
        intervals: (low, high) for each probability asked for; NaN where there is none.
    """

    value: float
    std_error: float
    intervals: tuple[tuple[float, float], ...]


def estimate_ratios(
    numerators: Float[np.ndarray, "ratio obs"],
    denominators: Float[np.ndarray, "ratio obs"],
    rng: np.random.Generator,
    probs: tuple[float, ...] = (0.95,),
) -> list[LogRatio]:
    """R of several pairs of sums, and intervals, by the bootstrap-t of log R over observations.

    Few observations carry most of either sum, so that percentile intervals of R miss on one side.
    Where nearly all of a - b is carried by observations too rare to be among these, as for inverses
    within a few percent of Bayes, nothing that resamples can see them: intervals of R are then too
    short, by about R - 1 (`analyses.verdict_calibration` has figures).
    Here log R is studentised by its delta-method standard error, with

        se^2 = n / (n - 1) sum_i (a_i / A - b_i / B)^2,   A = sum a_i, B = sum b_i,

    and the quantiles of (log R* - log R) / se* over resamples of whole observations, the same for
    all pairs, give the ends. A resample whose R* is not positive counts as infinitely far down.
    Single terms may be negative.

    No interval below 16 observations, nor where either sum is not positive. Where every term of one
    is the same multiple of the other's, the interval is the value.

    Args:
        numerators: a of each pair, one number per observation.
        denominators: b.
        rng: of the resamples.
        probs: probabilities of the intervals.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 12.5.
    """
    size = numerators.shape[1]
    above, below = numerators.sum(1), denominators.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = above / below
    known = (above > 0) & (below > 0) & (size > 1)
    safe = np.where(known, value, 1.0)[:, None]
    # a_i / A - b_i / B = u_i / B: near 0 where the two are nearly proportional, without rounding.
    u = numerators / safe - denominators
    std_error = np.full(len(value), np.nan)
    np.divide(_root_square(u.T), below, out=std_error, where=known)
    intervals = np.full((len(value), len(probs), 2), np.nan)
    if size >= FEWEST_OBSERVATIONS:
        t = _studentise(u.T, denominators.T, rng)
        tails = [[(1 + prob) / 2, (1 - prob) / 2] for prob in probs]
        for index in np.flatnonzero(known):
            if std_error[index] == 0:  # a ratio known for certain
                intervals[index] = value[index]
                continue
            ends = np.quantile(t[:, index], tails, method="nearest")
            intervals[index] = value[index] * np.exp(-ends * std_error[index])
    return [
        LogRatio(float(r), float(r * error), tuple((float(low), float(high)) for low, high in ends))
        for r, error, ends in zip(value, std_error, intervals, strict=True)
    ]


def _root_square(u: Float[np.ndarray, "obs ratio"]) -> Float[np.ndarray, " ratio"]:
    size = len(u)
    return np.sqrt(size / max(1, size - 1) * (u**2).sum(0))


def _studentise(
    u: Float[np.ndarray, "obs ratio"],
    denominator: Float[np.ndarray, "obs ratio"],
    rng: np.random.Generator,
) -> Float[np.ndarray, "resample ratio"]:
    """(log R* - log R) / se* of every resample, -infinity where R* is not positive."""
    size = len(u)
    block = max(1, MOST_WEIGHTS // size)
    found = []
    for start in range(0, NUM_RESAMPLES, block):
        weights = _count_resamples(rng, min(block, NUM_RESAMPLES - start), size)
        below = weights @ denominator
        with np.errstate(divide="ignore", invalid="ignore"):
            shift = weights @ u / below  # R* / R - 1
            gap = np.log1p(shift)
            # u of the resample is (u_i - shift b_i) / (1 + shift).
            square = weights @ u**2 - 2 * shift * (weights @ (u * denominator))
            square = np.maximum(square + shift**2 * (weights @ denominator**2), 0)
            error = np.sqrt(size / (size - 1) * square) / (below * (1 + shift))
            t = gap / error
        found.append(np.where((below > 0) & (shift > -1), np.where(gap == 0, 0.0, t), -np.inf))
    return np.concatenate(found)


def _count_resamples(rng: np.random.Generator, number: int, size: int) -> np.ndarray:
    """How often each observation is in each resample, (resample, obs)."""
    picked = rng.integers(size, size=(number, size)) + size * np.arange(number)[:, None]
    counts = np.bincount(picked.ravel(), minlength=number * size)
    return counts.reshape(number, size).astype(float)
