"""All sections of the report, in their order."""

from typing import Any

from probrev.comparison.comparison import Comparison
from probrev.comparison.glossary import SENTENCES
from probrev.comparison.metrics.case import POSTERIOR
from probrev.report.answer import COLUMNS, answer, headline, setting
from probrev.report.appendix import full_table, glossary, provenance
from probrev.report.blocks import Section, Table, image
from probrev.report.fit import fit
from probrev.report.gap import gap
from probrev.report.numbers import percent, plain, with_error
from probrev.report.observations import observations
from probrev.report.plots import (
    plot_calibration,
    plot_curve,
    plot_ladder,
    plot_pit,
    plot_predictive,
    plot_support,
)
from probrev.report.plots.risks import own_noise
from probrev.report.priors import priors
from probrev.report.random_inverses import random_inverses
from probrev.report.samplers import samplers
from probrev.report.summary import Summary
from probrev.report.units import describe_units
from probrev.report.words import INVERSES, OWN, PAPER, POSTERIORS, TERMS, Linker
from probrev.theory.state_evolution import SAME_RISK


def describe(result: Comparison) -> dict[str, Any]:
    """What the template needs: a title, the answer, and the sections that apply to this run."""
    summary = Summary(result)
    sections = [
        setting(summary),
        *fit(summary),
        headline(summary),
        *over_weights(summary),
        *priors(summary),
        *observations(summary),
        calibration(summary),
        *random_inverses(summary),
        *support(summary),
        ladder(summary),
        *gap(summary),
        *samplers(summary),
        *predictive(summary),
        full_table(summary),
        glossary(summary),
        *provenance(summary),
    ]
    known = summary.provenance
    return {
        "title": title(summary),
        "created": str(known.get("created", "")),
        "answer": answer(summary),
        "curve": curve(summary),
        "sections": sections,
        "linked": Linker(meanings(summary)),
        "units": describe_units(summary),
        "paper": PAPER,
    }


def title(summary: Summary) -> str:
    """What the run is of: the name that it was given, or what is known of its model."""
    known = summary.provenance
    fitted, of_net = known.get("fitted"), "a model made in Python"
    if isinstance(fitted, dict) and "layer" in fitted:
        of_net = f"{fitted['layer']} of a net"
    return str(known.get("model", of_net))


def meanings(summary: Summary) -> dict[str, str]:
    """Of the run's inverses, its posteriors, and the columns of its tables."""
    result = summary.result
    names = {name: INVERSES.get(name, OWN) for name in (*result.inverses, *result.random_inverses)}
    methods = {name: one.method for name, one in summary.posteriors.items()}
    posteriors = {
        name: POSTERIORS.get(method, f"A posterior by {method}.")
        for name, method in methods.items()
    }
    columns = {title: SENTENCES[metric] for title, metric in COLUMNS if title not in TERMS}
    return {**columns, **posteriors, **names}


def curve(summary: Summary) -> Section | None:
    """The risk ratio over noise_std, where the model has a curve."""
    if "curve" not in summary.result.tree:
        return None
    own = f"{own_noise(summary.result):.3g}"
    caption = (
        "Risk over Bayes risk against the noise of the layer, both logarithmic. Lines: the net's "
        "risk is measured on fresh draws (bars: 95 %), the Bayes risk is predicted by state "
        "evolution, which assumes a large layer with iid weights: for a small one, or one with "
        "correlated weights, trust the points and not the lines. Points with bars: this run, "
        f"measured on both sides, all at noise_std = {own} and drawn side by side. Dotted: 1.1, "
        "below which a net is as good as Bayes, and 1.5, above which it is far."
    )
    figure = image(plot_curve(summary.result, summary.judge), _say_curve(summary), caption)
    lines = [
        f"The setting decides the answer: this run's noise_std is {own}, other noise, other R."
    ]
    found = summary.result.tree["curve"].to_dataset()
    if "bayes_risk_informed" in found:
        hard = found["bayes_risk_informed"] < (1 - SAME_RISK) * found["bayes_risk"]
        if hard.any():
            where = ", ".join(f"{value:.3g}" for value in found["noise_std"].to_numpy()[hard])
            lines.append(
                f"At noise_std {where} state evolution has a second, lower fixed point: h may be "
                "all but determined by x there, and yet beyond what any quick method finds. The "
                "lines are for what can be found."
            )
    return Section("The answer over noise_std", lines, [figure])


