"""From the moments of every support to those of the posterior."""

import numpy as np
from jaxtyping import Float, Int

from probrev.inference.exact.integration.adaptive_integral import Moments, log_sum

Units = Int[np.ndarray, "support active"]


def combine_moments(
    units: list[Units], moments: list[Moments], n_hidden: int, log_total: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, variance and inclusion probability of every unit, (hidden,) each.

    Variances are summed within and between supports, so that a narrow law far from 0 keeps its
    digits.

    Args:
        units: of every size, the active units of its supports.
        moments: of every size.
        n_hidden: number of units.
        log_total: log of the supports' integrals together.
    """
    mean, var, active = np.zeros((3, n_hidden))
    shares = [np.exp(one.log_mass - log_total)[:, None] for one in moments]
    for unit, one, share in zip(units, moments, shares, strict=True):
        np.add.at(mean, unit, share * one.mean)
        np.add.at(active, unit, share * np.ones_like(one.mean))
    for unit, one, share in zip(units, moments, shares, strict=True):
        np.add.at(var, unit, share * (one.var + (one.mean - mean[unit]) ** 2))
    return mean, var + np.maximum(1 - active, 0) * mean**2, np.minimum(active, 1.0)


def heaviest_supports(
    units: list[Units], moments: list[Moments], n_hidden: int, log_total: float, num_top: int
) -> tuple[Float[np.ndarray, "state hidden"], Float[np.ndarray, " state"]]:
    """Means of the heaviest supports and their log probabilities, -inf where there are fewer."""
    log_prob = np.concatenate([one.log_mass for one in moments]) - log_total
    means = []
    for unit, one in zip(units, moments, strict=True):
        means.append(np.zeros((len(unit), n_hidden)))
        np.put_along_axis(means[-1], unit, one.mean, axis=1)
    order = np.argsort(-log_prob, kind="stable")[:num_top]
    states, top = np.zeros((num_top, n_hidden)), np.full(num_top, -np.inf)
    states[: len(order)], top[: len(order)] = np.concatenate(means)[order], log_prob[order]
    return states, top


def share_left_out(log_bounds: list[np.ndarray], log_total: float, error: float) -> np.ndarray:
    """U / (L + U): U all that is bounded, L what was found less its relative error."""
    log_rest = log_sum(np.concatenate(log_bounds))
    log_least = log_total + np.log1p(-min(error, 0.5))
    return np.asarray(np.exp(log_rest - np.logaddexp(log_least, log_rest)))
