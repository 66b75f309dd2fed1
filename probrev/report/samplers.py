"""How each posterior was computed, and whether to believe it."""

import json
import math

import arviz as az
import numpy as np
import xarray as xr

from probrev.plumbing.arviz_defaults import arviz_defaults
from probrev.posterior.posterior import Kind, Posterior
from probrev.report.blocks import Section, Table, image
from probrev.report.numbers import duration, percent, plain
from probrev.report.plots import plot_ranks
from probrev.report.plots.ranks import NUM_UNITS, worst_units
from probrev.report.summary import Summary

NUM_SUMMARISED = 8
SUMMARY_COLUMNS = ("mean", "sd", "mcse_mean", "ess_bulk", "ess_tail", "r_hat")


def samplers(summary: Summary) -> list[Section]:
    """A section per posterior."""
    sections = []
    for name, posterior in summary.posteriors.items():
        describe = _DESCRIPTIONS[posterior.kind]
        sections.append(describe(summary, name, posterior))
    return sections


def _exact(summary: Summary, name: str, posterior: Posterior) -> Section:
    """Enumeration: how many states, and where the mass is."""
    found = posterior.tree["exact"].to_dataset()
    settings = json.loads(posterior.tree.attrs["settings"])
    lines = [_status(summary, name, posterior)]
    states = f"{settings['num_states']:,} states. " if "num_states" in settings else ""
    top = np.exp(found["top_log_prob"].to_numpy()).sum(-1)
    least, most = percent(top.min()), percent(top.max())
    lines.append(
        f"{states}The {found.sizes['state']} heaviest of each observation are kept with the run; "
        f"they carry {least if least == most else f'between {least} and {most}'} of the mass."
    )
    missed, error = (float(found[name].max()) for name in ("unvisited_mass", "integration_error"))
    if missed == 0 and error == 0:
        lines.append("Every state was visited, and none is an integral: exact to rounding.")
    else:
        lines.append(
            f"Mass proved to lie outside the states visited: at most {plain(missed)}; estimated "
            f"integration error: at most {plain(error)}."
        )
    return Section(f"Posterior {name}: diagnostics", lines)


def _sampler(summary: Summary, name: str, posterior: Posterior) -> Section:
    """A sampler: status, agreement, behaviour of its units, and its worst ones."""
    lines = [_status(summary, name, posterior), _behaviour(posterior)]
    lines += _agreement(summary, name)
    worst = worst_units(posterior, NUM_SUMMARISED)
    section = Section(f"Posterior {name}: diagnostics", lines, tables=site_tables(posterior))
    if not worst.sizes["unit"]:
        lines.append("No unit moved, so there is nothing that R-hat or ESS could say.")
        return section
    section.tables.insert(0, _summary_table(worst))
    still = (worst == worst.isel(draw=0)).all("draw").any("chain").to_numpy()
    if not still.all():
        section.images.append(_ranks(summary, name, worst))
    return section


def _approximation(summary: Summary, name: str, posterior: Posterior) -> Section:
    """Message passing: status, iterations, and how far it is from posteriors that know better."""
    found = posterior.tree["approximation"].to_dataset()
    iterations = found["num_iterations"]
    lines = [
        _status(summary, name, posterior),
        f"An approximation: each unit is independent of the others given x. It took "
        f"{int(iterations.min())} to {int(iterations.max())} passes through the weights.",
    ]
    for other in summary.posteriors:
        gap = summary.get("inclusion_gap", name, other)
        if gap is not None:
            lines.append(
                f"Its inclusion probabilities are within {plain(gap.value, 2)} of those of {other}."
            )
    return Section(f"Posterior {name}: diagnostics", lines)


def _status(summary: Summary, name: str, posterior: Posterior) -> str:
    """Status in words, and its cost."""
    line = f"Status: {posterior.status} ({posterior.status_reason})."
    seconds = summary.seconds(name)
    if math.isfinite(seconds):
        compiling = summary.value("compile_seconds", name, "")
        line += f" {duration(seconds)} per observation; {duration(compiling)} to compile, once."
    return line


