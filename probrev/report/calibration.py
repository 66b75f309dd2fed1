"""The page of a check: the verdict, ranks, risk, chains from the truth, random inverses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from probrev.calibration.calibration import Calibration
from probrev.calibration.quantities import Family
from probrev.calibration.verdict import MOST_NOT_OK, SEEN_SPREAD
from probrev.plumbing import door
from probrev.report.appendix import provenance_sections
from probrev.report.blocks import Section, Table, image
from probrev.report.numbers import ABSENT, duration, percent, plain, with_interval
from probrev.report.plots.ecdf import plot_ecdf
from probrev.report.writing import write_page

# Panels of one figure: of more units than this those with the smallest p-values are drawn.
MOST_PANELS = 12
HEADER = ("quantity", "p, all together", "location", "spread", "p: location", "spread", "shape", "")
READING = (
    "p, all together: at most .001 rejects; the level is shared evenly among the kinds of "
    "quantities and within each among its members. Location: where the truth lies in its "
    "posterior, in standard deviations (normal scores of the ranks), 0 if all is well; spread: its "
    "standard deviation there, above 1 where posteriors are too narrow. The p-values of the three "
    "tests, each alone, follow."
)
PANELS = (
    "Each panel: the distribution of the truth's rank among the draws, minus the uniform one; ties "
    "are broken at random. The band holds the whole curve of a calibrated quantity with "
    "probability 95 %, so one panel in twenty may leave it; what is rejected, at .001 for all "
    "together, is red. A curve above 0 on the left and below on the right: the truth in the tails, "
    "posteriors too narrow; below 0 throughout: the truth too high, posteriors too low."
)


@door.guard(
    result=door.instance_of(Calibration, "what pr.check_calibration returns"), path=door.path
)
def write_calibration_report(result: Calibration, path: str | Path) -> None:
    """Writes the page of a check: one HTML file that asks for no other, whole or not at all.

    Args:
        result: a check, fresh or loaded.
        path: the HTML file; replaced if it is there.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_page("calibration.html", lambda: _describe(result), path)


def _describe(result: Calibration) -> dict[str, Any]:
    known = result.provenance
    method = str(known.get("method", ""))
    answer = {
        "word": str(result.word),
        "sentence": result.sentence,
        "lines": [
            f"Method: {method}. h and x were drawn from the model, h inferred from x, and the true "
            "h ranked among the draws: of a right method the ranks are uniform in every quantity.",
            "Calibrated is said of a method that nothing speaks against where a posterior "
            f"{SEEN_SPREAD:g} times too narrow would have been seen, and no more than "
            f"{percent(MOST_NOT_OK)} of the posteriors had not converged.",
        ],
        "is_failure": result.word.is_failure,
    }
    sections = [
        *_ranks(result),
        _risk(result),
        *_starts(result),
        *_inverses(result),
        _posteriors(result),
        *provenance_sections(known),
    ]
    title = Path(str(known.get("model", "a model"))).name if "model_source" in known else method
    return {
        "title": title,
        "created": str(known.get("created", "")),
        "answer": answer,
        "sections": sections,
    }


def _ranks(result: Calibration) -> Iterator[Section]:
    table = result.table()
    ranks = result.simulations["rank"]
    titles = {
        Family.JOINT: "Ranks of the whole of h",
        Family.UNITS: "Ranks of each unit",
        Family.SITES: "Ranks of the prior's sites",
        Family.OWN: "Ranks of the user's own quantities",
    }
    rejected = set(table["quantity"][table["how"] != ""])
    is_first = True
    for family, title in titles.items():
        own = table.query(f"family == {family.value!r}")
        if not len(own):
            continue
        # The smallest p-values, in the order of the quantities.
        shown = set(own["quantity"].to_numpy()[:MOST_PANELS])
        drawn = [name for name in ranks["quantity"].to_numpy() if name in shown]
        section = Section(title)
        if len(own) > MOST_PANELS:
            section.lines.append(
                f"The {MOST_PANELS} of {len(own)} whose p-values are smallest are drawn."
            )
        figure = plot_ecdf(ranks.sel(quantity=drawn), rejected)
        alt = "Distribution of the truth's ranks minus the uniform one, with a band"
        section.images.append(image(figure, alt, PANELS if is_first else ""))
        rows = [_row(row["quantity"], row) for row in own.to_dict(orient="records")]
        section.tables.append(Table(HEADER, rows, READING if is_first else ""))
        is_first = False
        yield section


