"""What a fitted layer must show before it may judge a net, and what else is said of it.

Source: Dunn and Smyth 1996 for randomised quantile residuals.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import expit, log_expit, log_ndtr, ndtr, ndtri

from probrev.nets.fitting.likelihood import LayerData, Parameters
from probrev.nets.fitting.maximum import Held, StandardErrors
from probrev.plumbing.readable import readable

# Shares of zeros, as predicted and as they are, may differ by so much.
MOST_ZERO_GAP = 0.01
# Standard deviations of quantile residuals.
LEAST_SPREAD, MOST_SPREAD = 0.9, 1.1
# Standard errors over observations by which a likelihood must be higher.
CLEAR = 2.0
# A value that so large a share of what is not 0 has is an atom, which no density has.
MOST_REPEATED = 0.01
# Rows are as good as independent where the residuals are of so large a share of them.
INDEPENDENT_SHARE = 0.8


@readable
class Check(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: a word for a table.
        value: what came out.
        std_error: of the value; NaN where it has none.
        wanted: what it should be, in words; empty where nothing is asked.
        holds: whether it is so; true where nothing is asked.
        sentence: what it means.
    """

    name: str
    value: float
    std_error: float
    wanted: str
    holds: bool
    sentence: str

    @property
    def is_gate(self) -> bool:
        """Whether it withholds the verdict where it does not hold."""
        return bool(self.wanted)


@readable
class Residuals(NamedTuple):
    """Randomised quantile residuals, independent N(0, 1) under the right layer.

    Attributes:
        std: their standard deviation, all rows together.
        excess_kurtosis: 0 for normal ones.
        effective_rows: (sum of eigenvalues)^2 / sum of squares, of their covariance over rows: the
            number of rows if these are independent, the fewer the more they share.
        mean_variance: variance of an observation's mean over its rows, times their number: 1 if
            they are independent.
        num_rows: rows that fire for some observation.
    """

    std: float
    excess_kurtosis: float
    effective_rows: float
    mean_variance: float
    num_rows: int


def draw_residuals(rng: np.random.Generator, data: LayerData, at: Parameters) -> Residuals:
    """Residuals of the rows that fire: Phi^-1 of where x_j lies in its law given h.

    Args:
        rng: for rows on an atom, of which the place in it is drawn.
        data: pairs in no fit.
        at: parameters of the layer.
    """
    live = data.fires
    data, b = data.rows(live), at.b[live]
    keep = at.keep_prob
    v = np.exp(at.log_t) * data.z + b
    below = keep * ndtr(-v)  # probability of what is below 0, which a flat makes 0
    value = keep * ndtr(np.exp(at.log_s) * data.values - v) + (1 - keep) * (data.values > 0)
    uniform = rng.uniform(size=v.shape)
    atom = uniform * (1 - keep + below) if data.has_flat else below + uniform * (1 - keep)
    place = np.where(data.seen, value, atom)
    residuals = ndtri(np.clip(place, 1e-15, 1 - 1e-15))
    std = residuals.std()
    return Residuals(
        std=float(std),
        excess_kurtosis=float(np.mean((residuals - residuals.mean()) ** 4) / std**4 - 3),
        effective_rows=_count_independent(residuals),
        mean_variance=float(residuals.mean(1).var() * residuals.shape[1]),
        num_rows=residuals.shape[1],
    )


def _count_independent(residuals: Float[np.ndarray, "obs visible"]) -> float:
    """(tr C)^2 / tr C^2, C the covariance over rows; at most their number.

    A sample covariance of n + 1 observations has a sum of squares that is too large by about
    (tr C)^2 / n, with which many independent rows would look like few.

    Source: Bai and Saranadasa 1996, of normal residuals.
    """
    num_obs, num_rows = residuals.shape
    n = num_obs - 1
    covariance = np.cov(residuals.T).reshape(num_rows, -1)
    trace, squares = np.trace(covariance) ** 2, (covariance**2).sum()
    if n < 2 or squares == 0:
        return float(num_rows)
    squares = n**2 / ((n - 1) * (n + 2)) * (squares - trace / n)
    return min(float(trace / max(squares, trace / num_rows)), float(num_rows))


