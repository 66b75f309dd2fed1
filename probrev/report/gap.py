"""Where the net loses to Bayes: the gap, part by part."""

import xarray as xr

from probrev.comparison.gap import split_gap
from probrev.comparison.metrics.case import POSTERIOR
from probrev.report.blocks import Section, Table, image
from probrev.report.numbers import percent, plain, with_error
from probrev.report.plots import plot_gap
from probrev.report.summary import Summary

# What each part is.
PARTS = {
    "bias": "The paper's bias, √(2 log m) standard deviations of the readout, instead of as many "
    "as minimise the risk.",
    "activation": "A rectifier instead of E[hᵢ | uᵢ], what the prior makes of one noisy readout.",
    "silence": "Rows that are 0 are evidence too, and Wᵀx does not hear them.",
    "iteration": "One pass up instead of many, each correcting for what the others explain.",
    "rest": "What message passing, unit by unit, still loses to the posterior itself.",
    "weights": "What trained weights and biases take off the calibrated net.",
}


def gap(summary: Summary) -> list[Section]:
    """The parts of the gap, where there is a truth and the ladder has rungs."""
    parts = split_gap(summary.result, summary.judge)
    if parts is None:
        return []
    caption = (
        "From the relative risk of the first net (top right) down to that of Bayes (dotted line): "
        "each bar ends where the next begins, at the risk of the rung that it leads to, and so "
        "they add up. Green: the rung below errs less; red: it errs more. Thin lines: 95 % "
        "intervals of each part, from a paired bootstrap over observations. A hatched bar is "
        "beside the sum, not in it."
    )
    figure = image(
        plot_gap(parts, summary.judge), f"Parts of the gap: {_say_largest(parts)}", caption
    )
    return [
        Section(
            "Where the net loses to Bayes", [_say_largest(parts)], [figure],
            [_tabulate(parts, summary.judge)],
        )
    ]  # fmt: skip


def _say_largest(parts: xr.Dataset) -> str:
    """The whole gap, and its largest part."""
    chain = parts.isel(part=parts["in_sum"].to_numpy())
    total = float(chain["value"].sum())
    largest = chain.isel(part=chain["value"].to_numpy().argmax())
    name, value = str(largest["part"].item()), float(largest["value"])
    share = f", {percent(value / total)} of it" if total > value > 0 else ""
    return (
        f"{chain['start'].to_numpy()[0]} exceeds the risk of Bayes by {plain(total)}, in units of "
        f"relative risk. The largest part is {name}, {plain(value)}{share}."
    )


def _tabulate(parts: xr.Dataset, posterior: str) -> Table:
    rows = []
    for name in parts["part"].to_numpy():
        one = parts.sel(part=name)
        end = one["end"].item()
        error = float(one["std_error"]) if "std_error" in one else float("nan")
        meaning = " ".join(PARTS[word] for word in name.split(" + "))
        beside = "" if one["in_sum"].item() else " Beside the sum."
        rows.append([
            str(name), f"{one['start'].item()} − {posterior if end == POSTERIOR else end}",
            with_error(float(one["value"]), error), meaning + beside,
        ])  # fmt: skip
    return Table(
        ["part", "difference of", "relative risk", "what it is"], rows,
        "a ± b: value and standard error over observations.",
    )  # fmt: skip
