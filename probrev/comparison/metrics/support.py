"""Which units are active: the net's guess, the truth, and the posterior's probabilities."""

import numpy as np
import xarray as xr

from probrev.comparison.metrics.case import (
    POSTERIOR,
    Case,
    Measured,
    Row,
    row_of_mean,
    row_of_ratio,
    row_of_share,
)
from probrev.comparison.metrics.family import MetricFamily
from probrev.posterior.posterior import Kind


def support(case: Case) -> Measured:
    """Support recovery; empty where the posterior has no atom at 0.

    Precision, recall, F1 and exact match need the truth; they are pooled over observations, and
    given for the posterior's own guess too (inclusion probability above 1/2). `support_prob` is the
    posterior probability of exactly an inverse's support. Brier and log score judge the inclusion
    probabilities against the truth.
    """
    if not case.has_atom:
        return Measured()
    guess = case.estimates > 0
    # One inverse at a time: all at once would be as many copies of the draws.
    support_prob = xr.concat([_match(case, one) for one in guess], dim=guess["inverse"])
    arrays = {"support_prob": support_prob}
    names = guess["inverse"].to_numpy()
    rows = [row_of_share("support_prob", n, support_prob.sel(inverse=n).to_numpy()) for n in names]
    if case.truth is None:
        return Measured(arrays, rows)
    active = (case.truth > 0).to_numpy()
    inclusion = case.posterior.inclusion_prob
    for name in names:
        rows += _recovery(name, guess.sel(inverse=name).to_numpy(), active, case.seed)
    rows += _recovery(POSTERIOR, inclusion.to_numpy() > 0.5, active, case.seed)
    brier = (inclusion - active) ** 2
    log_score = _log_score(inclusion, active, case)
    arrays |= {"brier": brier, "log_score": log_score}
    rows += [
        row_of_share("brier", POSTERIOR, brier.mean("hidden").to_numpy()),
        row_of_mean("log_score", POSTERIOR, log_score.mean("hidden").to_numpy()),
    ]
    return Measured(arrays, rows)


SUPPORT = MetricFamily(
    support,
    {
        "support_prob": "Posterior probability that exactly the estimate's units are active.",
        "support_precision": "Of the units called active, the share that is.",
        "support_recall": "Of the active units, the share called active.",
        "support_f1": "Harmonic mean of precision and recall.",
        "support_exact_match": "Share of observations whose active units are all found, and no "
        "other.",
        "brier": "Mean squared error of the inclusion probabilities as forecasts of which units "
        "are active; 0 is perfect.",
        "log_score": "Mean of −log of the probability given to what is true, per unit; 0 is "
        "perfect.",
    },
)


def _match(case: Case, guess: xr.DataArray) -> xr.DataArray:
    """Posterior probability that the support is exactly the guess, per observation."""
    return ((case.draws > 0) == guess).all("hidden").mean("sample")


def _recovery(name: str, guess: np.ndarray, active: np.ndarray, seed: int) -> list[Row]:
    """Precision, recall, F1 and exact match of a guessed support."""
    hits = (guess & active).sum(1)
    guessed, wanted = guess.sum(1), active.sum(1)
    return [
        row_of_ratio("support_precision", name, hits, guessed, seed),
        row_of_ratio("support_recall", name, hits, wanted, seed),
        row_of_ratio("support_f1", name, 2 * hits, guessed + wanted, seed),
        row_of_share("support_exact_match", name, (guess == active).all(1)),
    ]


def _log_score(inclusion: xr.DataArray, active: np.ndarray, case: Case) -> xr.DataArray:
    """-log of the probability given to what is true.

    A probability estimated by n draws is moved by half a draw, so that a unit that was never seen
    on does not cost an infinite score.
    """
    prob = inclusion.where(xr.DataArray(active, dims=inclusion.dims), 1 - inclusion)
    if case.posterior.kind is Kind.SAMPLED:
        num_draws = case.draws.sizes["sample"]
        prob = (prob * num_draws + 0.5) / (num_draws + 1)
    return -xr.apply_ufunc(np.log, prob)