def zero_share(data: LayerData, at: Parameters) -> Float[np.ndarray, "obs visible"]:
    """Probability that each row is 0 given h."""
    log_keep, log_drop = log_expit(at.logit_keep), log_expit(-at.logit_keep)
    if not data.has_flat:
        return np.full(data.z.shape, expit(-at.logit_keep))
    v = np.exp(at.log_t) * data.z + at.b
    return np.exp(np.logaddexp(log_drop, log_keep + log_ndtr(-v)))


def most_repeated(x: Float[np.ndarray, "obs visible"]) -> tuple[float, float]:
    """The value that is found most often among those that are not 0, and its share of them."""
    values, counts = np.unique(x[x != 0], return_counts=True)
    if not values.size:
        return 0.0, 0.0
    best = counts.argmax()
    return float(values[best]), float(counts[best] / counts.sum())


def check_layer(
    x: Float[np.ndarray, "held_out visible"],
    log_likelihood: Mapping[str, Float[np.ndarray, " held_out"]],
    zeros: tuple[float, float],
    residuals: Residuals,
    at: Parameters,
    errors: StandardErrors,
    held: Held,
) -> list[Check]:
    """All checks of a fitted layer on held-out pairs, gates first, in their order.

    Args:
        x: held out.
        log_likelihood: see `LayerFit`.
        zeros: see `LayerFit`.
        residuals: see `LayerFit`.
        at: the parameters.
        errors: of the parameters.
        held: what was not fitted.
    """
    return [
        _check_density(x),
        _check_rival(x, log_likelihood, "null", "a model without h, its rows independent"),
        _check_rival(x, log_likelihood, "gaussian", "Gaussian weights of the same mean and spread"),
        _check_zeros(zeros),
        _check_spread(residuals),
        _tell_rival(x, log_likelihood, "shuffled", "the h of other observations"),
        *_tell_residuals(residuals),
        _tell_tied_share(log_likelihood),
        *_tell_keep_prob(at, errors, held),
    ]


def tabulate_checks(checks: Sequence[Check]) -> pd.DataFrame:
    """Checks as a table: check, value, std_error, wanted, holds, sentence.

    `holds` is empty where nothing is asked.
    """
    table = pd.DataFrame(list(checks), columns=["check", *Check._fields[1:]])
    table["holds"] = table["holds"].astype(object).where(table["wanted"] != "", "")
    return table


def _check_density(x: np.ndarray) -> Check:
    value, share = most_repeated(x)
    holds = share <= MOST_REPEATED
    said = (
        f"Of the x that are not 0 the most frequent value has a share of {share:.2g}: x may have a "
        "density."
        if holds
        else f"{share:.0%} of the x that are not 0 are {value:.4g}: levels and caps, such as those "
        "of pixels, have no density, so nothing is claimed of this layer. Try a layer further up."
    )
    return Check("repeated values", share, np.nan, f"at most {MOST_REPEATED:g}", holds, said)


def _gap(
    x: np.ndarray, log_likelihood: Mapping[str, np.ndarray], rival: str
) -> tuple[float, float]:
    """Nats per row by which the layer is above something, and the standard error."""
    gap = (log_likelihood["model"] - log_likelihood[rival]) / x.shape[1]
    return float(gap.mean()), float(gap.std(ddof=1) / np.sqrt(len(gap)))


