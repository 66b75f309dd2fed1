"""Ranks of the truth among draws: thinned to independence, ties broken at random."""

import warnings

import arviz as az
import jax
import numpy as np
import xarray as xr
from jaxtyping import Float, Int, PRNGKeyArray

from probrev.plumbing.arviz_defaults import arviz_defaults

# Markov chains are thinned by so many times N / ESS, to draws that are independent.
THINNING = 3
# Values nearer than so many roundings of the larger one are one value, computed twice.
ROUNDINGS = 256

Values = Float[np.ndarray, "chain draw obs"]


def thinning(values: list[Values]) -> Int[np.ndarray, " obs"]:
    """Every how many draws of each observation to take one, so that they are nearly independent.

    Three times the largest N / ESS over quantities that vary, ESS rank-normalised and at most N.

    Args:
        values: of each quantity, in draws of Markov chains.
    """
    share = np.ones(values[0].shape[2])
    for one in values:
        share = np.fmin(share, _effective_share(one))
    return np.ceil(THINNING / share).astype(int)


@arviz_defaults()
def _effective_share(values: Values) -> Float[np.ndarray, " obs"]:
    """Rank-normalised ESS over N of each observation; NaN where nothing varies."""
    finite = np.isfinite(values).all((0, 1))
    moving = finite & (values != values[:1, :1]).any((0, 1))
    found = np.full(values.shape[2], np.nan)
    if moving.any():
        dims = ("chain", "draw", "obs")
        with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
            warnings.simplefilter("ignore", RuntimeWarning)
            found[moving] = az.ess(xr.DataArray(values[..., moving], dims=dims), method="bulk")
    return found / (values.shape[0] * values.shape[1])


def rank(
    key: PRNGKeyArray,
    truth: Float[np.ndarray, " obs"],
    values: Values,
    steps: Int[np.ndarray, " obs"],
) -> Float[np.ndarray, " obs"]:
    """Randomised rank of each truth among its thinned draws, uniform on (0, 1) under their law.

    (number below + U (number equal + 1)) / (number + 1), U uniform: exactly uniform whatever the
    number of draws, and where the law has atoms. What differs by rounding alone is equal, so that
    a state computed twice is tied with itself.

    Args:
        key: of the ties.
        truth: the quantity of the h that made x.
        values: the quantity in every draw.
        steps: see `thinning`.
    """
    uniform = np.asarray(jax.random.uniform(key, truth.shape))
    eps = float(jax.numpy.finfo(jax.numpy.result_type(float)).eps)
    ranks = np.empty(len(truth))
    for index, step in enumerate(steps):
        drawn, own = values[:, ::step, index].ravel(), truth[index]
        size = np.abs(np.append(drawn, own))
        nearly = ROUNDINGS * eps * size[np.isfinite(size)].max(initial=0.0)
        with np.errstate(invalid="ignore"):
            equal = (drawn == own) | (np.abs(drawn - own) <= nearly)
        below = (drawn < own) & ~equal
        ranks[index] = (below.sum() + uniform[index] * (equal.sum() + 1)) / (drawn.size + 1)
    return ranks
