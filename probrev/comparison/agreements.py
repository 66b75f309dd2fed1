"""Every posterior of a comparison beside the better ones: who agrees with whom."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from probrev.comparison.metrics.case import Row
from probrev.model.observations import same_numbers
from probrev.model.protocol import Model
from probrev.posterior.agreement import Agreement, Outcome, measure_agreement
from probrev.posterior.posterior import Kind, Posterior

# By the names of the posterior that is judged and of the one that it is held against.
Agreements = dict[tuple[str, str], Agreement]
TRUST = (Kind.EXACT, Kind.SAMPLED, Kind.APPROXIMATE)
SENTENCES = {
    "agreement": "Share of the observations that could be checked on which the draws of a sampler "
    "and those of the other posterior agree at every threshold: P(hᵢ > c), c = 0 and quantiles of "
    "hᵢ > 0.",
    "threshold_excess": "Largest ESS · KL(p′‖p) over thresholds, p′ = P(hᵢ > c) of the sampler, in "
    "units of the bound that perfect samplers exceed once in 1,000 runs; at most 1 is agreement.",
    "agreement_p": "p-value of the joint test of a sampler's draws: energy distance to the other "
    "posterior's, labels permuted; disagreement at 0.001 or below.",
    "agreement_checked": "Share of observations on which a sampler's draws say enough to be held "
    "against the other posterior's.",
    "inclusion_gap": "Largest difference of an inclusion probability from the other posterior's: "
    "the error of an approximation, and for a sampler its noise too.",
    "total_variation": "Between the active sets drawn by both, mean over observations; biased "
    "upwards by noise, so read it beside its floor.",
    "total_variation_floor": "The same between two halves of the reference's own draws.",
}


def distrust(posterior: Posterior) -> int:
    """0 for an exact posterior, 1 for a sampler's, 2 for an approximation."""
    return TRUST.index(posterior.kind)


def measure_agreements(
    posteriors: Mapping[str, Posterior],
    models: Mapping[str, Model],
    seed: int,
    known: Agreements | None = None,
) -> Agreements:
    """Every posterior that is not exact beside every exact one, or beside samplers if none is.

    An approximation is never the judge. Posteriors under different models need not agree, so they
    are not held against each other; nor are posteriors without a common observation.

    Args:
        posteriors: by name.
        models: what each was computed under.
        seed: see `measure_agreement`.
        known: those of posteriors that have not changed, held against others on the same draws as
            now. Where all observations that are common now were so then, they are kept.
    """
    known = known or {}
    ranked = sorted(posteriors, key=lambda name: distrust(posteriors[name]))
    found = {}
    for index, name in enumerate(ranked):
        own = posteriors[name]
        if own.kind is Kind.EXACT:
            continue
        judges = [
            one
            for one in ranked[:index]
            if posteriors[one].kind is not Kind.APPROXIMATE
            and same_numbers(models[one], models[name])
            and np.intersect1d(posteriors[one].obs, own.obs).size
        ]
        exact = [one for one in judges if posteriors[one].kind is Kind.EXACT]
        for reference in exact or judges:
            common = np.intersect1d(own.obs, posteriors[reference].obs)
            old = known.get((name, reference))
            if old is None or not np.array_equal(old.checked["obs"], common):
                old = measure_agreement(own, posteriors[reference], seed=seed)
            found[name, reference] = old
    return found


def tabulate_agreements(
    agreements: Agreements, posteriors: Mapping[str, Posterior]
) -> pd.DataFrame:
    """Their figures. Of an approximation only its error, which is not one of Monte Carlo."""
    rows = []
    for (name, reference), found in agreements.items():
        figures: dict[str, float | xr.DataArray] = {
            "inclusion_gap": found.inclusion_gap.max(),
            "total_variation": found.total_variation.mean(),
            "total_variation_floor": found.total_variation_floor.mean(),
        }
        if posteriors[name].kind is Kind.SAMPLED:
            within = (found.threshold_excess <= 1).where(found.threshold_excess.notnull())
            figures["agreement"] = within.mean()
            figures["threshold_excess"] = found.threshold_excess.max()
            figures["agreement_p"] = found.joint_p
            figures["agreement_checked"] = found.checked.mean()
        rows += [(*Row(metric, name, float(v)), reference) for metric, v in figures.items()]
    return pd.DataFrame(rows, columns=[*Row._fields, "posterior"])


def tabulate_outcomes(agreements: Agreements) -> pd.DataFrame:
    """What each came to, in words."""
    rows = [(*names, found.outcome.value, found.reason) for names, found in agreements.items()]
    return pd.DataFrame(rows, columns=["subject", "posterior", "outcome", "reason"])


def find_disagreement(name: str, posterior: Posterior, agreements: Agreements) -> str:
    """With which better posterior it disagrees and how; empty if with none.

    Where a part of the agreement could not be checked, the table and the report say so; only if no
    observation could be, by thresholds or jointly, is the posterior itself in doubt. An
    approximation is not expected to agree.
    """
    if posterior.kind is Kind.APPROXIMATE:
        return ""
    for (subject, reference), found in agreements.items():
        if subject != name:
            continue
        if found.outcome is Outcome.DISAGREES:
            return f"{name} disagrees with {reference} ({found.reason})"
        if not found.checked.any():
            return f"{name} could not be checked against {reference} ({found.reason})"
    return ""
