"""One observation, unit by unit: what the posterior allows, what the nets said, what was true."""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probrev.comparison.comparison import Comparison
from probrev.posterior.posterior import Kind, Posterior
from probrev.report.numbers import plain
from probrev.report.plots.canvas import (
    MUTED,
    POSTERIOR_COLOR,
    TRUTH_COLOR,
    WIDTH,
    marks,
    styled,
)
from probrev.report.plots.drawing import HOVER

MAX_UNITS = 24
# A unit where all is below so much of the largest value is one that everybody leaves at 0.
NEXT_TO_NOTHING = 0.02


class Units(NamedTuple):
    """The units of one observation.

    Attributes:
        shown: numbers of those with something to see, in order.
        folded: numbers of the others.
        most: what nothing of them is above.
    """

    shown: np.ndarray
    folded: np.ndarray
    most: float

    @property
    def line(self) -> str:
        """The others in a few words."""
        many = "other" if len(self.folded) == 1 else "others"
        return f"{len(self.folded)} {many}, all ≤ {plain(self.most, 2)}"


class Looked(NamedTuple):
    """What there is of one observation, each of all units.

    Attributes:
        low: lower end of the posterior's central 90 % interval.
        high: upper end.
        mean: the posterior's.
        estimates: (inverse, unit).
        truth: None where it is not known.
    """

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    estimates: np.ndarray
    truth: np.ndarray | None

    @property
    def units(self) -> Units:
        """Which to show."""
        truth = [] if self.truth is None else [self.truth]
        return fold_units(np.vstack([self.low, self.high, self.mean, self.estimates, *truth]))


def look_at(result: Comparison, posterior: str, number: int) -> Looked:
    """What a comparison has of one observation.

    Args:
        result: a comparison.
        posterior: name of the posterior.
        number: number of the observation; the posterior must cover it.
    """
    measured = result.tree[f"metrics/{posterior}"].to_dataset()
    return Looked(
        measured["interval_low"].sel(obs=number).to_numpy(),
        measured["interval_high"].sel(obs=number).to_numpy(),
        _mean_of(result.posteriors[posterior], number),
        result.tree["inverses"].to_dataset()["h"].sel(obs=number).to_numpy(),
        result.tree["truth/h"].to_numpy()[number] if "truth" in result.tree else None,
    )


def _mean_of(posterior: Posterior, number: int) -> np.ndarray:
    """The mean of one observation; that of all would go through every draw."""
    if posterior.kind is Kind.SAMPLED:
        return posterior.draws.sel(obs=number).mean(("chain", "draw")).to_numpy()
    return posterior.mean.sel(obs=number).to_numpy()


@styled
def plot_observation(result: Comparison, posterior: str, number: int) -> Figure:
    """Posterior mean and central 90 % interval of each unit, every estimate, and the truth.

    Units that everybody leaves next to 0 are one line, and so are those beyond the 24 on which
    anything is largest.

    Args:
        result: a comparison.
        posterior: name of the posterior.
        number: number of the observation; the posterior must cover it.
    """
    one = look_at(result, posterior, number)
    units = one.units
    rows = len(units.shown) + bool(len(units.folded))
    figure = Figure(figsize=(WIDTH, 1.3 + 0.34 * rows))
    ax = figure.add_subplot()
    place = np.arange(len(units.shown))
    ax.hlines(place, one.low[units.shown], one.high[units.shown], color=POSTERIOR_COLOR, lw=9,
              alpha=0.3, label=f"{posterior}, 90 % interval")  # fmt: skip
    ax.plot(one.mean[units.shown], place, "|", ms=12, mew=2, color=POSTERIOR_COLOR,
            label=f"{posterior}, mean")  # fmt: skip
    _scatter_estimates(ax, result, one.estimates[:, units.shown])
    if one.truth is not None:
        # A cross on every 0 would hide the estimates there.
        own = one.truth[units.shown]
        crosses = np.where(own == 0, np.nan, own)
        ax.plot(crosses, place, "x", ms=8, mew=1.8, color=TRUTH_COLOR, label="truth", zorder=5)
    labels = [f"unit {unit}" for unit in units.shown]
    if len(units.folded):
        ax.plot([0, units.most], [len(place)] * 2, color=MUTED, lw=3, solid_capstyle="butt")
        labels.append(units.line)
    ax.set_yticks(range(rows), labels)
    ax.set(xlabel="$h_i$", ylim=(rows - 0.4, -0.6))
    ax.grid(axis="x", color="#eeeeee", lw=0.8)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return figure


def fold_units(values: np.ndarray) -> Units:
    """Which units to show, and what is left.

    Args:
        values: all there is of each unit, (what, unit).
    """
    largest = np.abs(values).max(0)
    order = np.argsort(-largest, kind="stable")
    shown = order[:MAX_UNITS]
    shown = shown[largest[shown] > NEXT_TO_NOTHING * largest.max()]
    folded = np.setdiff1d(order, shown)
    # One unit takes no more room than a line about it.
    if len(folded) == 1 and len(shown) < MAX_UNITS:
        shown, folded = order, folded[:0]
    most = float(largest[folded].max()) if len(folded) else 0.0
    return Units(np.sort(shown), folded, most)


def _scatter_estimates(ax: Axes, result: Comparison, estimates: np.ndarray) -> None:
    """The inverses' estimates, one below the other within a unit."""
    count, units = estimates.shape
    offsets = np.linspace(-0.3, 0.3, count) if count > 1 else np.zeros(1)
    for name, values, offset in zip(result.inverses, estimates, offsets, strict=True):
        color, marker = marks(result)[name]
        (points,) = ax.plot(
            values, np.arange(units) + offset, ls="none", marker=marker, ms=4.6, color=color,
            mec="white", mew=0.4, label=name, zorder=4,
        )  # fmt: skip
        points.set_gid(f"{HOVER}{name}")
