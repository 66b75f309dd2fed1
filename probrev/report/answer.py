"""The first lines of a report: the answer, its setting, and the headline table."""

import json
import math
from typing import Any, NamedTuple

from probrev.agreement import Outcome
from probrev.metrics.case import POSTERIOR
from probrev.posterior import Kind
from probrev.report.blocks import Section, Table
from probrev.report.numbers import ABSENT, duration, plain, with_error, with_interval
from probrev.report.summary import Summary
from probrev.status import Status

# Of a standard normal variate, beyond this about once in 16,000.
IDENTITY_Z_MAX = 4.0


class Answer(NamedTuple):
    """The verdict, as the page opens with it.

    Attributes:
        word: the verdict's word.
        sentence: the verdict in full.
        cost: what net and posterior cost per observation.
        standing: whether the run is conclusive.
        trust: why or why not.
        conclusive: whether every posterior can be trusted.
        table: every verdict.
    """

    word: str
    sentence: str
    cost: str
    standing: str
    trust: list[str]
    conclusive: bool
    table: Table


def answer(summary: Summary) -> Answer:
    """What the run says of the net, how sure it is, and what it costs."""
    first = summary.verdicts[0]
    rows = [
        [one.inverse, one.posterior, one.word, with_interval(one.ratio, one.low, one.high),
         duration(summary.seconds(one.inverse)), duration(summary.seconds(one.posterior))]
        for one in summary.verdicts
    ]  # fmt: skip
    caption = (
        "R = risk / Bayes risk, with its 95 % interval from a paired bootstrap over observations. "
        if summary.has_truth
        else "R = 1 + excess risk / posterior variance, with its 95 % interval: there is no truth. "
    )
    caption += (
        "As good as Bayes: the interval ends below 1.1; near: below 1.5; far: it begins above 1.5; "
        "otherwise undecided. Times are per observation, compilation apart."
    )
    header = ["inverse", "against", "verdict", "R [95 %]", "its time", "posterior's time"]
    return Answer(
        first.word, first.sentence, _cost(summary), _standing(summary), _trust(summary),
        summary.result.conclusive, Table(header, rows, caption),
    )  # fmt: skip


def _standing(summary: Summary) -> str:
    """Whether the run is conclusive, in a sentence."""
    if not summary.result.conclusive:
        return "Not conclusive: not every posterior can be trusted."
    if summary.verdicts[0].word == "undecided":
        return "Every posterior can be trusted, but there are too few observations to decide."
    return "Conclusive: every posterior can be trusted."


def _cost(summary: Summary) -> str:
    """Why one uses a net."""
    net, bayes = summary.seconds(summary.net), summary.seconds(summary.judge)
    line = f"{summary.net} takes {duration(net)} per observation"
    if not math.isfinite(bayes):
        return f"{line}; what the posterior {summary.judge} took is not known."
    times = (
        f" (about {float(f'{bayes / net:.1e}'):,.0f} times the net's)" if bayes > net > 0 else ""
    )
    return f"{line}, the posterior {summary.judge} {duration(bayes)}{times}."


def _trust(summary: Summary) -> list[str]:
    """Whether every posterior can be trusted, one line each."""
    lines = []
    for name, posterior in summary.posteriors.items():
        trusted = "has converged" if posterior.kind is Kind.APPROXIMATE else "can be trusted"
        word = trusted if posterior.status is Status.OK else f"is {posterior.status}"
        lines.append(f"{name} {word}: {posterior.status_reason}.")
        covered, total = len(posterior.obs), summary.result.tree["data"].sizes["obs"]
        if covered < total:
            lines.append(
                f"{name} covers {covered} of {total} observations, and so does all that is "
                "measured against it."
            )
        for (subject, other), (outcome, reason) in summary.agreements.items():
            if subject == name and posterior.kind is Kind.SAMPLED and outcome != Outcome.AGREES:
                said = (
                    "disagrees with" if outcome == Outcome.DISAGREES else "is not checked against"
                )
                lines.append(f"{name} {said} {other}: {reason}.")
    scores = {name: summary.value("identity_z", name) for name in summary.result.inverses}
    worst = max(scores, key=lambda name: abs(scores[name]) if math.isfinite(scores[name]) else 0.0)
    if abs(scores[worst]) > IDENTITY_Z_MAX:
        lines.append(
            f"Risk is not Bayes risk + excess risk (z = {scores[worst]:.1f} for {worst}): the true "
            f"h were not drawn from this prior, or {summary.judge} is not their posterior. R then "
            "compares with the model's answer, which need not be the best one."
        )
    if not summary.result.conclusive and summary.verdicts[0].word != "inconclusive":
        lines.append(f"The verdict above is against {summary.judge}, which can be trusted.")
    return lines