def _say_curve(summary: Summary) -> str:
    """Where the curve begins and ends, and this run on it."""
    found = summary.result.tree["curve"].to_dataset()
    rule = summary.net if summary.net in found["rule"] else str(found["rule"][0].item())
    ratio = found["risk_ratio"].sel(rule=rule).to_numpy()
    noise = found["noise_std"].to_numpy()
    one = summary.of_net
    return (
        f"R of {rule} is {plain(float(ratio[0]))} at noise_std {noise[0]:.3g} and "
        f"{plain(float(ratio[-1]))} at {noise[-1]:.3g}; in this run, at "
        f"{own_noise(summary.result):.3g}, that of {one.inverse} is {plain(one.ratio)}."
    )


def over_weights(summary: Summary) -> list[Section]:
    """The spread over draws of the weights, where there was more than one."""
    if "over_weights" not in summary.result.tree:
        return []
    ratio = summary.result.tree["over_weights/ratio"]
    draws = ratio.sizes["weight_seed"]
    rows = [
        [str(name), *(plain(float(v)) for v in (one.min(), one.median(), one.max()))]
        for name, one in ((one["inverse"].item(), one) for one in ratio.transpose("inverse", ...))
    ]
    caption = f"R under {draws} draws of the weights; everything else in this report is the first."
    return [
        Section(
            "Other weights", tables=[Table(["inverse", "least", "median", "most"], rows, caption)]
        )
    ]


def calibration(summary: Summary) -> Section:
    """Whether the posterior's probabilities hold, and where the estimates lie in them."""
    section = Section("Calibration")
    if not summary.has_truth:
        section.lines.append(
            "Without the true h the posterior's calibration cannot be checked here. The share of "
            "each estimate's units inside the posterior's central 90 % intervals:"
        )
    else:
        section.lines.append(_coverage(summary))
        if summary.has_atom:
            section.images.append(_inclusion_curve(summary))
        section.images.append(_pit(summary))
    mass = summary.get("interval_mass")
    inside = [(name, summary.get("inside_interval", name)) for name in summary.result.inverses]
    rows = [[name, with_error(row.value, row.std_error)] for name, row in inside if row]
    if mass:
        rows.append(["the posterior's own mass", with_error(mass.value, mass.std_error)])
    caption = (
        "Share of units inside the central 90 % intervals. Intervals that end on the atom at 0 "
        "hold more than 90 %, so the last row is what a draw of the posterior would score."
    )
    section.tables.append(Table(["estimate", "inside"], rows, caption))
    return section


def _coverage(summary: Summary) -> str:
    covered, mass = summary.get("truth_in_interval"), summary.get("interval_mass")
    line = ""
    if covered and mass:
        line = (
            f"The 90 % intervals of {summary.judge} hold a share of "
            f"{with_error(covered.value, covered.std_error)} of the true units; their own "
            f"posterior mass is {with_error(mass.value, mass.std_error)}. The two should agree."
        )
    brier, log_score = summary.get("brier"), summary.get("log_score")
    if brier and log_score:
        line += (
            f" Inclusion probabilities: Brier score {with_error(brier.value, brier.std_error)}, "
            f"log score {with_error(log_score.value, log_score.std_error)}."
        )
    return line


def _inclusion_curve(summary: Summary):
    return image(
        plot_calibration(summary.result, summary.judge),
        "Share of units active against their inclusion probability, with the band of a calibrated "
        f"posterior. {_coverage(summary)}",
        "How often units were active, against the inclusion probability that the posterior gave "
        "them (all units and observations pooled, made monotone). The shaded band is where the "
        "curve of a calibrated posterior lies 95 % of the time, point by point; the line should "
        "stay within it.",
    )


def _pit(summary: Summary):
    return image(
        plot_pit(summary.result, summary.judge),
        "Difference between the distribution of the truth's PIT and a uniform one, with the p of "
        "its test",
        "Rank of the true hᵢ among the posterior's draws, ties at 0 broken at random: its "
        "cumulative distribution minus the uniform one. 0 throughout for a perfect posterior; p is "
        "ArviZ's test of uniformity, and points are marked where it fails.",
    )


