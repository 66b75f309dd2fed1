"""Verdicts: inverses held against posteriors, as far as the answer needs."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from probrev.comparison.agreements import (
    Agreements,
    distrust,
    find_disagreement,
    measure_agreements,
)
from probrev.comparison.doubt import doubt_starts, find_doubt, is_claim_open
from probrev.comparison.metrics import DECIDING, Case, Measured
from probrev.comparison.metrics.case import NAME, POSTERIOR, make_case
from probrev.comparison.metrics.family import measure
from probrev.comparison.metrics.risk import spares_truth
from probrev.comparison.verdict import Doubt, Ratio, Verdict, Word, judge
from probrev.inverses.estimates import Estimates
from probrev.model.observations import Observations
from probrev.model.protocol import Model, check_obs, check_pytree
from probrev.nets.fitting.checks import Check
from probrev.plumbing.refusal import Refusal
from probrev.posterior.external import External, from_datatree, note_draws
from probrev.posterior.posterior import Kind, Posterior


class Decision(NamedTuple):
    """The verdicts of a comparison, and what they were made from.

    Attributes:
        model: the model of x.
        obs: the observations.
        estimates: the inverses' on all of them.
        cases: of each posterior, by its name: the posterior and the estimates on what it covers.
        measured: what the deciding metrics found, by posterior.
        agreements: of posteriors with better ones.
        doubts: of each posterior why it may not judge, or None.
        verdicts: one per inverse and posterior, those of the judge first.
        starts: what `compare_starts` found of the judge; None where it was not asked.
    """

    model: Model
    obs: Observations
    estimates: Estimates
    cases: dict[str, Case]
    measured: dict[str, Measured]
    agreements: Agreements
    doubts: dict[str, Doubt | None]
    verdicts: list[Verdict]
    starts: Mapping[str, Any] | None

    @property
    def is_open(self) -> bool:
        """Whether more observations could decide a planned verdict; they mend no doubt."""
        return not any(self.doubts.values()) and any(
            verdict.planned and verdict.word is Word.UNDECIDED for verdict in self.verdicts
        )


def decide(
    model: Model,
    obs: Observations,
    estimates: Estimates,
    posteriors: Mapping[str, Posterior | External],
    *,
    seed: int,
    interval_prob: float,
    planned: Collection[str] | None,
    checks: Sequence[Check] | None = None,
    starts: Mapping[str, Any] | None = None,
    before: Decision | None = None,
) -> Decision:
    """Measures what verdicts need, and judges.

    Args:
        model: see `compare`.
        obs: see `compare`.
        estimates: the inverses' on these observations, and on more that are to come.
        posteriors: see `compare`.
        seed: see `compare`.
        interval_prob: see `compare`.
        planned: see `compare`.
        checks: see `compare`.
        starts: what `compare_starts` found of the first posterior.
        before: what was decided on the first of these observations, all else being the same. What
            it measured of a posterior that is given again is kept.

    Raises:
        ValueError: a name or a posterior's x does not fit; says which.
    """
    if not 0 < interval_prob < 1:
        raise Refusal(f"interval_prob must lie between 0 and 1; got {interval_prob}")
    check_pytree(model)
    check_obs(model, obs)
    estimates = estimates._replace(h=estimates.h[:, : obs.num_obs])
    inverses = [str(name) for name in estimates.h["inverse"].to_numpy()]
    planned = inverses if planned is None else planned
    for name in planned:
        if name not in inverses:
            raise Refusal(f"planned names {name!r}, which is none of the inverses")
    trusted = {name: _as_posterior(name, given, model, obs) for name, given in posteriors.items()}
    cases = {
        name: make_case(model, obs, estimates.h, posterior, seed, interval_prob)
        for name, posterior in trusted.items()
    }
    kept = _kept(before, trusted)
    measured = {
        name: before.measured[name] if before and name in kept else measure(case, DECIDING)
        for name, case in cases.items()
    }
    models = {name: case.model for name, case in cases.items()}
    known = {} if before is None else {
        names: found for names, found in before.agreements.items() if names[0] in kept
    }  # fmt: skip
    agreements = measure_agreements(trusted, models, seed, known)
    doubts, verdicts = conclude(
        cases, measured, agreements, planned=planned, checks=checks, starts=starts
    )
    return Decision(model, obs, estimates, cases, measured, agreements, doubts, verdicts, starts)


def conclude(
    cases: Mapping[str, Case],
    measured: Mapping[str, Measured],
    agreements: Agreements,
    *,
    planned: Collection[str],
    checks: Sequence[Check] | None = None,
    starts: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Doubt | None], list[Verdict]]:
    """Doubts and verdicts, from what was measured.

    Args:
        cases: see `Decision`.
        measured: see `Decision`.
        agreements: see `Decision`.
        planned: see `compare`.
        checks: see `compare`.
        starts: see `decide`.
    """
    table = tabulate(measured)
    against = {
        name: find_disagreement(name, case.posterior, agreements) for name, case in cases.items()
    }
    if starts is not None:
        first = next(iter(cases))
        against[first] = against[first] or doubt_starts(first, starts)
    doubts = {
        name: find_doubt(
            name, case.posterior, case.origin, table, disagreement=against[name], checks=checks
        )
        for name, case in cases.items()
    }
    is_open = {name: checks is not None and is_claim_open(name, table) for name in cases}
    return doubts, _verdicts(table, cases, doubts, is_open, planned)


def _kept(before: Decision | None, posteriors: Mapping[str, Posterior]) -> set[str]:
    """Names of the posteriors that are those of the decision before, unchanged."""
    cases = {} if before is None else before.cases
    return {name for name, one in posteriors.items()
            if name in cases and cases[name].posterior is one}  # fmt: skip


def check_names(
    posteriors: Collection[str], inverses: Collection[str], random_inverses: Collection[str]
) -> None:
    """Raises ValueError for names that a table could not tell apart, a file not hold, or none."""
    if not inverses or not posteriors:
        raise Refusal("compare needs at least one inverse and one posterior")
    inverses = [*inverses, *random_inverses]
    for name in (*inverses, *posteriors):
        if not NAME.fullmatch(name):
            raise Refusal(f"names must match [A-Za-z0-9_-]+; got {name!r}")
    named = [POSTERIOR, *posteriors, *inverses]
    taken = {name for name in inverses if named.count(name) > 1}
    if taken:
        raise Refusal(
            f"an inverse must not be named {POSTERIOR!r}, nor as a posterior or another inverse "
            f"is, since the table could not tell them apart; got {min(taken)!r}"
        )


def tabulate(measured: Mapping[str, Measured], *others: pd.DataFrame) -> pd.DataFrame:
    """Rows of every posterior, and others, as one tidy table."""
    frames = [pd.DataFrame(one.rows).assign(posterior=name) for name, one in measured.items()]
    table = pd.concat([*frames, *others], ignore_index=True)
    names = ["metric", "subject", "posterior"]
    table[names] = table[names].map(str)
    return table


def _as_posterior(
    name: str, given: Posterior | External, model: Model, obs: Observations
) -> Posterior:
    """One of ours, checked to be about these observations."""
    try:
        posterior = given if isinstance(given, Posterior) else from_datatree(given, obs.x)
        if posterior.model is None:
            posterior = note_draws(posterior, model)
    except ValueError as error:
        raise Refusal(f"posterior {name!r}: {error}") from None
    numbers, width = posterior.obs, posterior.draws.sizes["hidden"]
    if width != model.n_hidden:
        raise Refusal(
            f"posterior {name!r} has {width} hidden units, but the model has {model.n_hidden}"
        )
    if numbers.size == 0 or numbers.max() >= obs.num_obs:
        raise Refusal(f"posterior {name!r} covers observations that are not there: {numbers}")
    if not np.array_equal(posterior.tree["observed_data/x"], np.asarray(obs.x)[numbers]):
        raise Refusal(
            f"posterior {name!r} was computed from another x than the observations given: "
            "compute it from these, or pass the observations it was computed from"
        )
    return posterior


def _verdicts(
    table: pd.DataFrame,
    cases: Mapping[str, Case],
    doubts: Mapping[str, Doubt | None],
    is_open: Mapping[str, bool],
    planned: Collection[str],
) -> list[Verdict]:
    """A verdict per inverse and posterior, those of the judge first; see `Comparison.verdicts`."""
    most = max(len(case.posterior.obs) for case in cases.values())
    ranked = sorted(
        cases,
        key=lambda one: (len(cases[one].posterior.obs) < most, distrust(cases[one].posterior)),
    )
    verdicts = []
    for name in ranked:
        case = cases[name]
        rows = table.query("metric == 'risk_ratio' and posterior == @name")
        for row in rows.to_dict("records"):
            ratio = Ratio(
                row["subject"], name, row["value"], row["low"], row["high"], case.interval_prob,
                len(case.posterior.obs), case.origin, case.truth is not None, spares_truth(case),
                is_open[name],
            )  # fmt: skip
            verdict = judge(
                ratio,
                setting=getattr(case.model, "setting", type(case.model).__name__),
                doubt=doubts[name],
                is_approximate=case.posterior.kind is Kind.APPROXIMATE,
                planned=name == ranked[0] and row["subject"] in planned,
            )
            verdicts.append(verdict)
    return verdicts
