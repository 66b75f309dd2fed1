"""The search for the parameters that x alone has likeliest, h drawn along, and its information."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from probrev.nets.fitting.complete_data import SHARED, Complete, Point

# Steps after warm-up shrink as the number of sweeps to this power, slower than its inverse, so that
# the average of the parameters errs least.
STEP_POWER = -0.7
# Second derivatives are averaged over about so many sweeps.
MEMORY = 10
# Log odds beyond which a probability is taken to be 1.
MOST_LOGIT = 10.0
# Coordinates go no further at a time, the bias in units of the noise.
FURTHEST = 1.0
PROBABILITIES = [SHARED.index(name) for name in ("keep_prob", "inclusion_prob")]


class MarginalSearch:
    """Newton steps of log p(x, h) with an h drawn anew for each, and averages over them.

    Attributes:
        free: coordinates that are searched.

    Source: Gu and Kong 1998 (steps by Markov chains), Polyak and Juditsky 1992 (the average of the
    parameters), Louis 1982 (information).
    """

    def __init__(self, start: Point, free: Bool[np.ndarray, " coordinate"]):
        self.free, self._at = free, np.concatenate(start)
        self._num_steps = self._num_averaged = 0
        self._curvature = self._information = self._outer = np.zeros((free.sum(),) * 2)
        self._slopes = self._sum = np.zeros(())

    @property
    def at(self) -> Point:
        """Where the search is."""
        return _as_point(self._at)

    @property
    def average(self) -> Point:
        """The average of the parameters over sweeps after warm-up; a probability of 1 is one."""
        found = self._sum / self._num_averaged
        found[PROBABILITIES] = np.where(self._at_end, np.inf, found[PROBABILITIES])
        return _as_point(found)

    def step(self, found: Complete, num_chains: int, *, averages: bool) -> None:
        """A step by a sweep's draws.

        Args:
            found: derivatives there, of the observations of one chain after the other.
            num_chains: in them.
            averages: whether the sweep is after warm-up.
        """
        slopes = found.slopes[:, self.free]
        information = found.information[np.ix_(self.free, self.free)] / num_chains
        self._num_steps += 1
        share = 1 / min(self._num_steps, MEMORY)
        self._curvature = self._curvature + share * (information - self._curvature)
        move = _solve(self._curvature, slopes.sum(0) / num_chains)
        size = (1.0 + self._num_averaged) ** STEP_POWER
        most = np.full(self.free.size, FURTHEST)
        most[len(SHARED) :] *= np.exp(-self._at[0])
        most = most[self.free]
        self._at = self._at.copy()
        self._at[self.free] += size * np.clip(move, -most, most)
        ends = self._at[PROBABILITIES]
        self._at[PROBABILITIES] = np.where(
            self.free[PROBABILITIES], np.clip(ends, -MOST_LOGIT, MOST_LOGIT), ends
        )
        if averages:
            self._num_averaged += 1
            self._sum = self._sum + self._at
            self._information = self._information + information
            self._outer = self._outer + slopes.T @ slopes / num_chains
            by_obs = slopes.reshape(num_chains, -1, slopes.shape[1]).mean(0)
            self._slopes = self._slopes + by_obs

    def standard_errors(self) -> Float[np.ndarray, " coordinate"]:
        """Of the coordinates; 0 for what is held, NaN at an end or without information."""
        count = self._num_averaged
        slopes = self._slopes / count
        # Louis: E[-d2 log p(x, h)] less the variance of d log p(x, h), given x.
        missing = self._outer / count - slopes.T @ slopes
        information = self._information / count - missing
        errors = np.zeros(self.free.size)
        ended = np.zeros(self.free.size, bool)
        ended[PROBABILITIES] = self._at_end
        inside = ~ended[self.free]
        errors[self.free] = np.nan
        try:
            factor = cho_factor(information[np.ix_(inside, inside)])
        except LinAlgError:
            return errors
        variances = np.diag(cho_solve(factor, np.eye(inside.sum())))
        errors[self.free & ~ended] = np.sqrt(variances)
        return errors

    @property
    def _at_end(self) -> Bool[np.ndarray, " probability"]:
        found = self._sum[PROBABILITIES] / self._num_averaged
        return self.free[PROBABILITIES] & (found > MOST_LOGIT - FURTHEST)


def _as_point(coordinates: np.ndarray) -> Point:
    return Point(coordinates[: len(SHARED)], coordinates[len(SHARED) :])


def _solve(information: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """A Newton step; where the likelihood is not concave, one by each coordinate alone."""
    try:
        return cho_solve(cho_factor(information), slope)
    except LinAlgError:
        return slope / np.maximum(np.abs(np.diag(information)), 1e-12)
