"""R-hat and effective sample sizes of many variables together, where ArviZ goes one by one.

Tests hold every figure against ArviZ's.
"""

from collections.abc import Iterator
from typing import NamedTuple

import arviz as az
import numpy as np
from jaxtyping import Bool, Float
from scipy.fft import next_fast_len
from scipy.special import ndtri

from probrev.plumbing.arviz_defaults import arviz_defaults

# Numbers of a block of variables: few enough to stay in cache.
BLOCK_ELEMENTS = 2**19

Draws = Float[np.ndarray, "chain draw *shape"] | Bool[np.ndarray, "chain draw *shape"]
# With the variables first, for what runs along draws.
Rows = Float[np.ndarray, "variable chain draw"]


class Convergence(NamedTuple):
    """Figures of each variable; NaN where there are too few draws, and of one chain's R-hat."""

    r_hat: Float[np.ndarray, "*shape"]
    ess_bulk: Float[np.ndarray, "*shape"]
    ess_tail: Float[np.ndarray, "*shape"]


@arviz_defaults()
def measure_convergence(draws: Draws) -> Convergence:
    """Rank-normalised split R-hat, and ESS of the bulk and of ArviZ's tails.

    NaN of variables of one value in all draws or with a NaN, of fewer than 4 draws, and R-hat of
    one chain.

    Args:
        draws: of any variables.

    Source: Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021.
    """
    found = np.full((3, *draws.shape[2:]), np.nan)
    tails = (az.rcParams["stats.ci_prob"], 1 - az.rcParams["stats.ci_prob"])
    for place, rows in _blocks(draws):
        scores, folded = _normal_scores(_split(rows))
        if draws.shape[0] > 1:
            found[0][place] = np.maximum(_r_hat(scores), _r_hat(folded))
        found[1][place] = _effective_size(scores)
        edges = np.quantile(rows, tails, axis=(1, 2), keepdims=True)
        below = [_effective_size(_split((rows <= edge).astype(float))) for edge in edges]
        found[2][place] = np.minimum(*below)
    return Convergence(*found)


def ess_of_mean(draws: Draws) -> Float[np.ndarray, "*shape"]:
    """ESS of the mean of each variable; NaN of one value in all draws, a NaN, or fewer than 4.

    Args:
        draws: of any variables.
    """
    found = np.full(draws.shape[2:], np.nan)
    for place, rows in _blocks(draws):
        found[place] = _effective_size(_split(rows))
    return found


