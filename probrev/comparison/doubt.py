"""Why a posterior may not judge: what the table of a comparison says against it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from probrev.comparison.metrics.case import POSTERIOR
from probrev.comparison.verdict import Doubt, Word
from probrev.model.observations import Origin
from probrev.nets.fitting.checks import Check
from probrev.posterior.agreement import Outcome
from probrev.posterior.posterior import Kind, Posterior
from probrev.posterior.status import Status

# Level of each test; that of x is shared out among its statistics.
LEVEL = 1e-3
# A prior fitted to real h is never right, and need not be: its posterior may claim so many times
# the squared error that it makes, or so many times less.
MOST_OFF = 1.3
STATISTICS = {
    "zero_share": "share of zeros",
    "norm": "norm",
    "log_likelihood": "log p(x | h)",
}


def find_doubt(
    name: str,
    posterior: Posterior,
    origin: Origin,
    table: pd.DataFrame,
    *,
    disagreement: str = "",
    checks: Sequence[Check] | None = None,
) -> Doubt | None:
    """What forbids a posterior to judge, or None.

    First what it says of itself, its status, and its agreement with a better one: "inconclusive".
    Then three tests, each at level 1e-3: whether the h that made x could be draws from it, whether
    the error that it claims is the one it makes (a 99.9 % interval of the ratio), and whether it
    predicts x. Where x and h are from the model the model is right, so that evidence speaks against
    the posterior: "inconclusive"; so it may where the posterior is an approximation. Else it speaks
    against the prior, or where x is from elsewhere the layers: "misfit".

    Under a model that was fitted to a real net, its checks come before all: one that does not hold
    is a misfit. In the place of the first two tests, of which any prior of real h fails if only
    there are enough of them, is the claim within 1.3 times the squared error: a 95 % interval that
    lies outside is a misfit.

    Args:
        name: of the posterior.
        posterior: the posterior.
        origin: where the observations come from, as seen from its model.
        table: metrics of the comparison.
        disagreement: in what it disagrees with a better posterior, or with chains of its own from
            the truth; empty if in nothing.
        checks: of the fit of the model to a real net, see `FittedLevel.checks`; None of a model
            that was not fitted.
    """
    failed = [check.sentence for check in checks or () if not check.holds]
    if failed:
        return Doubt(Word.MISFIT, " ".join(failed).removesuffix("."))
    if posterior.status is not Status.OK:
        reason = f"{name} is {posterior.status} ({posterior.status_reason})"
        return Doubt(Word.INCONCLUSIVE, reason)
    if disagreement:
        return Doubt(Word.INCONCLUSIVE, disagreement)
    rows = table.query(f"posterior == @name and subject == {POSTERIOR!r}")
    found = {row["metric"]: row for row in rows.to_dict(orient="records")}
    by_truth = _truth_evidence if checks is None else _claim_evidence
    evidence = [*by_truth(name, found), *_predictive_evidence(name, found)]
    if not evidence:
        return None
    is_model_right = origin is Origin.MODEL or posterior.kind is Kind.APPROXIMATE
    word = Word.INCONCLUSIVE if is_model_right else Word.MISFIT
    return Doubt(word, "; ".join(evidence))


def doubt_starts(name: str, starts: Mapping[str, Any]) -> str:
    """What chains that start at the h that made x say against blind ones; empty if nothing.

    Args:
        name: of the posterior.
        starts: what `compare_starts` found.
    """
    outcome, reason = starts["starts"], starts["starts_reason"]
    if outcome == Outcome.AGREES:
        return ""
    said = "end elsewhere" if outcome == Outcome.DISAGREES else "say nothing"
    return f"{name} from the h that made x: its chains {said} ({reason})"


def _truth_evidence(name: str, found: dict) -> list[str]:
    """What the h that made x say against it."""
    evidence = []
    if "truth_rank_p" in found and found["truth_rank_p"]["value"] <= LEVEL:
        p = found["truth_rank_p"]["value"]
        evidence.append(f"the h given with x are no draws from {name} (rank test, p = {p:.1g})")
    row = found.get("claimed_over_actual_999")
    if row is not None and not _may_be_one(row["low"], row["high"]):
        evidence.append(
            f"{name} claims {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}] of the "
            "squared error that it makes (99.9 % interval)"
        )
    return evidence


def is_claim_open(name: str, table: pd.DataFrame) -> bool:
    """Whether it is not clear that a posterior's claim is within 1.3 times its squared error.

    A posterior mean under a wrong prior has no smaller risk than under the right one, so that
    "far" stands all the same.
    """
    rows = table.query(f"posterior == @name and subject == {POSTERIOR!r}")
    rows = rows.query("metric == 'claimed_over_actual'").to_dict(orient="records")
    low, high = (rows[0]["low"], rows[0]["high"]) if rows else (math.nan, math.nan)
    return not (low >= 1 / MOST_OFF and high <= MOST_OFF)


def _claim_evidence(name: str, found: dict) -> list[str]:
    """Whether its claim is so far from the squared error that the prior does not fit h."""
    row = found.get("claimed_over_actual")
    if row is None or not (row["low"] > MOST_OFF or row["high"] < 1 / MOST_OFF):
        return []
    return [
        f"the prior does not fit h: {name} claims {row['value']:.2f} [{row['low']:.2f}, "
        f"{row['high']:.2f}] of the squared error that it makes, wanted between "
        f"{1 / MOST_OFF:.2f} and {MOST_OFF:g}"
    ]


def _may_be_one(low: float, high: float) -> bool:
    """Whether an interval holds 1; one that is not known does."""
    return not (low > 1 or high < 1)


def _predictive_evidence(name: str, found: dict) -> list[str]:
    """What x says against it."""
    return [
        f"{found[f'predictive_surprise_{statistic}']['value']:.0%} of the observations have a "
        f"{what} outside the central 90 % of what {name} predicts "
        f"(p = {found[f'predictive_p_{statistic}']['value']:.1g})"
        for statistic, what in STATISTICS.items()
        if f"predictive_p_{statistic}" in found
        and found[f"predictive_p_{statistic}"]["value"] <= LEVEL / len(STATISTICS)
    ]
