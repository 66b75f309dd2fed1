"""A model fitted to a real net: whether it fits, what its verdict says, and what that hangs on."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from probrev.comparison.comparison import Comparison
from probrev.comparison.doubt import LEVEL, MOST_OFF, STATISTICS
from probrev.comparison.verdict import Verdict, Word, format_prob
from probrev.report.blocks import Section, Table
from probrev.report.numbers import ABSENT, plain, with_error, with_interval
from probrev.report.summary import Summary

NAMES = {
    "null": "independent rows", "gaussian": "Gaussian W", "shuffled": "shuffled h",
    "decoder": "a decoder of its own", "model": "the layer",
}  # fmt: skip


def fit(summary: Summary) -> list[Section]:
    """A fitted model: its checks in their order, and its verdict under other models."""
    result = summary.result
    if "checks" not in result.tree:
        return []
    table = result.tree["checks"].to_dataset()
    checks = table.to_dataframe().to_dict(orient="records")
    sections = [_checks(checks, table.attrs)]
    fitted = summary.provenance.get("fitted")
    if isinstance(fitted, dict) and "fit" in result.tree:
        tables = [_parameters(fitted), _asides(result), _real_x(result)]
        sections.append(Section("What the verdict hangs on", [*fit_lines(result)], tables=tables))
    return sections


def _checks(checks: list[dict[str, Any]], starts: dict[str, Any]) -> Section:
    """Gates, then what is told beside them, with a sentence for each, and how chains started."""
    gates = [row for row in checks if row["wanted"]]
    others = [row for row in checks if not row["wanted"]]
    tables = [
        Table(
            ["check", "value", "wanted", "holds"],
            [[row["name"], _with_error(row), row["wanted"], _yes(row["holds"])] for row in gates],
            "On held-out activations, in this order. One that does not hold withholds the verdict.",
        ),
        Table(
            ["beside them", "value"],
            [[row["name"], _with_error(row)] for row in others],
            "Reported, and never a reason to withhold.",
        ),
    ]
    lines = [row["sentence"] for row in (*gates, *others)]
    if starts:
        reason = starts["starts_reason"] or f"joint test, p = {starts['starts_joint_p']:.2g}"
        lines.append(
            f"Chains that start at the h that made x, of {starts['starts_obs']} observations, and "
            f"blind ones: {starts['starts']} ({reason})."
        )
    return Section("Whether the layer fits", lines, tables=tables)


def fit_lines(result: Comparison) -> Iterator[str]:
    """What the verdict under a fitted model says, and what it hangs on, in sentences."""
    if "fit" not in result.tree:
        return
    fitted = json.loads(result.tree.attrs["fitted"])
    verdict = result.verdicts[0]
    if result.conclusive and verdict.word not in (Word.UNDECIDED, Word.UNJUDGED):
        yield _wording(verdict, fitted["prior"])
    asides = result.tree["fit/asides"].to_dataset().to_dataframe()
    first = f"on the first {result.tree['fit/asides'].attrs['num_obs']} observations"
    refits = asides[asides["what"].str.startswith("refit")]
    for row in asides.to_dict(orient="records"):
        if row["what"].startswith("refit"):
            continue
        claim = row["claimed_over_actual"]
        held = "" if 1 / MOST_OFF <= claim <= MOST_OFF else ", which is too far off"
        yield (
            f"Under {row['what']}, {first}, R is {row['ratio']:.2f} [{row['low']:.2f}, "
            f"{row['high']:.2f}], and the posterior claims {claim:.2f} times the squared error "
            f"that it makes{held}" + ("." if row["status"] == "ok" else f" ({row['status']}).")
        )
    if len(refits):
        yield (
            f"Refits to {len(refits)} bootstrap samples give R from {refits['ratio'].min():.2f} to "
            f"{refits['ratio'].max():.2f} {first}; other observations move it by its interval."
        )
    real = result.tree["fit/real_x"].to_dataset().to_dataframe().set_index("metric")
    kappa = real.loc["kappa"]
    yield (
        f"On {result.tree['fit/real_x'].attrs['num_obs']} real x kappa is {kappa['value']:.2f} "
        f"[{kappa['low']:.2f}, {kappa['high']:.2f}]: the squared error of the posterior mean "
        "against the net's h, over the variance that the posterior claims. "
        f"{_claim(kappa['low'], kappa['high'])}. It is calibration, no verdict."
    )
    yield from _surprises(dict(zip(real.index, real["value"], strict=True)))


def _claim(low: float, high: float) -> str:
    """What an interval of kappa says."""
    if high < 1:
        return "Below 1: there the posterior claims more error than it makes"
    return "Above 1: there the posterior is too sure" if low > 1 else "1 is right, and it may be"


def _surprises(real: Mapping[str, float]) -> Iterator[str]:
    """In what real x are not as the model predicts, if in anything."""
    ps = {what: real.get(f"predictive_p_{name}", 1.0) for name, what in STATISTICS.items()}
    rejected = {what: p for what, p in ps.items() if p <= LEVEL / len(STATISTICS)}
    if rejected:
        told = ", ".join(f"{what} (p = {p:.1g})" for what, p in rejected.items())
        yield (
            f"Real x are not in all as the model predicts them: {told}. The verdict is about x "
            "that the fitted layer makes, and about real x as far as they are like those."
        )


def _wording(verdict: Verdict, prior: str) -> str:
    """The verdict with what it is conditional on."""
    error, why = "", ""
    if verdict.word is Word.FAR:
        error = "at least "
        why = (
            " At least, since the mean under a prior that is not quite right errs more than Bayes."
        )
    return (
        f"Under the fitted layer and the {prior} prior the squared error of {verdict.inverse} is "
        f"{error}{verdict.ratio:.1f} [{verdict.low:.1f}, {verdict.high:.1f}] times that of Bayes "
        f"({format_prob(verdict.interval_prob)} interval).{why}"
    )


def _parameters(fitted: dict[str, Any]) -> Table:
    rows = [
        ["layer", f"{fitted['layer']}, {fitted['activation']}"],
        ["prior", str(fitted["prior"])],
        ["pairs fitted, held out", f"{fitted['num_train']}, {fitted['num_held_out']}"],
    ]
    for name, (value, error) in fitted["parameters"].items():
        shown = plain(value) if error is None else with_error(value, error)
        rows.append([name, shown])
    rows.append(["noise_std / rms of W h + bias", plain(fitted["relative_noise"])])
    rows += [
        [f"held-out nats a row, {NAMES[name]}", plain(value)]
        for name, value in fitted["nats_per_row"].items()
    ]
    return Table(["what", "value"], rows, "Standard errors allow for rows that err together.")


def _asides(result: Comparison) -> Table:
    rows = [
        [
            row["what"],
            with_interval(row["ratio"], row["low"], row["high"]),
            plain(row["claimed_over_actual"]),
            row["status"],
        ]
        for row in result.tree["fit/asides"].to_dataset().to_dataframe().to_dict(orient="records")
    ]
    caption = (
        "What the verdict hangs on: R with one thing changed, on the same held-out h. Claimed: the "
        "posterior's variance over its squared error, which should lie between 0.77 and 1.3."
    )
    return Table(["change", "R", "claimed", "chains"], rows, caption)


def _real_x(result: Comparison) -> Table:
    frame: pd.DataFrame = result.tree["fit/real_x"].to_dataset().to_dataframe()
    rows = []
    for row in frame.to_dict(orient="records"):
        known = math.isfinite(row["low"])
        value = with_interval(row["value"], row["low"], row["high"]) if known else None
        rows.append([row["metric"], value or plain(row["value"], 2), row["status"]])
    caption = (
        "Real x, on which there is no verdict, since the net as trained is the h that the layer "
        "was fitted to. kappa: squared distance of the net's h from the posterior mean over the "
        "posterior's variance, 1 where the posterior is calibrated. predictive_p: chance of so "
        "many surprising observations if the model were right."
    )
    return Table(["metric", "value", "chains"], rows, caption)


def _with_error(row: dict[str, Any]) -> str:
    if math.isnan(row["value"]):
        return ABSENT
    error = row["std_error"]
    return plain(row["value"]) if math.isnan(error) else with_error(row["value"], error)


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"
