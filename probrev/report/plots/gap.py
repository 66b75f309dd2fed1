"""The gap between the net and Bayes, part by part."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probrev.comparison.metrics.case import POSTERIOR
from probrev.report.plots.canvas import MUTED, POSTERIOR_COLOR, WIDTH, styled

GAIN_COLOR, LOSS_COLOR = "#009E73", "#D55E00"


@styled
def plot_gap(gap: xr.Dataset, posterior: str) -> Figure:
    """What each part of the gap takes off the net's relative risk, down to that of Bayes.

    Args:
        gap: what `split_gap` found.
        posterior: name of the posterior that stands for Bayes.
    """
    parts = gap.isel(part=np.argsort(~gap["in_sum"].to_numpy(), kind="stable"))
    count = parts.sizes["part"]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.42 * count))
    ax = figure.add_subplot()
    draw_gap(ax, parts)
    ends = [posterior if name == POSTERIOR else name for name in parts["end"].to_numpy()]
    labels = [
        f"{part}\n{start} → {end}"
        for part, start, end in zip(
            parts["part"].to_numpy(), parts["start"].to_numpy(), ends, strict=True
        )
    ]
    ax.set_yticks(range(count), labels)
    return figure


def draw_gap(ax: Axes, parts: xr.Dataset) -> None:
    """Bars from each rung's relative risk to the next one's, with 95 % whiskers at their ends."""
    start, value = parts["start_risk"].to_numpy(), parts["value"].to_numpy()
    summed = parts["in_sum"].to_numpy()
    places = np.arange(len(value))
    for place in places:
        color = GAIN_COLOR if value[place] >= 0 else LOSS_COLOR
        # Hollow: beside the sum, not in it.
        face, hatch = (color, None) if summed[place] else ("white", "////")
        ax.barh(place, -value[place], left=start[place], height=0.56, alpha=0.75,
                facecolor=face, edgecolor=color, hatch=hatch)  # fmt: skip
    if "low" in parts:
        ends = start - np.stack([parts["high"], parts["low"]])
        ax.hlines(places, *ends, color="#333333", lw=1.4, zorder=3)
    chain = np.flatnonzero(summed)
    ends = (start - value)[chain]
    for place, end in zip(chain[:-1], ends[:-1], strict=True):
        ax.plot([end, end], [place, place + 1], color=MUTED, lw=0.8, ls=":", zorder=1)
    ax.axvline(ends[-1], color=POSTERIOR_COLOR, lw=1, ls=":")
    ax.set(ylim=(len(value) - 0.5, -0.5), xlabel="relative risk  Σ‖ĥ − h‖² / Σ‖h‖²")
    low, high = ax.get_xlim()
    ax.set_xlim(min(0.0, low), 1.03 * high)
    ax.grid(axis="x", color="#e4e4e4", lw=0.8)
    ax.set_axisbelow(True)
