"""The first lines of a report: the answer, its setting, and the headline table."""

import json
import math
from typing import Any, NamedTuple

from probrev.comparison.metrics.case import POSTERIOR
from probrev.comparison.verdict import Word, count_decimals, format_prob
from probrev.model.observations import Origin
from probrev.posterior.agreement import Outcome
from probrev.posterior.posterior import Kind
from probrev.posterior.status import Status
from probrev.report.advice import advise
from probrev.report.blocks import Section, Table
from probrev.report.numbers import ABSENT, duration, plain, with_error, with_interval
from probrev.report.summary import Summary
from probrev.report.words import INVERSES, OWN


class Answer(NamedTuple):
    """The answer, as the page opens with it.

    Attributes:
        word: the verdict's word on the net, or why there is none.
        headline: the answer in a line, the same as the terminal's.
        net: which net is “the net”.
        sentences: the verdict of the net in full, and of the best inverse.
        steps: what to do next.
        cost: what net and posterior cost per observation.
        standing: whether the run is conclusive.
        trust: why or why not.
        conclusive: whether every posterior can be trusted, and its model fits.
        table: every verdict.
    """

    word: str
    headline: str
    net: str
    sentences: list[str]
    steps: list[str]
    cost: str
    standing: str
    trust: list[str]
    conclusive: bool
    table: Table


def answer(summary: Summary) -> Answer:
    """What the run says of the net, how sure it is, and what it costs."""
    first, best = summary.of_net, summary.best
    word = next((doubt.word for doubt in summary.result.doubts.values()), first.word)
    sentences = [f"The net: {first.sentence}."]
    if best.inverse != first.inverse:
        sentences.append(f"The best of {len(summary.own_verdicts)} inverses: {best.sentence}.")
    rows = [
        [one.inverse, one.posterior, str(one.num_obs), one.word, "yes" if one.planned else "no",
         _ratio(one.ratio, one.low, one.high),
         duration(summary.seconds(one.inverse)), duration(summary.seconds(one.posterior))]
        for one in summary.verdicts
    ]  # fmt: skip
    prob = format_prob(first.interval_prob)
    header = [
        "inverse", "against", "observations", "verdict", "planned", f"R [{prob}]", "its time",
        "posterior's time",
    ]  # fmt: skip
    return Answer(
        word, summary.result.headline, _say_net(summary), sentences, advise(summary),
        _cost(summary), _standing(summary), _trust(summary), summary.result.conclusive,
        Table(header, rows, _caption(summary)),
    )  # fmt: skip


def _ratio(value: float, low: float, high: float) -> str:
    """R and its interval, to two decimals unless its word needs more."""
    needed = count_decimals(low, high)
    return with_interval(value, low, high, least=needed if needed > 2 else 0, most=2)


def _say_net(summary: Summary) -> str:
    """Which net the page is about."""
    what = INVERSES.get(summary.net, OWN)
    return f"On this page “the net” is {summary.net}. {what}"


def _caption(summary: Summary) -> str:
    """What R is, where the words come from, and how often they may be wrong."""
    first = summary.verdicts[0]
    prob = format_prob(first.interval_prob)
    parts = [
        "R = risk / Bayes risk, squared errors against the h given with x. Where the model made x "
        "and h and the posterior is not from elsewhere, and where h is not known, it is 1 + excess "
        "risk / posterior variance, which is the same in expectation and spares the noise of h. So "
        f"posteriors that agree may have an R each, within their intervals. These hold {prob}, by "
        "the bootstrap-t of log R over observations; within a few percent of R = 1, where few rare "
        "observations carry the excess, they are too short.",
        "As good as Bayes: the interval ends below 1.1; near: below 1.5; far: it begins above 1.5; "
        "otherwise undecided. Unjudged: figures without a word.",
        *_say_looks(summary),
    ]
    num_planned = sum(one.planned for one in summary.verdicts)
    if len(summary.verdicts) > 1:
        parts.append(
            f"Planned: fixed beforehand as what would be read ({num_planned} of "
            f"{len(summary.verdicts)}). Each verdict may err in 5 % of runs, not all of them "
            "together; one that was not planned is for exploring."
        )
    parts.append("Times are per observation, compilation apart.")
    return " ".join(parts)


