"""Squared error against the truth and against the posterior mean."""

import numpy as np

from probrev.metrics.case import POSTERIOR, Case, Measured, Row, row_of_mean, row_of_ratio


def risk(case: Case) -> Measured:
    """Squared errors of each inverse and of the posterior mean, and how they must add up.

    Risks are pooled, sum ||g - h||^2 / sum ||h||^2, never a mean of ratios (h = 0 happens).
    `risk_ratio` is the risk of an inverse over that of the posterior mean; without a truth it is
    1 + excess / posterior variance, the same number in expectation. `excess_risk` is
    ||g - E[h|x]||^2 per observation, which for any g of x alone is exactly what g's squared error
    exceeds the Bayes risk by; `identity_z` tests that. Monte Carlo noise xi in the posterior mean
    adds E||xi||^2 to the excess and to the posterior's squared error; both are corrected for it.

    Source: the bias-variance identity E||g-h||^2 = E||E[h|x]-h||^2 + E||g-E[h|x]||^2.
    """
    mean, noise = case.posterior.mean, case.posterior.mean_error_var.sum("hidden")
    excess = ((case.estimates - mean) ** 2).sum("hidden") - noise
    claimed = case.posterior.var.sum("hidden")
    arrays = {"excess_risk": excess, "claimed_risk": claimed}
    names = case.estimates["inverse"].to_numpy()
    rows = [row_of_mean("excess_risk", name, excess.sel(inverse=name).to_numpy()) for name in names]
    if case.truth is None:
        total = (excess + claimed).to_numpy()
        for index, name in enumerate(names):
            ratio = row_of_ratio("risk_ratio", name, total[index], claimed.to_numpy(), case.seed)
            rows.append(ratio)
        return Measured(arrays, rows)
    error = ((case.estimates - case.truth) ** 2).sum("hidden")
    bayes = ((mean - case.truth) ** 2).sum("hidden") - noise
    arrays |= {"squared_error": error, "bayes_squared_error": bayes}
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
            row_of_ratio("risk_ratio", name, own, bayes_error, case.seed),
            Row("identity_z", name, _z_score(residual)),
        ]
    return Measured(arrays, rows)


def _z_score(residual: np.ndarray) -> float:
    """Mean over its standard error; 0 where both vanish."""
    mean, spread = residual.mean(), residual.std(ddof=1) if residual.size > 1 else np.nan
    return 0.0 if mean == 0 else float(mean / (spread / np.sqrt(residual.size)))
