"""Risks: of every inverse beside Bayes, and of nets over noise_std."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from probrev.comparison.comparison import Comparison
from probrev.comparison.metrics.case import POSTERIOR, Row
from probrev.comparison.verdict import AS_GOOD_BELOW, NEAR_BELOW
from probrev.report.numbers import with_interval
from probrev.report.plots.canvas import MUTED, POSTERIOR_COLOR, WIDTH, marks, styled
from probrev.report.plots.drawing import HOVER
from probrev.report.plots.rows import rows_of


@styled
def plot_ladder(result: Comparison, posterior: str) -> Figure:
    """Relative risk of every inverse and of the posterior mean, with 95 % intervals.

    Runs without a truth have no risk: there it is the risk ratio, 1 + excess / posterior variance.

    Args:
        result: a comparison.
        posterior: name of the posterior that stands for Bayes.
    """
    rows = rows_of(result)
    names, metric, label = [*result.inverses], "risk_ratio", "1 + excess risk / posterior variance"
    bayes = Row(metric, POSTERIOR, 1.0)
    if ("relative_risk", POSTERIOR, posterior) in rows:
        names, metric, label = (
            [*names, POSTERIOR],
            "relative_risk",
            "relative risk  Σ‖ĥ − h‖² / Σ‖h‖²",
        )
        bayes = rows[metric, POSTERIOR, posterior]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.36 * len(names)))
    ax = figure.add_subplot()
    if 0 < bayes.value < np.inf:
        ax.axvline(bayes.value, color=POSTERIOR_COLOR, lw=1, ls=":")
    style = marks(result)
    for place, name in enumerate(names):
        color, marker = (POSTERIOR_COLOR, "o") if name == POSTERIOR else style[name]
        _whisker(ax, rows[metric, name, posterior], place, color, marker)
    shown = [f"posterior mean ({posterior})" if name == POSTERIOR else name for name in names]
    ax.set_yticks(range(len(names)), shown)
    ax.set(ylim=(len(names) - 0.5, -0.5), xlabel=label)
    _log_axis(ax, "x")
    ax.grid(axis="x", color="#e4e4e4", lw=0.8)
    return figure


@styled
def plot_curve(result: Comparison, posterior: str) -> Figure:
    """Risk ratio of nets over noise_std, and this run's measured ratios on it.

    The lines divide a net's risk, measured on fresh draws, by a Bayes risk that state evolution
    predicts; the points are this run's own, measured on both sides, with 95 % intervals.

    Args:
        result: a comparison with a curve.
        posterior: name of the posterior that stands for Bayes.
    """
    curve = result.tree["curve"].to_dataset()
    style = marks(result)
    figure = Figure(figsize=(WIDTH, 4.4))
    ax = figure.add_subplot()
    noise = curve["noise_std"].to_numpy()
    for index, rule in enumerate(curve["rule"].to_numpy().astype(str)):
        one = curve.sel(rule=rule)
        spread = one["net_risk_std_error"] / one["bayes_risk"]
        color = style[rule].color if rule in style else MUTED
        ax.errorbar(
            noise, one["risk_ratio"], 1.96 * spread,
            color=color, ls=("-", "--", "-.")[index % 3], lw=1.4, capsize=2, label=f"{rule}, curve",
        )  # fmt: skip
    for limit in (AS_GOOD_BELOW, NEAR_BELOW):
        ax.axhline(limit, color=MUTED, lw=0.9, ls=":")
        ax.text(noise[-1] * 1.32, limit, f"{limit}", color="#555555", va="center", fontsize=8)
    verdicts = [one for one in result.verdicts if one.posterior == posterior]
    # Side by side around the run's own noise_std, so that the intervals can be told apart.
    reach = min(0.18, 0.02 * len(verdicts))
    nudges = np.exp(np.linspace(-reach, reach, len(verdicts)) if len(verdicts) > 1 else [0.0])
    for one, nudge in zip(verdicts, nudges, strict=True):
        color, marker = style[one.inverse]
        row = Row("risk_ratio", one.inverse, one.ratio, low=one.low, high=one.high)
        place = own_noise(result) * nudge
        _whisker(ax, row, place, color, marker, vertical=True, label=one.inverse)
    ax.set(xlabel="noise_std σ", ylabel="risk / Bayes risk")
    ax.set_xscale("log")
    ax.set_xticks(noise, [f"{value:.3g}" for value in noise])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.minorticks_off()
    _log_axis(ax, "y")
    ax.set_xlim(noise[0] / 1.15, noise[-1] * 1.3)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower left", ncols=3)
    return figure


def own_noise(result: Comparison) -> float:
    """noise_std of the run itself: the curve is swept around it."""
    return float(result.tree["curve"].attrs["own_noise_std"])


def _whisker(
    ax: Axes,
    row: Row,
    place: float,
    color: str,
    marker: str,
    *,
    vertical: bool = False,
    label: str = "",
) -> None:
    """A point with its interval, or alone where it has none."""
    ends, places = np.array([row.low, row.high]), np.full(2, place)
    if np.all(np.isfinite(ends)):
        ax.plot(*((places, ends) if vertical else (ends, places)), color=color, lw=1.6, zorder=3)
    at = (place, row.value) if vertical else (row.value, place)
    (point,) = ax.plot(*at, ls="none", marker=marker, color=color, ms=7, mec="white", mew=0.5,
                       zorder=4, label=label)  # fmt: skip
    said = with_interval(row.value, row.low, row.high)
    point.set_gid(f"{HOVER}{row.subject}: {said}")


def _log_axis(ax: Axes, name: str) -> None:
    """Logarithmic, with plain numbers at 1, 2 and 5 of each decade."""
    getattr(ax, f"set_{name}scale")("log")
    axis = getattr(ax, f"{name}axis")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
