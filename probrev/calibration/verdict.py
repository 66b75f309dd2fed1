"""The answer of a check in words: is the method calibrated for its model?"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from probrev.calibration.quantities import FROM_MEAN, Family
from probrev.calibration.uniformity import (
    Uniformity,
    detectable_location,
    detectable_spread,
    measure_uniformity,
    wanted_size,
)
from probrev.posterior.agreement import Outcome
from probrev.posterior.status import Status

# Probability that the ranks of a right method reject it, all quantities together.
LEVEL = 1e-3
# Share of posteriors that need not be "ok".
MOST_NOT_OK = 0.05
# "calibrated" says that a posterior so many times too narrow would have been seen.
SEEN_SPREAD = 1.5
# Quantities that a sentence names.
NAMED = 3


class Word(StrEnum):
    """What a check says in a word.

    - `CALIBRATED`: nothing speaks against the method, and there were enough simulations to see a
      posterior that is 1.5 times too narrow.
    - `MISCALIBRATED`: its ranks are not uniform, or chains from the truth end elsewhere.
    - `UNDECIDED`: nothing speaks against it, but there were too few simulations.
    - `INCONCLUSIVE`: more than 5 % of its posteriors are not "ok".
    """

    CALIBRATED = "calibrated"
    MISCALIBRATED = "miscalibrated"
    UNDECIDED = "undecided"
    INCONCLUSIVE = "inconclusive"

    @property
    def is_failure(self) -> bool:
        """Whether the method may not be trusted: exit status 3."""
        return self in (Word.MISCALIBRATED, Word.INCONCLUSIVE)


class Finding(NamedTuple):
    """What the ranks say of one quantity.

    Attributes:
        name: of the quantity.
        family: of the quantity.
        adjusted_p: p-value for all quantities together; rejected where it is at most 1e-3.
        how: what is wrong, in words, where it is rejected; else empty.
        uniformity: the tests.
    """

    name: str
    family: str
    adjusted_p: float
    how: str
    uniformity: Uniformity


class Verdict(NamedTuple):
    """The answer of a check.

    Attributes:
        word: see `Word`.
        sentence: all of it in plain words.
    """

    word: Word
    sentence: str


def find(simulations: xr.Dataset) -> list[Finding]:
    """Tests the ranks of every quantity that varies, in the order of the quantities.

    The level is shared evenly among the families of quantities, and within each among its members
    (Bonferroni, which holds however they depend on one another): many units do not make a test of
    the joint quantities weaker.

    Args:
        simulations: `rank`, `varies` (simulation, quantity) and the coordinate `family`.
    """
    varying = simulations.isel(quantity=simulations["varies"].any("simulation").to_numpy())
    families = varying["family"].to_numpy().tolist()
    found = []
    for index, family in enumerate(families):
        ranks = varying["rank"].isel(quantity=index).to_numpy()
        tested = measure_uniformity(ranks)
        adjusted = min(1.0, tested.p_value * families.count(family) * len(set(families)))
        how = describe(tested) if adjusted <= LEVEL else ""
        name = str(varying["quantity"].to_numpy()[index])
        found.append(Finding(name, family, adjusted, how, tested))
    return found


def find_inverses(simulations: xr.Dataset) -> list[Finding]:
    """The same of each random inverse, by its distances from both references, at the level."""
    ranks = simulations["inverse_rank"]
    count, found = ranks.sizes["inverse"] * ranks.sizes["reference"], []
    for name in ranks["inverse"].to_numpy():
        for reference in ranks["reference"].to_numpy():
            one = ranks.sel(inverse=name, reference=reference).to_numpy()
            tested = measure_uniformity(one)
            adjusted = min(1.0, tested.p_value * count)
            how = describe(tested) if adjusted <= LEVEL else ""
            found.append(Finding(str(name), f"distance from {reference}", adjusted, how, tested))
    return found


def describe(tested: Uniformity) -> str:
    """What is wrong with ranks that are not uniform: the strongest of the three tests says."""
    smallest = min(tested.location_p, tested.spread_p, tested.shape_p)
    if smallest == tested.location_p:
        side = "low" if tested.location > 0 else "high"
        return f"too {side}, by {abs(tested.location):.2f} standard deviations"
    if smallest == tested.spread_p:
        return f"too {'narrow' if tested.spread > 1 else 'wide'}, by {_factor(tested.spread)}"
    return "of another shape"


def _factor(spread: float) -> str:
    return f"a factor of {max(spread, 1 / spread):.2f}"


def strictest_level(findings: Sequence[Finding]) -> float:
    """The level at which a single joint quantity is tested."""
    families = [finding.family for finding in findings]
    return LEVEL / (len(set(families)) * max(1, families.count(Family.JOINT)))


def judge(simulations: xr.Dataset, findings: Sequence[Finding], starts: dict[str, Any]) -> Verdict:
    """The word and the sentence.

    "inconclusive" comes first, since draws that have not converged tell little of the method that
    would have made more of them; then what rejects; then whether there were enough simulations.

    Args:
        simulations: of all batches.
        findings: what `find` found.
        starts: what `compare_starts` found; empty without.
    """
    size = simulations.sizes["simulation"]
    evidence = [*_ranked(findings), *_started(starts)]
    status = simulations["status"].to_numpy()
    not_ok = int((status != Status.OK).sum())
    some = f"{not_ok} of {size} posteriors are not ok" if not_ok else ""
    if not_ok > MOST_NOT_OK * size:
        first = str(simulations["reason"].to_numpy()[status != Status.OK][0])
        return _say(Word.INCONCLUSIVE, [f"{some}: {first}", *evidence])
    if evidence:
        return _say(Word.MISCALIBRATED, [*evidence, *([some] if some else [])])
    level = strictest_level(findings)
    spread, location = detectable_spread(size, level), detectable_location(size, level)
    seen = (
        f"with {size} simulations a posterior of a joint quantity {spread:.2f} times too narrow, "
        f"or {location:.2f} standard deviations off, would have been seen 9 times in 10"
    )
    lines = ["nothing speaks against it", seen, *([some] if some else [])]
    if spread > SEEN_SPREAD:
        wanted = wanted_size(SEEN_SPREAD, level)
        return _say(Word.UNDECIDED, [*lines, f"{wanted} simulations would see one of 1.5"])
    return _say(Word.CALIBRATED, lines)


def _say(word: Word, lines: list[str]) -> Verdict:
    return Verdict(word, f"{word.capitalize()}: {'; '.join(lines)}.")


def _ranked(findings: Sequence[Finding]) -> list[str]:
    """Convicted quantities, the clearest first."""
    rejected = sorted((one for one in findings if one.how), key=lambda one: one.adjusted_p)
    if not rejected:
        return []
    said = ", ".join(f"{one.name} (p = {one.adjusted_p:.1g})" for one in rejected[:NAMED])
    more = f" and {len(rejected) - NAMED} more" if len(rejected) > NAMED else ""
    lines = [
        f"the truth is no draw from its posterior in {said}{more}; the posterior of "
        f"{rejected[0].name} is {rejected[0].how}"
    ]
    lines += [
        "the truth lies further from the posterior mean than posteriors say: they are too sure"
        if one.uniformity.location > 0
        else "the truth lies nearer to the posterior mean than posteriors say: they are too wide"
        for one in rejected
        if one.name == FROM_MEAN and one.how.startswith(("too low", "too high"))
    ]
    return lines


def _started(starts: dict[str, Any]) -> list[str]:
    if starts.get("starts") != Outcome.DISAGREES:
        return []
    return [f"chains from the truth and blind ones disagree ({starts['starts_reason']})"]


def table_of(findings: Sequence[Finding], key: str) -> xr.Dataset:
    """Findings as arrays over the dimension `finding`: `key`, family, p-values and figures."""
    columns: dict[str, Any] = {
        key: [one.name for one in findings],
        "family": [one.family for one in findings],
        "adjusted_p": [one.adjusted_p for one in findings],
        "how": [one.how for one in findings],
    }
    for name in Uniformity._fields:
        columns[name] = [getattr(one.uniformity, name) for one in findings]
    texts = (key, "family", "how")
    return xr.Dataset(
        {
            name: ("finding", np.asarray(values, dtype=str if name in texts else float))
            for name, values in columns.items()
        }
    )
