"""Whether a random inverse, such as dropout at test time, samples from the posterior."""

import math

from probrev.comparison.metrics.case import POSTERIOR, row_of_ratio
from probrev.report.blocks import Section, Table, image
from probrev.report.numbers import ABSENT, plain, with_error, with_interval
from probrev.report.plots import plot_spreads
from probrev.report.summary import Summary

DISTANCES = {"energy_distance": "energy distance", "sliced_wasserstein": "sliced Wasserstein"}


def random_inverses(summary: Summary) -> list[Section]:
    """A section per random inverse, where the posterior has draws enough for halves."""
    if summary.get("energy_distance") is None:
        return []
    return [_section(summary, name) for name in summary.result.random_inverses]


def _section(summary: Summary, name: str) -> Section:
    taken = summary.result.tree["random_inverses"].attrs["num_samples"]
    size = summary.result.tree[f"metrics/{summary.judge}/energy_distance"].attrs["num_samples"]
    rows = []
    for metric, title in {**DISTANCES, "spread_ratio": "spread / posterior's spread"}.items():
        own, halves = (summary.rows[metric, who, summary.judge] for who in (name, POSTERIOR))
        cells = [with_error(row.value, row.std_error) for row in (own, halves)]
        times = plain(own.value / halves.value) if halves.value > 0 else ABSENT
        if metric in DISTANCES:
            row = _times(summary, name, metric)
            times = with_interval(row.value, row.low, row.high)
        rows.append([title, *cells, times])
    caption = (
        f"Samples of {name} held against half of the draws of {summary.judge}, and the other half "
        f"of the draws held against the same, {size} of each: a posterior sampler would score what "
        "the halves do, not 0. Distances are in units of h, means over observations; their ratio "
        "has a 95 % interval from a paired bootstrap, and grows with the number of samples, as "
        "the halves come closer and what is no posterior sampler stays where it is."
    )
    header = ["statistic", name, "two halves of the posterior", "ratio"]
    figure = image(
        plot_spreads(summary.result, summary.judge, name),
        f"Mean and standard deviation of the units under {name} against {summary.judge}. "
        f"{_finding(summary, name)}",
        f"One point per unit and observation: mean and standard deviation of the samples of {name} "
        f"against those of {summary.judge}. A posterior sampler's points lie on the dotted line.",
    )
    lines = [
        f"{name} is run {taken} times on each x, with fresh randomness. " + _finding(summary, name)
    ]
    return Section(
        f"Is {name} a posterior sampler?", lines, [figure], [Table(header, rows, caption)]
    )


def _finding(summary: Summary, name: str) -> str:
    """The answer, from the energy distance, with what the samples get wrong."""
    if summary.value("energy_distance", POSTERIOR) == 0:
        return f"{summary.judge} is a point for every x, so there is nothing to sample."
    far = _times(summary, name, "energy_distance")
    spread = summary.rows["spread_ratio", name, summary.judge]
    said = (
        f"its samples are {with_interval(far.value, far.low, far.high)} times as far from "
        f"the draws of {summary.judge} as two halves of these are from each other (energy "
        f"distance), and their spread is "
        f"{with_interval(spread.value, spread.low, spread.high)} times the posterior's"
    )
    mean, bayes = (summary.value("relative_risk", who) for who in (name, POSTERIOR))
    if math.isfinite(mean + bayes):
        said += (
            f"; their mean has a relative risk of {plain(mean)}, the posterior mean {plain(bayes)}"
        )
    if not math.isfinite(far.low):
        return f"One observation cannot tell whether it samples from the posterior: {said}."
    if far.low > 1:
        return f"It is not a posterior sampler: {said}."
    return f"It cannot be told from a posterior sampler: {said}."


def _times(summary: Summary, name: str, metric: str):
    """A distance over that of the halves, paired over observations."""
    # Distances are of those observations that have samples.
    found = summary.result.tree[f"metrics/{summary.judge}/{metric}"].dropna("obs")
    own, halves = (found.sel(sampler=who).to_numpy() for who in (name, POSTERIOR))
    return row_of_ratio(metric, name, own, halves, seed=0)
