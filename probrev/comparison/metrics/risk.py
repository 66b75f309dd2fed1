"""Squared error against the truth and against the posterior mean, and their ratio R."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from probrev.comparison.metrics.case import (
    INTERVAL_PROB,
    POSTERIOR,
    Case,
    Measured,
    Row,
    row_of_mean,
    row_of_ratio,
)
from probrev.comparison.metrics.family import MetricFamily
from probrev.comparison.metrics.log_ratio import estimate_ratios
from probrev.model.observations import Origin
from probrev.posterior.posterior import EXTERNAL, Kind

ROUNDING = 1e-20  # of ||h||^2: squared errors below it are those of float64
# A posterior is rejected where an interval of this probability for claimed / actual excludes 1.
REJECTION_PROB = 0.999
# A sum this many of its Monte Carlo standard errors from 0 has a sign.
CLEAR_OF_NOISE = 2.0


class RatioTerms(NamedTuple):
    """What R is a ratio of, per observation.

    Attributes:
        numerator: (inverse, obs).
        denominator: (obs).
        denominator_error: Monte Carlo standard error of the denominator's sum.
    """

    numerator: Float[np.ndarray, "inverse obs"]
    denominator: Float[np.ndarray, " obs"]
    denominator_error: float


def risk(case: Case) -> Measured:
    """Squared errors of each inverse and of the posterior mean, and how they must add up.

    Risks are pooled, sum ||g - h||^2 / sum ||h||^2, never a mean of ratios (h = 0 happens).
    `excess_risk` is ||g - E[h|x]||^2 per observation, which for any g of x alone is exactly what
    g's squared error exceeds the Bayes risk by.

    `risk_ratio` is R, the risk of an inverse over that of the posterior mean, infinite where the
    posterior recovers h and the inverse does not. Where x and h are from the model and the
    posterior is of the same model and ours, it is 1 + excess / posterior variance, which has the
    same expectation and spares the noise of the h that made x; R with h then stands beside it as
    `risk_ratio_with_h`. So it is without a truth. Elsewhere `risk_ratio` is R with h.

    `claimed_over_actual` is the posterior's variance over the squared error of its mean: 1 for the
    law that h given x has. `claimed_over_actual_999` is the same with a 99.9 % interval.

    Monte Carlo noise xi in the posterior mean adds E||xi||^2 to the excess and to the mean's
    squared error, and takes it off the variance about it; all are corrected for it.

    Source: the bias-variance identity E||g-h||^2 = E||E[h|x]-h||^2 + E||g-E[h|x]||^2, and
    E||E[h|x]-h||^2 = E tr Var[h|x].
    """
    arrays = squared_errors(case)
    names = case.estimates["inverse"].to_numpy()
    excess = arrays["excess_risk"]
    rows = [row_of_mean("excess_risk", name, excess.sel(inverse=name).to_numpy()) for name in names]
    forms = {"risk_ratio": ratio_terms(case, arrays)}
    if case.truth is not None:
        energy = (case.truth**2).sum("hidden").to_numpy()
        for name, error in (
            (POSTERIOR, arrays["bayes_squared_error"]),
            *((name, arrays["squared_error"].sel(inverse=name)) for name in names),
        ):
            rows.append(row_of_ratio("relative_risk", name, error.to_numpy(), energy, case.seed))
        claimed = arrays["claimed_risk"].to_numpy()
        rows.append(row_of_ratio("claimed_relative_risk", POSTERIOR, claimed, energy, case.seed))
        rows += _calibration(case, arrays)
        if spares_truth(case):
            forms["risk_ratio_with_h"] = _terms_with_truth(case, arrays)
    for metric, terms in forms.items():
        rows += _ratio_rows(metric, case, terms)
    return Measured(arrays, rows)


RISK = MetricFamily(
    risk,
    {
        "relative_risk": "Squared error against the truth, Σ‖ĥ − h‖² / Σ‖h‖², over all "
        "observations. Of a random inverse: of the mean of its samples.",
        "claimed_relative_risk": "The relative risk that the posterior expects of its own mean: "
        "its variance over Σ‖h‖². Near its relative risk if the posterior is honest.",
        "risk_ratio": "Risk over the risk of the posterior mean, R; 1 is as good as Bayes. Where "
        "the model made x and h, and without a truth: 1 + excess risk / posterior variance, the "
        "same in expectation.",
        "risk_ratio_with_h": "R from squared errors against the h that made x: the check of the "
        "above.",
        "claimed_over_actual": "The posterior's variance over the squared error of its mean: 1 if "
        "the posterior is honest, below 1 if it is too sure.",
        "claimed_over_actual_999": "The same with a 99.9 % interval: one without 1 rejects.",
        "excess_risk": "Mean of ‖ĥ − E[h|x]‖² per observation, in units of h²: what an inverse "
        "loses to Bayes. Monte Carlo noise of the posterior mean is taken off.",
    },
)


def squared_errors(case: Case) -> dict[str, xr.DataArray]:
    """What risks are made of, each per observation.

    `excess_risk` (inverse, obs), and `claimed_risk`, the posterior's total variance; where there is
    a truth also `squared_error` (inverse, obs) and `bayes_squared_error`.
    """
    mean, noise = case.posterior.mean, case.posterior.mean_error_var.sum("hidden")
    arrays = {
        "excess_risk": ((case.estimates - mean) ** 2).sum("hidden") - noise,
        "claimed_risk": case.posterior.var.sum("hidden") + noise,
    }
    if case.truth is not None:
        arrays["squared_error"] = ((case.estimates - case.truth) ** 2).sum("hidden")
        arrays["bayes_squared_error"] = ((mean - case.truth) ** 2).sum("hidden") - noise
    return arrays


def spares_truth(case: Case) -> bool:
    """Whether R may take the posterior's word for what h would tell.

    It may where h is a draw from p(h | x) under the posterior's model, and the posterior is ours
    and stands for that law: not an approximation, and not one from elsewhere.
    """
    return (
        case.origin is Origin.MODEL
        and case.posterior.kind is not Kind.APPROXIMATE
        and case.posterior.method != EXTERNAL
    )


def ratio_terms(case: Case, arrays: dict[str, xr.DataArray]) -> RatioTerms:
    """What `risk_ratio` is a ratio of.

    Args:
        case: the posterior and the estimates.
        arrays: what `squared_errors` found.
    """
    if case.truth is not None and not spares_truth(case):
        return _terms_with_truth(case, arrays)
    claimed = arrays["claimed_risk"]
    total = (arrays["excess_risk"] + claimed).transpose("inverse", "obs")
    # The variance is known to a share of 1 / sqrt(ESS): its sum is always clear of 0.
    return RatioTerms(total.to_numpy(), claimed.to_numpy(), 0.0)


def _terms_with_truth(case: Case, arrays: dict[str, xr.DataArray]) -> RatioTerms:
    assert case.truth is not None
    noise = case.posterior.mean_error_var
    # Var of (mean - h)^2 when the mean is off by a normal of variance `noise`.
    spread = 4 * (case.posterior.mean - case.truth) ** 2 * noise + 2 * noise**2
    error = arrays["squared_error"].transpose("inverse", "obs").to_numpy()
    return RatioTerms(error, arrays["bayes_squared_error"].to_numpy(), float(np.sqrt(spread.sum())))


def _ratio_rows(metric: str, case: Case, terms: RatioTerms) -> list[Row]:
    """A row per inverse; a value alone where the denominator is lost in noise, or has no sign."""
    numerator, denominator, error = terms
    names = case.estimates["inverse"].to_numpy()
    rounding = ROUNDING * float((case.estimates**2).sum())
    if error == 0 and abs(denominator.sum()) <= rounding:
        return [
            _row_of_certainty(metric, name, own, rounding)
            for name, own in zip(names, numerator, strict=True)
        ]
    denominators = np.broadcast_to(denominator, numerator.shape)
    rng, probs = case.rng(f"bootstrap/{metric}"), (case.interval_prob,)
    found = estimate_ratios(numerator, denominators, rng, probs)
    if denominator.sum() < CLEAR_OF_NOISE * error:
        return [Row(metric, name, one.value) for name, one in zip(names, found, strict=True)]
    return [
        Row(metric, name, one.value, one.std_error, *one.intervals[0])
        for name, one in zip(names, found, strict=True)
    ]


def _row_of_certainty(metric: str, name: str, own: np.ndarray, rounding: float) -> Row:
    """R where the posterior recovers h: infinite, or 1 where the inverse does too."""
    value = 1.0 if own.sum() <= rounding else np.inf
    return Row(metric, name, value, low=value, high=value)


def _calibration(case: Case, arrays: dict[str, xr.DataArray]) -> list[Row]:
    """Claimed over actual squared error of the posterior mean, with two intervals."""
    claimed, actual = (arrays[name].to_numpy() for name in ("claimed_risk", "bayes_squared_error"))
    # Where the posterior recovers h, both are rounding.
    if max(claimed.sum(), abs(actual.sum())) <= ROUNDING * float((case.estimates**2).sum()):
        return []
    probs = (INTERVAL_PROB, REJECTION_PROB)
    rng = case.rng("bootstrap/claimed_over_actual")
    (found,) = estimate_ratios(claimed[None], actual[None], rng, probs)
    return [
        Row(metric, POSTERIOR, found.value, found.std_error, *interval)
        for metric, interval in zip(
            ("claimed_over_actual", "claimed_over_actual_999"), found.intervals, strict=True
        )
    ]
