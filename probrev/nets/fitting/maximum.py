"""The likeliest parameters of a layer, and how far images that came by chance may move them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import logit, ndtr

from probrev.nets.fitting.likelihood import (
    Arrow,
    LayerData,
    Parameters,
    differentiate_twice,
    log_likelihood,
)
from probrev.plumbing.readable import readable
from probrev.plumbing.refusal import Refusal

# Where the search for keep_prob begins: zeros that are dropout's, and zeros that are the noise's.
STARTS = (0.5, 0.98)
# Beyond these log odds the likelihood is that of no dropout.
MOST_LOGIT = 15.0
MOST_STEPS = 500
# A step is the last where it can gain no more than so many nats.
TOLERANCE = 1e-9
# Shared parameters go no further at a time: t = 0 is a plateau on the scale of its logarithm.
FURTHEST = 2.0
# Damping of a step, and how it changes where a step gains nothing.
LEAST_DAMPING, MOST_DAMPING, FACTOR = 1e-8, 1e8, 10.0


class Held(NamedTuple):
    """What is not fitted; None where it is.

    Attributes:
        keep_prob: probability that a row survives dropout.
        noise_std: noise on W h.
        gain: what an activated row is multiplied by.
        bias: whether rows have a bias.
    """

    keep_prob: float | None
    noise_std: float | None
    gain: float | None
    bias: bool

    @property
    def directions(self) -> Float[np.ndarray, "3 free"]:
        """Ways in which log_s, log_t and logit_keep may go, a column each."""
        if self.gain is None:
            ways = [[1, 0, 0]] + ([[0, 1, 0]] if self.noise_std is None else [])
        else:
            ways = [[1, 1, 0]] if self.noise_std is None else []
        ways += [[0, 0, 1]] if self.keep_prob is None else []
        return np.array(ways, float).reshape(-1, 3).T


@readable
class StandardErrors(NamedTuple):
    """Standard errors of what was fitted; 0 for what was held, NaN where there is none.

    Attributes:
        keep_prob: see `Layer`; NaN at 1, the end of its range.
        noise_std: see `Layer`.
        gain: see `Layer`.
        bias: see `Layer`, of each row; NaN for a row that never fires.
    """

    keep_prob: float
    noise_std: float
    gain: float
    bias: Float[np.ndarray, " visible"]


def maximise(data: LayerData, held: Held) -> Parameters:
    """The parameters of the highest likelihood.

    A row that never fires has no likeliest bias, since lower is always better: it gets the one at
    which it would fire half a time in one observation more. Without a flat at 0 such a row was
    dropped throughout, and its bias, of which nothing is known, is 0.

    Args:
        data: at least one row that fires.
        held: what is not fitted.

    Raises:
        ValueError: x follows from h without noise.
    """
    live = _told(data, held)
    rows = data.rows(live)
    starts = STARTS if held.keep_prob is None else (held.keep_prob,)
    found = [_climb(rows, _begin(rows, held, keep_prob), held) for keep_prob in starts]
    if held.keep_prob is None:
        none = [at._replace(logit_keep=np.inf) for at in found if at.logit_keep > MOST_LOGIT]
        found = [at for at in found if at.logit_keep <= MOST_LOGIT]
        found += [_climb(rows, at, held._replace(keep_prob=1.0)) for at in none[:1]]
    best = max(found, key=lambda at: log_likelihood(rows, at).sum())
    b = np.zeros(live.size)
    b[live] = best.b
    best = best._replace(b=b)
    return best if live.all() else _quieten(data, best, ~live)


def standard_errors(data: LayerData, at: Parameters, held: Held) -> StandardErrors:
    """Standard errors that allow for rows of one observation that err together.

    Source: Huber 1967 and White 1982 (the sandwich), by observation.
    """
    live, ways = _told(data, held), held.directions
    if np.isinf(at.logit_keep):
        ways = ways[:, ways[2] == 0]
    found, hessian = differentiate_twice(data.rows(live), at._replace(b=at.b[live]))
    known = data.fires if held.bias else live
    hessian = hessian._replace(mixed=hessian.mixed[:, known[live]], own=hessian.own[known[live]])
    arrow = _information(hessian, ways)
    moved, own = _solve(arrow, (found.shared @ ways).T, found.own.T[known[live]], held.bias)
    log_s, log_t, logit_keep = ways @ moved
    by_bias = np.zeros((live.size, len(data.z)))
    if held.bias:
        by_bias[~known] = np.nan
        by_bias[known] = at.noise_std * (own - np.outer(at.b[known], log_t))
    keep = at.keep_prob
    end = np.nan if held.keep_prob is None and np.isinf(at.logit_keep) else 1.0
    return StandardErrors(
        float(_spread(keep * (1 - keep) * logit_keep)) * end,
        float(_spread(at.noise_std * log_t)),
        float(_spread(at.gain * (log_t - log_s))),
        _spread(by_bias),
    )


def _told(data: LayerData, held: Held) -> np.ndarray:
    """Rows that tell of what rows share: all but those on a flat that their bias may explain."""
    return data.fires if held.bias and data.has_flat else np.ones(data.z.shape[1], bool)


def _spread(influence: Float[np.ndarray, "*size obs"]) -> np.ndarray:
    count = influence.shape[-1]
    return np.sqrt((influence**2).sum(-1) * count / max(count - 1, 1))


def _begin(data: LayerData, held: Held, keep_prob: float) -> Parameters:
    """Somewhere to begin: noise half of what is seen, the gain by least squares."""
    values, z = data.values[data.seen], data.z[data.seen]
    gain = held.gain
    if gain is None:
        gain = max((values @ z) / max(z @ z, 1e-300), 0.1 * np.sqrt((values @ values) /
                   max(z @ z, 1e-300)))  # fmt: skip
    noise_std = held.noise_std
    if noise_std is None:
        noise_std = 0.5 * np.sqrt(np.mean(values**2)) / gain
    chance = np.inf if keep_prob == 1 else float(logit(keep_prob))
    return Parameters(
        -float(np.log(gain * noise_std)), -float(np.log(noise_std)), chance,
        np.zeros(data.z.shape[1]),
    )  # fmt: skip


def _climb(data: LayerData, at: Parameters, held: Held) -> Parameters:
    """Damped Newton steps to the top."""
    ways, damping = held.directions, 1e-3
    here, hessian = differentiate_twice(data, at)
    for _ in range(MOST_STEPS):
        best = here.log_likelihood.sum()
        slope, own_slope = here.shared.sum(0) @ ways, here.own.sum(0)
        while damping < MOST_DAMPING:
            arrow = _damped(_information(hessian, ways), damping)
            step, own_step = _solve(arrow, slope, own_slope, held.bias)
            gained = slope @ step + (own_slope @ own_step if held.bias else 0.0)
            move = ways @ step
            log_s, log_t, chance = map(float, at[:3] + move)
            there = Parameters(log_s, log_t, chance, at.b + own_step)
            if gained >= 0 and np.abs(move).max() <= FURTHEST:
                following, curvature = differentiate_twice(data, there)
                if following.log_likelihood.sum() >= best:
                    break
            damping *= FACTOR
        else:
            return at
        at, here, hessian = there, following, curvature
        damping = max(damping / FACTOR, LEAST_DAMPING)
        leaves = held.keep_prob is None and at.logit_keep > 2 * MOST_LOGIT
        if gained < TOLERANCE or leaves:
            return at
    raise Refusal(
        f"the likelihood still rises after {MOST_STEPS} steps, at noise_std = {at.noise_std:.3g}: "
        "x is a function of h but for rounding, and such a layer has no likeliest noise; give "
        "noise_std"
    )


def _information(hessian: Arrow, ways: np.ndarray) -> Arrow:
    """Minus the second derivatives, along the ways that are free."""
    return Arrow(-ways.T @ hessian.shared @ ways, -ways.T @ hessian.mixed, -hessian.own)


def _damped(arrow: Arrow, damping: float) -> Arrow:
    """A matrix nearer to its diagonal, which is positive."""
    own = np.maximum(arrow.own, 1e-6 * np.abs(arrow.own).max()) * (1 + damping)
    shared = arrow.shared + damping * np.diag(np.abs(np.diag(arrow.shared)) + 1e-12)
    return Arrow(shared, arrow.mixed, own)


def _solve(
    arrow: Arrow, first: np.ndarray, second: np.ndarray, has_bias: bool
) -> tuple[np.ndarray, np.ndarray]:
    if has_bias:
        return arrow.solve(first, second)
    return np.linalg.solve(arrow.shared, first), np.zeros_like(second)


def _quieten(data: LayerData, at: Parameters, dead: np.ndarray) -> Parameters:
    """Gives rows that never fire the bias at which they would half a time in N + 1."""
    tz = np.exp(at.log_t) * data.z[:, dead]
    wanted = 0.5 / (len(tz) + 1)
    low = -tz.max(0) - 40.0
    high = -tz.min(0) + 40.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        too_often = ndtr(tz + middle).mean(0) * at.keep_prob > wanted
        low, high = np.where(too_often, low, middle), np.where(too_often, middle, high)
    b = at.b.copy()
    b[dead] = low
    return at._replace(b=b)
