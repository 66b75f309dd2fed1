"""Ranks of the truth: how far their distribution is from a uniform one."""

import math

import numpy as np
import xarray as xr
from arviz_stats.ecdf_utils import ecdf_pit
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probrev.report.plots.canvas import MUTED, POSTERIOR_COLOR, WIDTH, styled

BAND_PROB = 0.95
# Of uniform ranks, to find the band.
NUM_SIMULATED = 1000
REJECTED_COLOR = "#b4512b"
COLUMNS, ROW_HEIGHT = 3, 1.6


@styled
def plot_ecdf(ranks: xr.DataArray, rejected: set[str]) -> Figure:
    """Δ-ECDF of the ranks of each quantity, with a band that holds all of a right one's in 95 %.

    Args:
        ranks: (simulation, name), the second dimension labelled.
        rejected: names to mark.

    Source: Säilynoja, Bürkner and Vehtari 2022, through ArviZ's `ecdf_pit`; ArviZ's own figure
    draws no band but of single variables, and says it will draw none.
    """
    (name,) = (dim for dim in ranks.dims if dim != "simulation")
    titles = [str(one) for one in ranks[name].to_numpy()]
    band = simultaneous_band(ranks.sizes["simulation"])
    columns = min(COLUMNS, len(titles))
    rows = math.ceil(len(titles) / columns)
    figure = Figure(figsize=(WIDTH * columns / COLUMNS, 0.3 + ROW_HEIGHT * rows))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, title in zip(axes, titles, strict=False):
        _panel(ax, ranks.sel({name: title}).to_numpy(), band, title, title in rejected)
    for ax in axes[len(titles) :]:
        ax.set_visible(False)
    for ax in axes[max(0, len(titles) - columns) : len(titles)]:
        ax.set_xlabel("rank of the truth")
        ax.xaxis.set_tick_params(labelbottom=True)
    for ax in axes[::columns]:
        ax.set_ylabel("ECDF − uniform")
    return figure


def simultaneous_band(size: int) -> Float[np.ndarray, "3 point"]:
    """Points in [0, 1], and both ends of the band of the Δ-ECDF there.

    Args:
        size: number of ranks.
    """
    rng = np.random.default_rng(0)
    points, _, low, high = ecdf_pit(np.linspace(0, 1, size), BAND_PROB, NUM_SIMULATED, rng=rng)
    return np.stack([points, low - points, high - points])


def _panel(ax: Axes, ranks: np.ndarray, band: np.ndarray, title: str, is_rejected: bool) -> None:
    color = REJECTED_COLOR if is_rejected else POSTERIOR_COLOR
    ax.fill_between(*band, color=MUTED, alpha=0.25, lw=0)
    ax.axhline(0, color=MUTED, lw=0.8, ls=":")
    ordered = np.concatenate([[0.0], np.sort(ranks), [1.0]])
    shares = np.concatenate([np.arange(len(ranks) + 1) / len(ranks), [1.0]])
    # Both ends of each step.
    points = np.repeat(ordered, 2)[1:]
    steps = np.repeat(shares, 2)[:-1]
    ax.plot(points, steps - points, color=color, lw=1.1)
    ax.set_title(title, color=color if is_rejected else "black", fontsize=8.5)
