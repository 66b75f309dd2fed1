"""p(x, h) over the active units of one support, in plain NumPy and SciPy."""

from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, ndtr
from scipy.stats import norm

from analyses.exact_accuracy.cases import Case


class Integrand(NamedTuple):
    """log g = constant + linear . h - h' precision h / 2 + sum_j log f(offset_j + silent_j . h).

    Attributes:
        far: of each axis a point beyond which the prior has nothing.
        offset: of every row; 0 but within an integral over another axis.
    """

    constant: float
    linear: np.ndarray
    precision: np.ndarray
    silent: np.ndarray
    keep_prob: float
    far: np.ndarray
    offset: np.ndarray

    def __call__(self, h: np.ndarray) -> np.ndarray:
        """Log g of points (..., active)."""
        gaussian = self.constant + h @ self.linear - 0.5 * ((h @ self.precision) * h).sum(-1)
        return gaussian + log_silence(self.offset + h @ self.silent.T, self.keep_prob)


def log_silence(t: np.ndarray, keep_prob: float) -> np.ndarray:
    """Sum over the last axis of log[(1 - rho) + rho Phi(-t)]."""
    if keep_prob == 1:
        return log_ndtr(-t).sum(-1)
    return np.log((1 - keep_prob) + keep_prob * ndtr(-t)).sum(-1)


def make_integrand(case: Case, support: tuple[int, ...]) -> Integrand:
    """p(x, h) over the active units of a support, the prior's cap on their number left out."""
    on = np.array(support, int)
    off = np.setdiff1d(np.arange(case.weights.shape[1]), on)
    weights = case.weights[:, on] / case.noise_std
    seen = case.x > 0
    y = case.x[seen] / (case.gain * case.noise_std)
    scale = case.gain * case.noise_std
    constant = norm.logpdf(y).sum() + seen.sum() * np.log(case.keep_prob / scale)
    constant += np.log(case.inclusion_prob[on]).sum() + np.log1p(-case.inclusion_prob[off]).sum()
    s, loc = case.scale[on], case.loc[on]
    if case.slab == "exponential":
        constant, slope, curvature, far = constant - np.log(s).sum(), -1 / s, 0 * s, 45 * s
    else:
        constant += (norm.logpdf(loc / s) - np.log(s) - norm.logcdf(loc / s)).sum()
        slope, curvature, far = loc / s**2, 1 / s**2, np.maximum(loc, 0) + 12 * s
    return Integrand(
        float(constant),
        weights[seen].T @ y + slope,
        weights[seen].T @ weights[seen] + np.diag(curvature),
        weights[~seen],
        case.keep_prob,
        far,
        np.zeros(int((~seen).sum())),
    )
