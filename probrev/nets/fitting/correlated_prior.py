"""The rectified Gaussian prior fitted to real activations: mean and shrunk covariance of v."""

import numpy as np
from jaxtyping import Float
from scipy.special import log_ndtr, ndtri, ndtri_exp

from probrev.model.rectified_gaussian import RectifiedGaussian
from probrev.plumbing.refusal import Refusal

# Sweeps over all v that are not seen: with parameters drawn along, and with them averaged.
NUM_FREE, NUM_AVERAGED = 100, 300
# A unit that fires less often says nothing of its correlations.
FEWEST_FIRINGS = 2
# Observations that the marginals count for: mean and variance of a unit that seldom fires could
# grow without end together.
NUM_MARGINAL = 10


def fit_correlated(
    h: Float[np.ndarray, "obs hidden"], v: Float[np.ndarray, "obs hidden"] | None
) -> RectifiedGaussian:
    """See `fit_prior`; h is checked, v are the pre-activations that it is the positive part of."""
    if len(h) < 2:
        raise Refusal(f"a correlated prior needs at least 2 observations; got {len(h)}")
    if v is None:
        return _fit_unseen(h)
    if v.shape != h.shape or not np.isfinite(v).all():
        raise Refusal(
            f"pre_activations must be finite and have the shape of h, {h.shape}; got {v.shape}"
        )
    scale = np.abs(v).max()
    gap = np.abs(np.maximum(v, 0) - h).max()
    if gap > 1e-5 * scale:
        raise Refusal(
            "h must be the positive part of pre_activations, max(v, 0): it differs from it by up "
            f"to {gap:.3g}; give both of the same layer, bias included, on the same observations"
        )
    covariance, _ = shrink_covariance(v)
    return RectifiedGaussian(v.mean(0), covariance)


def shrink_covariance(
    v: Float[np.ndarray, "obs unit"],
) -> tuple[Float[np.ndarray, "unit unit"], float]:
    """The covariance shrunk to a multiple of the identity, and how far, from 0 to 1.

    (1 - s) S + s mu I, with S = sum (v - mean)(v - mean)' / N and mu its mean variance.

    Args:
        v: at least two observations.

    Source: Ledoit and Wolf 2004, A well-conditioned estimator for large-dimensional covariance
    matrices.
    """
    centred = v - v.mean(0)
    num_obs, size = v.shape
    covariance = centred.T @ centred / num_obs
    mean_var = np.trace(covariance) / size
    target = mean_var * np.eye(size)
    spread = ((covariance - target) ** 2).sum()
    # The mean over observations of ||v v' - S||^2, without forming v v'.
    error = ((centred**2).sum(1) ** 2).mean() - (covariance**2).sum()
    share = min(1.0, error / num_obs / spread) if spread > 0 else 1.0
    return (1 - share) * covariance + share * target, share


def _fit_unseen(h: Float[np.ndarray, "obs hidden"]) -> RectifiedGaussian:
    """The same where v is not seen below 0, by stochastic EM with a Gibbs sweep in each step.

    Source: Delyon, Lavielle and Moulines 1999 (averages of the sufficient statistics).
    """
    num_obs = len(h)
    num_firings = (h > 0).sum(0)
    free = num_firings >= FEWEST_FIRINGS
    if not free.any():
        raise Refusal("no unit fires twice: there are no correlations to fit")
    mean, var = _marginals(h)
    rng = np.random.default_rng(0)
    own, covariance = h[:, free], np.diag(var[free])
    center = mean[free]
    v = np.where(own > 0, own, center - np.sqrt(var[free]))
    v = np.minimum(v, np.where(own > 0, np.inf, -1e-6))
    first, second, share = center, covariance, 0.0
    for sweep in range(NUM_FREE + NUM_AVERAGED):
        _draw_below(rng, v, own == 0, center, np.linalg.inv(covariance))
        _, share = shrink_covariance(v)
        step = 1.0 / max(1, sweep - NUM_FREE + 1)
        first = first + step * (v.mean(0) - first)
        second = second + step * (v.T @ v / num_obs - second)
        center, plain = _with_marginals(first, second, num_obs, mean[free], var[free])
        covariance = (1 - share) * plain + share * np.trace(plain) / len(plain) * np.eye(len(plain))
    whole = np.diag(var)
    whole[np.ix_(free, free)] = covariance
    mean[free] = center
    return RectifiedGaussian(mean, whole)


def _with_marginals(
    first: np.ndarray, second: np.ndarray, num_obs: int, mean: np.ndarray, var: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the moments found, with some observations more by the marginals."""
    share = NUM_MARGINAL / (num_obs + NUM_MARGINAL)
    first = (1 - share) * first + share * mean
    second = (1 - share) * second + share * (np.diag(var) + np.outer(mean, mean))
    return first, second - np.outer(first, first)


def _draw_below(
    rng: np.random.Generator,
    v: Float[np.ndarray, "obs unit"],
    hidden: np.ndarray,
    mean: Float[np.ndarray, " unit"],
    precision: Float[np.ndarray, "unit unit"],
) -> None:
    """Draws in place each v that is below 0 and not seen, given all others of its observation."""
    for unit, row in enumerate(precision):
        at = np.flatnonzero(hidden[:, unit])
        std = 1 / np.sqrt(row[unit])
        gap = v[at] - mean
        center = v[at, unit] - gap @ row / row[unit]
        log_uniform = np.log(rng.uniform(size=at.size)) + log_ndtr(-center / std)
        v[at, unit] = np.minimum(center + std * ndtri_exp(log_uniform), -1e-300)


def _marginals(h: Float[np.ndarray, "obs hidden"]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each v by how often and how strongly its unit fires."""
    active = h > 0
    num_active = active.sum(0)
    t = ndtri((num_active + 0.5) / (len(h) + 1))
    strength = (h.sum(0) + h[active].mean()) / (num_active + 1)  # E[v | v > 0] = s (t + phi / Phi)
    hazard = np.exp(-0.5 * t**2 - log_ndtr(t)) / np.sqrt(2 * np.pi)
    std = strength / (t + hazard)
    return t * std, std**2
