"""Several models on one x: which the data speak for, and what each says of the inverses."""

import math

import numpy as np
import xarray as xr

from probrev.report.blocks import Section, Table
from probrev.report.numbers import ABSENT, plain, with_error, with_interval
from probrev.report.summary import Summary


def priors(summary: Summary) -> list[Section]:
    """Models against each other, where posteriors are under several."""
    if "priors" not in summary.result.tree:
        return []
    found = summary.result.tree["priors"].to_dataset()
    names = [str(name) for name in found["model"].to_numpy()]
    rows = [_row(found.sel(model=name)) for name in names]
    caption = (
        "log p(x) in nats per observation, mean over the observations that all have it for; "
        "the difference to the best with its standard error, paired over observations, and the "
        "same summed over them: the log Bayes factor of these x. Prior and "
        "likelihood: ArviZ's power-scaling sensitivity of the unit that is most sensitive, mean "
        "over observations; from .05 on what is said depends on it. Both above it: prior and data "
        "pull at h, as they often do under a sparse prior; likelihood below it: the prior decides."
    )
    header = ["posteriors", "log evidence", "difference", "summed", "prior", "likelihood"]
    tables = [Table(header, rows, caption), _ratios(summary, names)]
    return [Section("The models side by side", [_finding(found, names)], tables=tables)]


def _row(found: xr.Dataset) -> list[str]:
    """What is said of one model."""
    evidence, gap, error = (
        float(found[column]) for column in ("evidence", "difference", "difference_error")
    )
    return [
        str(found["posteriors"].item()),
        plain(evidence, 4),
        "the best" if gap == 0 else with_error(gap, error),
        plain(gap * int(found["num_obs"])),
        *(_mean(found[f"{what}_sensitivity"].to_numpy()) for what in ("prior", "likelihood")),
    ]


def _finding(found: xr.Dataset, names: list[str]) -> str:
    """Which model the data speak for, and which they cannot tell from it."""
    unknown = [name for name in names if math.isnan(float(found["evidence"].sel(model=name)))]
    said = []
    if len(unknown) < len(names):
        best = str(found["evidence"].idxmax("model").item())
        gaps = found["difference"] + 2 * found["difference_error"].fillna(np.inf)
        others = [name for name in names if name != best and name not in unknown]
        behind = [name for name in others if float(gaps.sel(model=name)) < 0]
        level = [name for name in others if name not in behind]
        if behind:
            said.append(f"x speaks for the model of {best} against that of {_listed(behind)}.")
        shared = int(found["num_obs"].max())
        if level:
            said.append(
                f"The model of {best} and that of {_listed(level)} cannot be told apart by "
                f"{shared} observation{'s' * (shared != 1)}: the difference is within two "
                "standard errors."
            )
    if unknown:
        said.append(
            f"The evidence of the model of {_listed(unknown)} is not known: give it, by "
            "compare(..., log_evidence={name: estimate_log_evidence(...)})."
        )
    return " ".join(said)


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _ratios(summary: Summary, names: list[str]) -> Table:
    """R of every inverse under every model."""
    rows = []
    for inverse in summary.result.inverses:
        found = [summary.get("risk_ratio", inverse, name) for name in names]
        cells = [with_interval(row.value, row.low, row.high) if row else ABSENT for row in found]
        rows.append([inverse, *cells])
    caption = (
        "R of every inverse under each model: its risk over that of the model's own posterior "
        "mean. A wrong model's R is not held against it here: the verdicts say which may judge."
    )
    return Table(["inverse", *names], rows, caption)


def _mean(values: np.ndarray) -> str:
    known = values[~np.isnan(values)]
    return plain(float(known.mean())) if known.size else ABSENT
