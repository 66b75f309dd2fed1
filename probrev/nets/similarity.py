"""How alike estimated activations and the real ones are: over observations, and over units."""

from typing import NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, PRNGKeyArray

from probrev.plumbing import door
from probrev.plumbing.arrays import check_real
from probrev.plumbing.readable import readable
from probrev.plumbing.refusal import Refusal

TINY = np.finfo(float).tiny


@readable
class Similarity(NamedTuple):
    """An estimate a beside the truth b, both (obs, unit).

    Attributes:
        cosine: <a, b> / (||a|| ||b||) of each observation, in [-1, 1]; where one of the two is 0 it
            is 0, where both are, 1. Two independent half-normal vectors have 2 / pi: hold it
            against the cosine of pairs that do not belong together (`shuffle_pairs`).
        correlation: Pearson's, of each unit over the observations: what is left once every unit's
            mean is taken off. NaN where the truth does not vary, 0 where the estimate alone does
            not.
        scale: <a, b> / <a, a>, all observations together: what a is best multiplied by.
        relative_error: sum ||a - b||^2 / sum ||b||^2, at the scale at which a came.
        support_f1: 2 hits / (number of a_i > 0 + number of b_i > 0), hits where both are.
    """

    cosine: Float[np.ndarray, " obs"]
    correlation: Float[np.ndarray, " unit"]
    scale: float
    relative_error: float
    support_f1: float

    @property
    def summary(self) -> dict[str, float]:
        """One number each: means over observations and over the units that vary."""
        varying = self.correlation[~np.isnan(self.correlation)]
        num_obs = len(self.cosine)
        return {
            "cosine": float(self.cosine.mean()),
            "cosine_std_error": float(self.cosine.std(ddof=1) / np.sqrt(num_obs)),
            "correlation": float(varying.mean()) if varying.size else np.nan,
            "scale": self.scale,
            "relative_error": self.relative_error,
            "support_f1": self.support_f1,
        }


@door.guard(
    estimate=door.finite_array("num_obs", "n_hidden"),
    truth=door.finite_array("num_obs", "n_hidden"),
)
def measure_similarity(estimate: ArrayLike, truth: ArrayLike) -> Similarity:
    """Measures how alike two arrays of activations are.

    Args:
        estimate: (obs, unit).
        truth: the same shape, at least two observations, not all 0.

    Raises:
        ValueError: shapes differ, fewer than two observations, or nothing to compare with.
    """
    check_real("estimate", estimate)
    check_real("truth", truth)
    a, b = np.asarray(estimate, dtype=float), np.asarray(truth, dtype=float)
    if a.shape != b.shape or a.ndim != 2 or len(a) < 2:
        raise Refusal(
            "estimate and truth must both have shape (num_obs, num_units), with at least two "
            f"observations; got {a.shape} and {b.shape}"
        )
    if not b.any():
        raise Refusal("truth is 0 throughout: there is nothing to be similar to")
    inner, energy = (a * b).sum(1), (a**2).sum(1)
    hits, num_on = ((a > 0) & (b > 0)).sum(), (a > 0).sum() + (b > 0).sum()
    return Similarity(
        cosine=_cosine(inner, energy, (b**2).sum(1)),
        correlation=_correlation(a, b),
        scale=float(inner.sum() / max(energy.sum(), TINY)),
        relative_error=float(((a - b) ** 2).sum() / (b**2).sum()),
        support_f1=float(2 * hits / max(num_on, 1)),
    )


def shuffle_pairs(key: PRNGKeyArray, num_obs: int) -> np.ndarray:
    """For each observation the number of another one, each used once: the baseline's partners.

    Args:
        key: random key.
        num_obs: at least 2.
    """
    order = np.asarray(jax.random.permutation(key, num_obs))
    partner = np.empty(num_obs, int)
    partner[order] = np.roll(order, 1)
    return partner


def _cosine(inner: np.ndarray, energy: np.ndarray, truth_energy: np.ndarray) -> np.ndarray:
    both_zero = (energy == 0) & (truth_energy == 0)
    return np.where(both_zero, 1.0, inner / np.maximum(np.sqrt(energy * truth_energy), TINY))


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # A constant column is told by its values: its variance may be off 0 by rounding.
    varies, truth_varies = ((part != part[:1]).any(0) for part in (a, b))
    a, b = a - a.mean(0), b - b.mean(0)
    norm = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    correlation = np.where(varies, (a * b).sum(0) / np.maximum(norm, TINY), 0.0)
    return np.where(truth_varies, correlation, np.nan)