def _row(name: str, row: Any) -> list[str]:
    return [
        str(name), plain(row["adjusted_p"], 2), f"{row['location']:+.2f}",
        f"{row['spread']:.2f}", plain(row["location_p"], 2), plain(row["spread_p"], 2),
        plain(row["shape_p"], 2), row["how"],
    ]  # fmt: skip


def _risk(result: Calibration) -> Section:
    value, low, high = result.claimed_over_actual
    line = (
        "The squared error that the posteriors claim for their means, over the one that these "
        f"have, with a 95 % interval: {with_interval(value, low, high)}. 1 if all is well; below 1 "
        "they are too sure. It is shown beside the verdict and does not enter it: ranks of the "
        "distance from the mean do."
    )
    return Section("Claimed over actual risk", [line])


def _starts(result: Calibration) -> list[Section]:
    starts = result.starts
    if not starts:
        return []
    reason = f": {starts['starts_reason']}" if starts["starts_reason"] else ""
    line = (
        f"Chains that started at the h that made x, for {starts['starts_obs']} of the "
        f"simulations, held against the blind ones: {starts['starts']}{reason}. Joint test: p = "
        f"{plain(float(starts['starts_joint_p']), 2)}. Chains that all get stuck in one wrong mode "
        "agree with one another; with those from the truth they do not."
    )
    return [Section("From the truth and blind", [line])]


def _inverses(result: Calibration) -> list[Section]:
    found = result.tree["inverses"].to_dataset().to_dataframe()
    if not len(found):
        return []
    ranks = result.simulations["inverse_rank"].stack(one=("inverse", "reference"))
    names = [f"{inverse}, from {reference}" for inverse, reference in ranks["one"].to_numpy()]
    flat = xr.DataArray(ranks.to_numpy(), dims=("simulation", "one"), coords={"one": names})
    wrong = {name for name, how in zip(names, found["how"], strict=True) if how}
    rows = [
        _row(f"{row['inverse']}, {row['family']}", row) for row in found.to_dict(orient="records")
    ]
    caption = (
        "Ranks of the true h's distance from a reference among the samples' distances (TARP "
        "coverage), 500 samples of each random inverse. Too high: the truth is nearer to the "
        "reference than the samples."
    )
    line = (
        "Are these nets samplers of the posterior? They do not enter the verdict. Distances from "
        "the posterior mean see what ignores x; those from a random draw of h need not."
    )
    alt = "Distribution of the ranks of distances minus the uniform one, with a band"
    figure = image(plot_ecdf(flat, wrong), alt, caption)
    return [Section("Random inverses", [line], [figure], [Table(HEADER, rows)])]


def _posteriors(result: Calibration) -> Section:
    simulations = result.simulations
    status = simulations["status"].to_numpy().astype(str)
    reasons = simulations["reason"].to_numpy().astype(str)
    words, counts = np.unique(status, return_counts=True)
    rows = [
        [word, str(count), ABSENT if word == "ok" else reasons[status == word][0]]
        for word, count in zip(words, counts, strict=True)
    ]
    draws = simulations["num_draws"].to_numpy()
    seconds = float(result.tree.attrs["run_seconds"])
    lines = [
        f"Draws that each truth was ranked among, thinned to near independence: {draws.min()} to "
        f"{draws.max()}, median {np.median(draws):.0f}.",
        f"Inference took {duration(seconds)} in all, {duration(seconds / len(status))} for each x, "
        f"and compilation {duration(float(result.tree.attrs['compile_seconds']))}.",
    ]
    return Section("The posteriors", lines, tables=[Table(["status", "how many", "first"], rows)])