def support(summary: Summary) -> list[Section]:
    """Support recovery, where there is an atom, and a truth to recover."""
    if not summary.has_atom:
        return []
    names = summary.result.inverses
    probs = [(name, summary.get("support_prob", name)) for name in names]
    full = summary.never_zero
    rows = [
        [name, with_error(row.value, row.std_error)]
        for name, row in probs
        if row and name not in full
    ]
    caption = (
        "Posterior probability of exactly the estimate's active units, mean over observations."
    )
    section = Section("Support", tables=[Table(["inverse", "support probability"], rows, caption)])
    if full:
        section.lines.append(
            f"{', '.join(full)} never say{'s' * (len(full) == 1)} exactly 0: no support says "
            "anything about such an estimate, and none is shown."
        )
    if summary.has_truth:
        section.images.append(
            image(
                plot_support(summary.result, summary.judge),
                _say_support(summary),
                "How well active units are recovered, pooled over observations, with 95 % "
                "intervals; right is better. The posterior's guess is every unit with inclusion "
                "probability above ½.",
            )
        )
    return [section]


def _say_support(summary: Summary) -> str:
    """F1 of those that have one, the best first."""
    found = {
        name: summary.value("support_f1", name)
        for name in (*summary.result.inverses, POSTERIOR)
        if name not in summary.never_zero
    }
    said = [f"{name} {plain(found[name], 2)}" for name in sorted(found, key=lambda n: -found[n])]
    return f"F1 of the recovered support: {', '.join(said)}."


def ladder(summary: Summary) -> Section:
    """Every inverse beside Bayes."""
    figure = plot_ladder(summary.result, summary.judge)
    what = "relative risk" if summary.has_truth else "1 + excess risk / posterior variance"
    caption = (
        f"The {what} of every inverse and of the posterior mean, logarithmic, with 95 % intervals "
        "over observations; left is better. Dotted: Bayes. Only the posterior mean is guaranteed "
        "to be lowest, on average over the model."
    )
    section = Section("The ladder", images=[image(figure, _say_ladder(summary, what), caption)])
    own, claimed = summary.get("relative_risk"), summary.get("claimed_relative_risk")
    if own and claimed:
        section.lines.append(
            f"The posterior mean's relative risk is {with_error(own.value, own.std_error)}; the "
            f"posterior itself expects {with_error(claimed.value, claimed.std_error)}."
        )
    return section


def _say_ladder(summary: Summary, what: str) -> str:
    """The figures of every inverse, and of the posterior mean."""
    metric = "relative_risk" if summary.has_truth else "risk_ratio"
    names = [*summary.result.inverses, *([POSTERIOR] if summary.has_truth else [])]
    said = [
        f"{'posterior mean' if name == POSTERIOR else name} {plain(summary.value(metric, name))}"
        for name in names
    ]
    return f"The {what}: {', '.join(said)}."


SURPRISES = {
    "zero_share": "share of zeros",
    "norm": "norm",
    "largest": "largest entry",
    "log_likelihood": "likelihood",
}


def predictive(summary: Summary) -> list[Section]:
    """Whether the model could have made x, where it can be drawn from."""
    said, high = [], []
    for name, words in SURPRISES.items():
        row = summary.get(f"predictive_surprise_{name}", POSTERIOR)
        if row:
            said.append(f"{words} {percent(row.value)}")
            # Two standard errors above what a model that made x may show.
            if row.low > 0.1:
                high.append(words)
    if not said:
        return []
    line = (
        f"Observations whose statistic lies outside 90 % of its posterior predictive: "
        f"{', '.join(said)}. A model that made x shows 10 % or less, but for chance."
    )
    line += (
        f" The model does not explain the {' and the '.join(high)} of these x: its posteriors, and "
        "all that is measured against them, describe something else."
        if high
        else " Nothing here speaks against the model."
    )
    if "fit" in summary.result.tree:
        line += " These x the layer made itself; “What the verdict hangs on” tells of real ones."
    caption = (
        "Each x's share of zeros, norm and largest entry (points), in increasing order, on 90 % of "
        "what the posterior predicts for it (bars) and 90 % of what the prior predicts for any x "
        "(band). Diamonds: outside their bar."
    )
    figure = plot_predictive(summary.result, summary.judge)
    alt = f"Statistics of each x and what is predicted of them. {line}"
    return [Section("What the model predicts of x", [line], [image(figure, alt, caption)])]