def _say_looks(summary: Summary) -> list[str]:
    """How often the data were looked at, where several looks had been planned."""
    looks = summary.provenance.get("looks")
    if not isinstance(looks, dict) or len(looks["planned"]) < 2:
        return []
    planned = ", ".join(map(str, looks["planned"]))
    return [
        f"Looks were planned at {planned} observations, until no planned verdict is undecided; "
        f"this is look {looks['taken']}, and the intervals allow for all."
    ]


def _standing(summary: Summary) -> str:
    """Whether the run is conclusive, in a sentence."""
    if not summary.result.conclusive:
        return "Not conclusive: not every posterior can be trusted and fits."
    if summary.of_net.word is Word.UNDECIDED:
        return "Every posterior can be trusted, but there are too few observations to decide."
    if summary.of_net.word is Word.UNJUDGED:
        return "Every posterior can be trusted, but no word may be said of these observations."
    return "Conclusive: every posterior can be trusted."


def _cost(summary: Summary) -> str:
    """Why one uses a net."""
    net, bayes = summary.seconds(summary.net), summary.seconds(summary.judge)
    line = f"{summary.net} takes {duration(net)} per observation"
    if not math.isfinite(bayes):
        return f"{line}; what the posterior {summary.judge} took is not known."
    # One digit: times of one run are no benchmark.
    times = f" (some {float(f'{bayes / net:.0e}'):,.0f} times the net's)" if bayes > net > 0 else ""
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
    lines += [
        f"{doubt.reason}."
        for name, doubt in summary.result.doubts.items()
        if doubt.word is Word.MISFIT or summary.posteriors[name].status is Status.OK
    ]
    lines += _say_calibration(summary)
    if not summary.result.conclusive and summary.judge not in summary.result.doubts:
        lines.append(f"The verdicts against {summary.judge}, which can be trusted, stand.")
    return lines


def _say_calibration(summary: Summary) -> list[str]:
    """What the h that made x say of the posterior."""
    lines, row = [], summary.get("claimed_over_actual")
    if row is not None:
        lines.append(
            f"{summary.judge} claims {with_interval(row.value, row.low, row.high)} of the squared "
            "error that its mean makes (95 %)."
        )
    p = summary.value("truth_rank_p", POSTERIOR)
    if math.isfinite(p):
        lines.append(
            f"Whether the h given with x could be draws from {summary.judge}: rank test, "
            f"p = {plain(p, 2)}."
        )
    return lines


ORIGINS = {
    Origin.MODEL: "x and h drawn from the model",
    Origin.LAYERS: "x drawn from the model's layers, given h from elsewhere",
    Origin.ELSEWHERE: "x and h given",
}


def setting(summary: Summary) -> Section:
    """Model, parameters, sizes, seed, and where x comes from."""
    data = summary.result.tree["data"].sizes
    hidden = summary.result.tree["inverses"].sizes["hidden"]
    known = summary.provenance
    source = ORIGINS[Origin(summary.result.tree["data"].attrs["origin"])]
    if not summary.has_truth:
        source = "given without their h: real data, or data whose h was not kept"
    rows = [
        ["model", str(known.get("model", known.get("model_in_words", "not recorded")))],
        *([["prior", str(known["prior_in_words"])]] if "prior_in_words" in known else []),
        ["observations", f"{data['obs']}, {source}"],
        ["n_visible, n_hidden", f"{data['visible']}, {hidden}"],
        [
            "seed" if "seed" in known else "seed of the comparison",
            str(known.get("seed", known.get("comparison_seed", "not recorded"))),
        ],
    ]
    for name, posterior in summary.posteriors.items():
        rows.append([f"posterior {name}", _method(posterior)])
    parameters = known.get("parameters")
    tables = [Table(["what", "value"], rows)]
    if isinstance(parameters, dict) and parameters:
        values = [[str(name), as_text(value)] for name, value in parameters.items()]
        what = "Arguments of the model's build."
        if "fitted" in known:
            what = "SHA-256 of the files that were read."
        tables.append(Table(["parameter", "value"], values, what))
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


# What metrics are called at the head of a column.
COLUMNS = (
    ("relative risk", "relative_risk"),
    ("R", "risk_ratio"),
    ("R with h", "risk_ratio_with_h"),
    ("excess risk", "excess_risk"),
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
    if metric.startswith("support") and name in summary.never_zero:
        return ABSENT
    if row is None:
        is_own = metric.startswith("risk_ratio") and name == POSTERIOR
        return "1" if is_own else ABSENT
    if metric.startswith("risk_ratio"):
        return _ratio(row.value, row.low, row.high)
    return with_error(row.value, row.std_error)
