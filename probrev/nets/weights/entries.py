"""The entries of a weight matrix beside a Gaussian with their mean and standard deviation."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import log_ndtr, ndtr

from probrev.plumbing.readable import readable

# Standard scores at which the density of the entries is kept, for figures.
SCORE_EDGES = np.linspace(-5, 5, 81)


@readable
class Entries(NamedTuple):
    """How the entries are distributed: sizes of effects, not p-values.

    With millions of entries any p-value is 0; the distances below do not grow with their number.

    Attributes:
        mean: of the entries.
        std: their standard deviation.
        excess_kurtosis: 0 for a Gaussian, -1.2 for a uniform law.
        ks: largest distance between the distribution functions of the entries and of the Gaussian
            with their mean and standard deviation (Kolmogorov, Smirnov); .057 for a uniform law.
        anderson_darling: A^2 / number of entries, which weighs the tails more; .011 for a uniform.
    """

    mean: float
    std: float
    excess_kurtosis: float
    ks: float
    anderson_darling: float


def measure_entries(weights: Float[np.ndarray, "visible hidden"]) -> Entries:
    """Holds the entries of W against a Gaussian.

    Args:
        weights: W, not constant.

    Source: Anderson and Darling 1954 for A^2.
    """
    mean, std = float(weights.mean()), float(weights.std())
    sorted_z = np.sort((weights.ravel() - mean) / std)
    count = sorted_z.size
    below = 2 * np.arange(count) + 1
    log_terms = log_ndtr(sorted_z) + log_ndtr(-sorted_z[::-1])
    return Entries(
        mean=mean,
        std=std,
        excess_kurtosis=float((sorted_z**4).mean() - 3),
        ks=distance(ndtr(sorted_z)),
        anderson_darling=float(-1 - (below / count * log_terms).mean()),
    )


def score_density(weights: Float[np.ndarray, "visible hidden"]) -> Float[np.ndarray, " bin"]:
    """Density of the entries' standard scores between SCORE_EDGES; what lies beyond is left out."""
    counts, _ = np.histogram((weights - weights.mean()) / weights.std(), SCORE_EDGES)
    return counts / (weights.size * np.diff(SCORE_EDGES))


def distance(probs: Float[np.ndarray, " value"]) -> float:
    """Kolmogorov-Smirnov distance of sorted values from a law, given their probabilities below."""
    ranks = np.arange(probs.size + 1) / probs.size
    return float(max((probs - ranks[:-1]).max(), (ranks[1:] - probs).max()))


def sampling_kurtosis_std(count: int) -> float:
    """Standard deviation of the excess kurtosis of that many Gaussian draws."""
    return math.sqrt(24 / count)