def setting(summary: Summary) -> Section:
    """Model, parameters, sizes, seed, and where x comes from."""
    data = summary.result.tree["data"].sizes
    hidden = summary.result.tree["inverses"].sizes["hidden"]
    known = summary.provenance
    source = "given with the h that made them"
    if not summary.has_truth:
        source = "given without their h: real data, or data whose h was not kept"
    rows = [
        ["model", str(known.get("model", "not recorded"))],
        ["observations", f"{data['obs']}, {source}"],
        ["n_visible, n_hidden", f"{data['visible']}, {hidden}"],
        ["seed", str(known.get("seed", "not recorded"))],
    ]
    for name, posterior in summary.posteriors.items():
        rows.append([f"posterior {name}", _method(posterior)])
    parameters = known.get("parameters")
    tables = [Table(["what", "value"], rows)]
    if isinstance(parameters, dict) and parameters:
        values = [[str(name), as_text(value)] for name, value in parameters.items()]
        tables.append(Table(["parameter", "value"], values, "Arguments of the model's build."))
    return Section("Setting", tables=tables)


def _method(posterior: Any) -> str:
    """Method, settings and coverage of a posterior."""
    settings = json.loads(posterior.tree.attrs.get("settings", "{}"))
    said = ", ".join(f"{name} = {as_text(value)}" for name, value in settings.items())
    covered = f"{len(posterior.obs)} observation{'s' * (len(posterior.obs) != 1)}"
    return "; ".join(part for part in (posterior.method, said, covered) if part)


def as_text(value: Any) -> str:
    """A JSON value for a cell."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        return f"{value:,}"
    if value is None:
        return "not given"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


COLUMNS = (
    ("relative risk", "relative_risk"),
    ("R [95 %]", "risk_ratio"),
    ("excess risk", "excess_risk"),
    ("identity z", "identity_z"),
    ("support F1", "support_f1"),
    ("likelihood rank", "likelihood_rank"),
)


def headline(summary: Summary) -> Section:
    """A row per inverse and one for the posterior; only metrics that apply."""
    names = [*summary.result.inverses, POSTERIOR]
    shown = [
        column
        for column in COLUMNS
        if not all(math.isnan(summary.value(column[1], name)) for name in names)
    ]
    rows = []
    for name in names:
        label = f"posterior mean ({summary.judge})" if name == POSTERIOR else name
        cells = [_cell(summary, metric, name) for _, metric in shown]
        time = summary.seconds(summary.judge if name == POSTERIOR else name)
        micro = f"{time * 1e6:,.0f}" if time >= 1e-4 else plain(time * 1e6, 2)
        rows.append([label, *cells, micro])
    caption = (
        f"Against the posterior {summary.judge}. a ± b: value and standard error over "
        "observations. The glossary at the end says what each column means."
    )
    header = ["inverse", *(title for title, _ in shown), "µs per obs."]
    return Section("Headline table", tables=[Table(header, rows, caption)])


def _cell(summary: Summary, metric: str, name: str) -> str:
    row = summary.get(metric, name)
    if row is None:
        return "1" if (metric, name) == ("risk_ratio", POSTERIOR) else ABSENT
    if metric == "risk_ratio":
        return with_interval(row.value, row.low, row.high)
    return plain(row.value, 2) if metric == "identity_z" else with_error(row.value, row.std_error)
