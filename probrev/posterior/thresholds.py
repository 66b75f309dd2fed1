"""How often each unit lies above thresholds: where these lie, and what draws can tell of it."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import rel_entr

from probrev.posterior.convergence import ess_of_mean
from probrev.posterior.diagnostics import Sampling

# Besides 0, thresholds are these quantiles of the values above 0 ...
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
# ... where there are so many of them.
ACTIVE_MIN = 20
# An indicator's ESS can be relied on if it switched as often, each way.
SWITCHES_MIN = 10

Values = Float[np.ndarray, "hidden threshold"]


def place_thresholds(draws: Float[np.ndarray, "draw hidden"]) -> Values:
    """Thresholds of each unit: 0, and quantiles of its values above 0.

    A threshold lies midway between the quantile and the next larger value drawn, so between the
    atoms of a finite slab, whose rounding then makes no difference. NaN where there is none: a unit
    with fewer than 20 values above 0, a quantile that is the largest value, or one as before.
    """
    found = np.full((draws.shape[1], 1 + len(QUANTILES)), np.nan)
    found[:, 0] = 0.0
    for unit, values in enumerate(draws.T):
        active = np.sort(values[values > 0])
        if len(active) < ACTIVE_MIN:
            continue
        levels = np.quantile(active, QUANTILES, method="inverted_cdf")
        following = np.searchsorted(active, levels, side="right")
        inside = following < len(active)
        between = np.unique((levels[inside] + active[following[inside]]) / 2)
        found[unit, 1 : 1 + len(between)] = between
    return found


def effective_sizes(
    above: Bool[np.ndarray, "chain draw hidden threshold"], how: Sampling
) -> Values:
    """Effective number of draws of each indicator h_i > c.

    Of Markov chains it is the smaller of the indicator's own and the smallest of those that
    switched at least 10 times each way; NaN where none did, since then nothing can be said of any.
    Of independent draws it is their number, and of no draws more than that.

    Args:
        above: the indicators.
        how: the draws were made.
    """
    num_draws = above.shape[0] * above.shape[1]
    if how == "iid":
        return np.full(above.shape[2:], float(num_draws))
    steps = np.diff(above.astype(np.int8), axis=1)
    switches = np.minimum((steps > 0).sum((0, 1)), (steps < 0).sum((0, 1)))
    reliable = switches >= SWITCHES_MIN
    if not reliable.any():
        return np.full(above.shape[2:], np.nan)
    own = ess_of_mean(above)
    return np.minimum(np.fmin(own, own[reliable].min()), num_draws)


def divergence_from_known(share: Values, size: Values, prob: Values, error: float) -> Values:
    """ESS KL(share || prob), prob being known up to an error.

    Of independent draws it exceeds t with probability at most 2 exp(-t) (Chernoff), in far tails
    as well, where a bound by standard errors is wrong.
    """
    return size * _divergence(share, np.clip(share, prob - error, prob + error).clip(0, 1))


def divergence_from_pooled(shares: tuple[Values, Values], sizes: tuple[Values, Values]) -> Values:
    """Sum of ESS KL(share || pooled share) over two samplers."""
    pooled = (shares[0] * sizes[0] + shares[1] * sizes[1]) / (sizes[0] + sizes[1])
    parts = [size * _divergence(share, pooled) for share, size in zip(shares, sizes, strict=True)]
    return parts[0] + parts[1]


def _divergence(share: Values, prob: Values) -> Values:
    """Bernoulli KL(share || prob), in nats."""
    # Pooling rounds, which takes a probability above 1.
    return rel_entr(share, prob) + rel_entr(1 - share, 1 - np.minimum(prob, 1))
