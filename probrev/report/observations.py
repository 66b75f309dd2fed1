"""Single observations: a typical one and the worst one."""

from dataclasses import replace

import numpy as np

from probrev.posterior.posterior import Kind
from probrev.report.blocks import Section, image
from probrev.report.numbers import percent, plain
from probrev.report.plots import plot_observation
from probrev.report.plots.observation import look_at
from probrev.report.summary import Summary
from probrev.report.units import net_error


def observations(summary: Summary) -> list[Section]:
    """The typical observation and the worst, or the only one."""
    error = net_error(summary)
    order = error["obs"].to_numpy()[np.argsort(error.to_numpy(), kind="stable")]
    if order.size == 1:
        return [_section(summary, "The only observation", int(order[0]), "")]
    what = str(error.name).replace("_", " ")
    typical = f"Its {what} of {summary.net} is the median of {order.size} observations. "
    worst = f"Its {what} of {summary.net} is the largest of {order.size} observations. "
    return [
        _section(summary, "A typical observation", int(order[(order.size - 1) // 2]), typical),
        replace(
            _section(summary, "The worst observation", int(order[-1]), worst), any_observation=True
        ),
    ]


def _section(summary: Summary, title: str, number: int, why: str) -> Section:
    figure = plot_observation(summary.result, summary.judge, number)
    truth = ", × the truth where it is not 0" if summary.has_truth else ""
    caption = (
        f"Observation {number}, unit by unit. Bars: central 90 % of p(hᵢ | x); dashes: its mean; "
        f"points: estimates of the inverses{truth}. An estimate outside a bar is one that the "
        "posterior all but rules out. Units that everybody leaves at 0 are one line."
    )
    alt = f"Intervals and estimates of observation {number}: {_say_outside(summary, number)}"
    return Section(
        title, [why + _errors(summary, number), _circumstances(summary, number)],
        [image(figure, alt, caption)],
    )  # fmt: skip


def _say_outside(summary: Summary, number: int) -> str:
    """In which units the net lies outside the posterior's interval."""
    one = look_at(summary.result, summary.judge, number)
    net = one.estimates[summary.result.inverses.index(summary.net)]
    outside = np.flatnonzero((net < one.low) | (net > one.high))
    which = ", ".join(map(str, outside[:12])) + (", …" if len(outside) > 12 else "")
    where = f"outside the 90 % interval in units {which}" if which else "inside every 90 % interval"
    return f"{summary.net} lies {where}"


def _errors(summary: Summary, number: int) -> str:
    """How far net and posterior mean are off."""
    found = summary.result.tree[f"metrics/{summary.judge}"].to_dataset().sel(obs=number)
    net = found.sel(inverse=summary.net)
    claimed = f"The posterior's own variance there is {plain(float(found['claimed_risk']))}"
    if not summary.has_truth:
        excess = plain(float(net["excess_risk"]))
        return f"{claimed}; {summary.net} is {excess} from the posterior mean (squared distance)."
    h = summary.result.tree["truth/h"].to_numpy()[number]
    return (
        f"{(h != 0).sum()} of {h.size} units are active, Σh² = {plain(float((h**2).sum()))}. "
        f"Squared error of {summary.net} {plain(float(net['squared_error']))}, of the posterior "
        f"mean {plain(max(float(found['bayes_squared_error']), 0.0))}. {claimed}."
    )


def _circumstances(summary: Summary, number: int) -> str:
    """What is special about it: zeros, evidence, likelihood and support."""
    found = summary.result.tree[f"metrics/{summary.judge}"].to_dataset().sel(obs=number)
    x = summary.result.tree["data/x"].to_numpy()[number]
    said = [f"{percent(float((x == 0).mean()))} of x is 0"]
    if "zero_share_posterior" in found:
        replicated = found["zero_share_posterior"].to_numpy()
        said[0] += f" (posterior predictive: {percent(float(replicated.mean()))} on average)"
    posterior = summary.posteriors[summary.judge]
    if posterior.kind is Kind.EXACT:
        evidence = posterior.tree["exact"].to_dataset()["log_evidence"]
        own = float(evidence.sel(obs=number))
        rank = int((evidence < own).sum()) + 1
        nth = "" if rank == 1 else f"{_ordinal(rank)} "
        place = f", the {nth}lowest of {evidence.size}" * (evidence.size > 1)
        said.append(f"log p(x) = {plain(own, 4)}{place}")
    if "likelihood_rank" in found:
        rank = float(found["likelihood_rank"].sel(inverse=summary.net))
        said.append(
            f"{summary.net} explains x better than {percent(rank)} of the posterior's draws do"
        )
    if "support_prob" in found:
        prob = float(found["support_prob"].sel(inverse=summary.net))
        said.append(f"the posterior gives its active set probability {plain(prob, 2)}")
    return "; ".join(said) + "."


def _ordinal(rank: int) -> str:
    ending = "th" if 10 <= rank % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"
