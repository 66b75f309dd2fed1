"""Whether ranks are uniform: three tests whose laws are exact at every size and level."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import chi2, kstwo, norm

# Ranks are never nearer to 0 or 1.
EDGE = 1e-12
# Between these numbers of simulations what is wanted is looked for.
FEWEST, MOST = 2, 2**24
# How often what a test is said to see is seen.
POWER = 0.9


class Uniformity(NamedTuple):
    """What the tests found of some ranks.

    Attributes:
        p_value: three times the smallest of the three below, at most 1.
        location_p: p-value for the mean of the normal scores.
        spread_p: for their variance about that mean.
        shape_p: for the largest distance of their distribution from a uniform one.
        location: the mean of the normal scores: where the truth lies, in standard deviations of its
            posterior, 0 if all is well.
        spread: their standard deviation: the truth's over the posterior's, 1 if all is well.
    """

    p_value: float
    location_p: float
    spread_p: float
    shape_p: float
    location: float
    spread: float


def measure_uniformity(ranks: Float[np.ndarray, " simulation"]) -> Uniformity:
    """Tests that independent ranks in (0, 1) are uniform, against shift, spread and shape.

    With z = Φ⁻¹(rank) they are normal: √N z̄ ~ N(0, 1), Σ(z - z̄)² ~ χ²(N-1), and the distance of
    Kolmogorov and Smirnov, of the ranks themselves, has a known law. All three are exact at every N
    and however small the level; one p-value of them is three times the smallest. Location and
    spread are the strongest tests there are of a posterior that is normal and shifted, or too
    narrow or wide; Anderson and Darling's weighs spread by a third of shift. Kolmogorov and
    Smirnov's sees any other fault, of large enough N.

    Args:
        ranks: one of each simulation, ties broken at random; at least 2.
    """
    size = len(ranks)
    z = norm.ppf(np.clip(ranks, EDGE, 1 - EDGE))
    location = float(z.mean())
    location_p = float(2 * norm.sf(math.sqrt(size) * abs(location)))
    square = float(np.square(z - location).sum())
    spread_p = float(min(1.0, 2 * min(chi2.sf(square, size - 1), chi2.cdf(square, size - 1))))
    shape_p = float(kstwo.sf(_distance(ranks), size))
    p_value = min(1.0, 3 * min(location_p, spread_p, shape_p))
    spread = math.sqrt(square / (size - 1))
    return Uniformity(p_value, location_p, spread_p, shape_p, location, spread)


def detectable_spread(size: int, level: float) -> float:
    """How many times too narrow a posterior must be to be rejected 9 times in 10.

    Args:
        size: number of simulations.
        level: of the three tests together.
    """
    degrees = size - 1
    return float(np.sqrt(chi2.isf(level / 6, degrees) / chi2.isf(POWER, degrees)))


def detectable_location(size: int, level: float) -> float:
    """By how many of its standard deviations a posterior must be off to be rejected so.

    Args:
        size: number of simulations.
        level: of the three tests together.
    """
    return float((norm.isf(level / 6) + norm.isf(1 - POWER)) / math.sqrt(size))


def wanted_size(spread: float, level: float) -> int:
    """How many simulations it takes to reject a posterior that is so many times too narrow."""
    low, high = FEWEST, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if detectable_spread(middle, level) <= spread else (middle, high)
    return high


def _distance(ranks: Float[np.ndarray, " simulation"]) -> float:
    """Kolmogorov and Smirnov's distance from a uniform law."""
    size, ordered = len(ranks), np.sort(ranks)
    above = np.arange(1, size + 1) / size - ordered
    return float(max(above.max(), (ordered - np.arange(size) / size).max()))