def _behaviour(posterior: Posterior) -> str:
    """How many units mix, never move, or are stuck."""
    behaviour = posterior.tree["diagnostics/behaviour"].to_numpy()
    flips = posterior.tree["diagnostics/num_flips"].to_numpy()
    chains, draws = (posterior.draws.sizes[dim] for dim in ("chain", "draw"))
    counts = {word: int((behaviour == word).sum()) for word in ("mixes", "constant", "stuck")}
    line = (
        f"{chains} chains of {draws:,} draws. Of {behaviour.size:,} units (over all observations) "
        f"{counts['mixes']:,} move, {counts['constant']:,} have one value in every draw, "
        f"{counts['stuck']:,} are stuck at different values in different chains"
    )
    if bool((posterior.draws == 0).any()):
        seldom = int(((flips > 0) & (flips < 10)).sum())
        line += f"; {seldom:,} switched on or off fewer than 10 times"
    line += "."
    stats = posterior.tree.children.get("sample_stats")
    if stats is not None and "diverging" in stats:
        line += f" Divergences: {int(stats['diverging'].to_numpy().sum()):,}."
    return line


def _agreement(summary: Summary, name: str) -> list[str]:
    """What the comparison with other posteriors found."""
    lines = []
    for (subject, other), (outcome, reason) in summary.agreements.items():
        if subject != name:
            continue
        share, excess, p_value, far, floor = (
            summary.value(metric, name, other)
            for metric in (
                "agreement", "threshold_excess", "agreement_p", "total_variation",
                "total_variation_floor",
            )
        )  # fmt: skip
        lines.append(
            f"Agreement with {other}: {outcome}{f' ({reason})' if reason else ''}. P(hᵢ > c) is "
            f"within its bound at every threshold on {percent(share)} of observations (largest "
            f"divergence {plain(excess, 2)} bounds); jointly p = {plain(p_value, 2)}. Total "
            f"variation between active sets {plain(far, 2)}; as many draws of {other} itself give "
            f"{plain(floor, 2)}."
        )
    return lines


@arviz_defaults()
def _summary_table(worst: xr.DataArray) -> Table:
    """ArviZ's summary of the units that mix worst."""
    with np.errstate(invalid="ignore", divide="ignore"):
        frame = az.summary(worst.to_dataset(name="h"), kind="all", round_to="none")
    values = np.column_stack([np.asarray(frame[name], dtype=float) for name in SUMMARY_COLUMNS])
    digits = [4 if column == "r_hat" else 3 for column in SUMMARY_COLUMNS]
    rows = [
        [unit, *map(plain, row, digits)]
        for unit, row in zip(worst["unit"].to_numpy(), values, strict=True)
    ]
    caption = (
        "ArviZ's summary of the units with the lowest ESS or the highest R-hat. Wanted: R-hat at "
        "most 1.01, bulk and tail ESS at least 400."
    )
    header = ["unit", "mean", "sd", "MCSE of mean", "bulk ESS", "tail ESS", "R-hat"]
    return Table(header, rows, caption)


def site_tables(posterior: Posterior) -> list[Table]:
    """How what the program draws beside h mixes, the worst entry of each site; none without any."""
    if "site_diagnostics" not in posterior.tree:
        return []
    found = posterior.tree["site_diagnostics"].to_dataset()
    rows = [
        [
            site,
            plain(float(found[f"{site}_ess_bulk"].min())),
            plain(float(found[f"{site}_ess_tail"].min())),
            plain(float(found[f"{site}_r_hat"].max()), 4),
        ]
        for site in posterior.sites
    ]
    caption = (
        "The sites that the model's program draws or names beside h: the least ESS and the largest "
        "R-hat of any entry in any observation; none where each has one value in every draw."
    )
    return [Table(["site", "least bulk ESS", "least tail ESS", "largest R-hat"], rows, caption)]


def _ranks(summary: Summary, name: str, worst: xr.DataArray):
    """Rank plots of the very worst."""
    units = ", ".join(worst["unit"].to_numpy()[:NUM_UNITS])
    return image(
        plot_ranks(summary.result, name),
        f"Rank plots of the units of {name} that mix worst, the worst first: {units}",
        "Rank plots of the units that mix worst, a line per chain: the difference between the "
        "distribution of a chain's ranks among all chains' draws and a uniform one. Chains that "
        "explore the same distribution stay around 0; p is ArviZ's test of that. Equal draws are "
        "ranked at random among themselves.",
    )


_DESCRIPTIONS = {Kind.EXACT: _exact, Kind.SAMPLED: _sampler, Kind.APPROXIMATE: _approximation}
