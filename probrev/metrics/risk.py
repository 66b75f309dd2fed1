"""Squared error against the truth and against the posterior mean."""

import numpy as np
import xarray as xr

from probrev.metrics.case import POSTERIOR, Case, Measured, Row, row_of_mean, row_of_ratio

ROUNDING = 1e-20  # of ||h||^2: squared errors below it are those of float64


def risk(case: Case) -> Measured:
    """Squared errors of each inverse and of the posterior mean, and how they must add up.

    Risks are pooled, sum ||g - h||^2 / sum ||h||^2, never a mean of ratios (h = 0 happens).
    `risk_ratio` is the risk of an inverse over that of the posterior mean, infinite where the
    posterior recovers h and the inverse does not; without a truth it is 1 + excess / posterior
    variance, the same number in expectation. `excess_risk` is ||g - E[h|x]||^2 per observation,
    which for any g of x alone is exactly what g's squared error exceeds the Bayes risk by;
    `identity_z` tests that. Monte Carlo noise xi in the posterior mean adds E||xi||^2 to the excess
    and to the posterior's squared error; both are corrected for it.

    Source: the bias-variance identity E||g-h||^2 = E||E[h|x]-h||^2 + E||g-E[h|x]||^2.
    """
    arrays = squared_errors(case)
    excess, claimed = arrays["excess_risk"], arrays["claimed_risk"]
    names = case.estimates["inverse"].to_numpy()
    rows = [row_of_mean("excess_risk", name, excess.sel(inverse=name).to_numpy()) for name in names]
    if case.truth is None:
        total = (excess + claimed).to_numpy()
        for index, name in enumerate(names):
            ratio = row_of_ratio("risk_ratio", name, total[index], claimed.to_numpy(), case.seed)
            rows.append(ratio)
        return Measured(arrays, rows)
    error, bayes = arrays["squared_error"], arrays["bayes_squared_error"]
    energy = (case.truth**2).sum("hidden").to_numpy()
    bayes_error = bayes.to_numpy()
    rows += [
        row_of_ratio("relative_risk", POSTERIOR, bayes_error, energy, case.seed),
        row_of_ratio("claimed_relative_risk", POSTERIOR, claimed.to_numpy(), energy, case.seed),
    ]
    for name in names:
        own = error.sel(inverse=name).to_numpy()
        # With the noise corrected in both, the residual is shifted by -2 E||xi||^2 + 2 E||xi||^2.
        residual = own - bayes_error - excess.sel(inverse=name).to_numpy()
        rows += [
            row_of_ratio("relative_risk", name, own, energy, case.seed),
            _risk_ratio(name, own, bayes_error, energy, case.seed),
            Row("identity_z", name, _z_score(residual)),
        ]
    return Measured(arrays, rows)


def squared_errors(case: Case) -> dict[str, xr.DataArray]:
    """What risks are made of, each per observation.

    `excess_risk` (inverse, obs), and `claimed_risk`, the posterior's variance; where there is a
    truth also `squared_error` (inverse, obs) and `bayes_squared_error`.
    """
    mean, noise = case.posterior.mean, case.posterior.mean_error_var.sum("hidden")
    arrays = {
        "excess_risk": ((case.estimates - mean) ** 2).sum("hidden") - noise,
        "claimed_risk": case.posterior.var.sum("hidden"),
    }
    if case.truth is not None:
        arrays["squared_error"] = ((case.estimates - case.truth) ** 2).sum("hidden")
        arrays["bayes_squared_error"] = ((mean - case.truth) ** 2).sum("hidden") - noise
    return arrays


def _risk_ratio(
    name: str, own: np.ndarray, bayes: np.ndarray, energy: np.ndarray, seed: int
) -> Row:
    """The ratio, which without noise is infinite, or 1, once rounding is taken for the 0 it is."""
    rounding = ROUNDING * energy.sum()
    if abs(bayes.sum()) > rounding:
        return row_of_ratio("risk_ratio", name, own, bayes, seed)
    value = 1.0 if own.sum() <= rounding else np.inf
    return Row("risk_ratio", name, value, low=value, high=value)


def _z_score(residual: np.ndarray) -> float:
    """Mean over its standard error; 0 where both vanish."""
    mean, spread = residual.mean(), residual.std(ddof=1) if residual.size > 1 else np.nan
    return 0.0 if mean == 0 else float(mean / (spread / np.sqrt(residual.size)))