def _blocks(draws: Draws) -> Iterator[tuple[tuple[np.ndarray, ...], Rows]]:
    """Some of the variables that have several numbers at a time, and which they are."""
    num_chains, num_draws, *_ = draws.shape
    moving = np.nonzero((draws != draws[:1, :1]).any((0, 1)) & ~np.isnan(draws).any((0, 1)))
    size = max(1, BLOCK_ELEMENTS // (num_chains * num_draws))
    for start in range(0, len(moving[0]) if num_draws >= 4 else 0, size):
        place = tuple(axis[start : start + size] for axis in moving)
        rows = np.moveaxis(draws[(slice(None), slice(None), *place)], 2, 0)
        yield place, np.ascontiguousarray(rows, dtype=float)


def _split(rows: Rows) -> Rows:
    """Halves of chains as chains; of an odd number of draws the middle one is left out."""
    half = rows.shape[2] // 2
    return np.concatenate([rows[..., :half], rows[..., -half:]], axis=1)


def _normal_scores(rows: Rows) -> tuple[Rows, Rows]:
    """Normal quantiles of the ranks of a variable's values, and of their distances to the median.

    Ties have their mean rank. Values in order have distances that fall and then rise, which a
    stable sort finds in one go.
    """
    flat = rows.reshape(len(rows), -1)
    # The default kind takes half the time without ties, and twice as long with many of them.
    order = np.argsort(flat, axis=1, kind="stable")
    ascending = np.take_along_axis(flat, order, 1)
    middle = slice((flat.shape[1] - 1) // 2, flat.shape[1] // 2 + 1)
    distance = np.abs(ascending - ascending[:, middle].mean(1, keepdims=True))
    order_folded = np.argsort(distance, axis=1, kind="stable")
    scores, folded = np.empty_like(flat), np.empty_like(flat)
    np.put_along_axis(scores, order, _scores_in_order(ascending), 1)
    nearest = np.take_along_axis(distance, order_folded, 1)
    place = np.take_along_axis(order, order_folded, 1)
    np.put_along_axis(folded, place, _scores_in_order(nearest), 1)
    return scores.reshape(rows.shape), folded.reshape(rows.shape)


def _scores_in_order(
    ascending: Float[np.ndarray, "variable draw"],
) -> Float[np.ndarray, "variable draw"]:
    """The normal quantile (rank - 3/8) / (draws + 1/4) of each of values in order."""
    num_draws = ascending.shape[1]
    ranks = np.arange(1, num_draws + 0.5, 0.5)
    quantiles = ndtri((ranks - 3 / 8) / (num_draws + 1 / 4))
    first = np.ones(ascending.shape, dtype=bool)
    np.not_equal(ascending[:, 1:], ascending[:, :-1], out=first[:, 1:])
    starts = np.flatnonzero(first)
    counts = np.diff(starts, append=first.size)
    mean_rank = 2 * (starts % num_draws) + counts - 1  # in steps of 1/2, from rank 1
    return np.repeat(quantiles[mean_rank], counts).reshape(ascending.shape)


def _r_hat(rows: Rows) -> Float[np.ndarray, " variable"]:
    num_draws = rows.shape[2]
    between = num_draws * rows.mean(2).var(1, ddof=1)
    within = rows.var(2, ddof=1).mean(1)
    return np.sqrt((between / within + num_draws - 1) / num_draws)


def _effective_size(rows: Rows) -> Float[np.ndarray, " variable"]:
    r"""Number of draws over tau = -1 + 2 sum_k P_k, P_k = rho_2k + rho_2k+1.

    By Geyer's initial monotone sequence: the sum ends before the first P_k that is not positive,
    and of that only rho_2k counts, once, if it is positive; none counts for more than those before.
    """
    _, num_chains, num_draws = rows.shape
    size = num_chains * num_draws
    covariance = _autocovariance(rows)
    within = covariance[:, :1] * num_draws / (num_draws - 1)
    total = covariance[:, :1] + rows.mean(2).var(1, ddof=1)[:, None] * (num_chains > 1)
    rho = 1 - (within - covariance) / total
    rho[:, 0] = 1
    num_pairs = max(1, (num_draws - 1) // 2)
    even = rho[:, 0 : 2 * num_pairs : 2]
    pairs = even + rho[:, 1 : 2 * num_pairs : 2]
    ends = pairs <= 0
    last = np.where(ends.any(1), ends.argmax(1), num_pairs - 1)[:, None]
    kept = np.arange(num_pairs) < last
    final = np.take_along_axis(even, last, 1)[:, 0]
    final = np.where(np.take_along_axis(ends, last, 1)[:, 0], np.maximum(final, 0), final)
    tau = -1 + 2 * np.where(kept, np.minimum.accumulate(pairs, axis=1), 0).sum(1) + final
    # An indicator may have one value where its variable has several.
    still = np.ptp(rows.reshape(len(rows), -1), axis=1) < np.finfo(float).resolution
    return np.where(still, size, size / np.maximum(tau, 1 / np.log10(size)))


def _autocovariance(rows: Rows) -> Float[np.ndarray, "variable lag"]:
    """At every lag, the mean over chains."""
    num_draws = rows.shape[2]
    length = next_fast_len(2 * num_draws, real=True)
    spectrum = np.fft.rfft(rows - rows.mean(2, keepdims=True), length, axis=2)
    power = (spectrum.real**2 + spectrum.imag**2).mean(1)
    return np.fft.irfft(power, length, axis=1)[:, :num_draws] / num_draws