def _check_rival(
    x: np.ndarray, log_likelihood: Mapping[str, np.ndarray], rival: str, what: str
) -> Check:
    gap, error = _gap(x, log_likelihood, rival)
    holds = gap > CLEAR * error
    said = f"Held-out x has {gap:+.3f} ± {error:.3f} nats a row against {what}."
    if not holds:
        said += " The layer does not carry x: W^T is not its way down. Try another layer."
    return Check(f"above {rival}", gap, error, f"above {CLEAR:g} standard errors", holds, said)


def _tell_rival(
    x: np.ndarray, log_likelihood: Mapping[str, np.ndarray], rival: str, what: str
) -> Check:
    gap, error = _gap(x, log_likelihood, rival)
    said = f"Held-out x has {gap:+.3f} ± {error:.3f} nats a row against {what}."
    return Check(f"above {rival}", gap, error, "", True, said)


def _check_zeros(zeros: tuple[float, float]) -> Check:
    predicted, actual = zeros
    gap = predicted - actual
    holds = abs(gap) <= MOST_ZERO_GAP
    said = f"A share of {actual:.3f} of held-out x is 0; the layer says {predicted:.3f}."
    if not holds:
        said += " Its dropout or its noise is not that of x. Try another layer of the net."
    return Check("zeros", gap, np.nan, f"within {MOST_ZERO_GAP:g}", holds, said)


def _check_spread(residuals: Residuals) -> Check:
    holds = LEAST_SPREAD <= residuals.std <= MOST_SPREAD
    said = (
        f"Quantile residuals of held-out x have standard deviation {residuals.std:.3f}, wanted 1."
    )
    if not holds:
        said += " The noise is not that of x. Try another layer of the net."
    wanted = f"{LEAST_SPREAD:g} to {MOST_SPREAD:g}"
    return Check("residual spread", residuals.std, np.nan, wanted, holds, said)


def _tell_residuals(residuals: Residuals) -> list[Check]:
    together = ": they err together, so that x says less of h than the layer takes it to."
    if residuals.effective_rows > INDEPENDENT_SHARE * residuals.num_rows:
        together = ": next to none err together."
    alike = "alike" if residuals.mean_variance > 1 else "against each other"
    return [
        Check(
            "excess kurtosis", residuals.excess_kurtosis, np.nan, "", True,
            f"Residuals have excess kurtosis {residuals.excess_kurtosis:.2f}; a normal law has 0.",
        ),
        Check(
            "effective rows", residuals.effective_rows, np.nan, "", True,
            f"{residuals.num_rows} rows have the residuals of about {residuals.effective_rows:.0f} "
            f"independent ones{together}",
        ),
        Check(
            "mean variance", residuals.mean_variance, np.nan, "", True,
            f"An observation's mean residual varies {residuals.mean_variance:.1f} times as much as "
            f"under independent rows: its rows err {alike}.",
        ),
    ]  # fmt: skip


def tied_share(log_likelihood: Mapping[str, Float[np.ndarray, " held_out"]]) -> float:
    """How much of what a decoder of its own weights adds to the null W^T adds; NaN if nothing."""
    model, null, decoder = (log_likelihood[name].mean() for name in ("model", "null", "decoder"))
    return float((model - null) / (decoder - null)) if decoder > null else np.nan


def _tell_tied_share(log_likelihood: Mapping[str, np.ndarray]) -> Check:
    share = tied_share(log_likelihood)
    said = (
        f"W^T gives {share:.2f} of what a decoder with weights of its own adds to the null."
        if not np.isnan(share)
        else "A decoder with weights of its own adds nothing to the null."
    )
    return Check("tied share", share, np.nan, "", True, said)


def _tell_keep_prob(at: Parameters, errors: StandardErrors, held: Held) -> list[Check]:
    if held.keep_prob is not None:
        return []
    said = f"x is masked in a share {1 - at.keep_prob:.4f} of its entries."
    if np.isinf(at.logit_keep):
        said = "keep_prob is 1, the end of its range: no 0 of x needs dropout."
    return [Check("keep_prob", at.keep_prob, errors.keep_prob, "", True, said)]
