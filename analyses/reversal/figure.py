"""The figure of reversal, and its finding in words."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.figure import say_range
from analyses.reversal.layer_table import KINDS, tabulate_layers, without_seed
from analyses.table import Row
from probrev.report.plots.canvas import COLORS, MARKERS, MUTED, POSTERIOR_COLOR

Tables = Mapping[str, list[Row]]

WEIGHTS = {"trained": POSTERIOR_COLOR, "gaussian": COLORS[0], "spectral": COLORS[2]}


def draw(figure: Figure, tables: Tables) -> None:
    """Reversal of h and of x, and the profile of activations."""
    axes = figure.subplot_mosaic(
        [["cosine", "correlation", "x"], [".", "profile", "."]], height_ratios=(1.6, 1)
    )
    cosine, correlation, of_x, profile = (
        axes[name] for name in ("cosine", "correlation", "x", "profile")
    )
    draw_reversal(cosine, tables["reversal"], "cosine", "h")
    draw_reversal(correlation, tables["reversal"], "correlation", "h", named=False)
    draw_reversal(of_x, tables["reversal"], "correlation", "x", named=False)
    draw_profile(profile, tables["profile"])


def select(rows: list[Row], **wanted: object) -> list[Row]:
    """The rows that have these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def column(rows: list[Row], name: str) -> np.ndarray:
    """One column."""
    return np.array([row[name] for row in rows])


def distinct(values: Iterable[Any]) -> list[Any]:
    """Values once each, in the order in which they came."""
    return list(dict.fromkeys(values))


def by_net(rows: list[Row]) -> dict[str, list[Row]]:
    """The rows of each net."""
    return {net: select(rows, net=net) for net in distinct(row["net"] for row in rows)}


def draw_reversal(
    ax: Axes, table: list[Row], metric: str, compared: str, *, named: bool = True
) -> None:
    """One line of marks for each layer: its own weights and the controls, filled without dropout.

    Nets that differ in their seed alone share a line.
    """
    shown = select(table, units="all", compared=compared)
    matched = select(shown, pairs="matched")
    layers = distinct(map(layer_of, matched))
    for index, (weights, color) in enumerate(WEIGHTS.items()):
        for keep_prob, fill in ((1.0, color), (0.5, "white")):
            rows = select(matched, weights=weights, keep_prob=keep_prob)
            ax.plot(
                column(rows, metric), [layers.index(layer_of(row)) for row in rows],
                MARKERS[index], color=color, ms=5, mfc=fill, zorder=3,
                label=weights if keep_prob == 1 else f"{weights}, half dropped",
            )  # fmt: skip
    if metric == "cosine":
        rows = select(shown, pairs="shuffled", weights="trained", keep_prob=1.0)
        at = [layers.index(layer_of(row)) for row in rows]
        ax.plot(column(rows, metric), at, "|", color=MUTED, ms=9)
    labels = [f"{net}  {layer}" for net, layer in layers]
    ax.set_yticks(range(len(layers)), labels if named else [""] * len(layers), fontsize=8)
    ax.set(ylim=(len(layers) - 0.4, -0.6), xlim=(min(0.0, ax.get_xlim()[0]), 1.02))
    one, other = ("h", "ĥ") if compared == "h" else ("x", "x̃")
    note = ", unit by unit" if metric == "correlation" else " (grey: shuffled pairs)"
    ax.set_xlabel(f"{metric} of {one} and {other}{note}")
    ax.grid(axis="y", color="#eeeeee")
    if compared == "x":  # one legend serves all three
        ax.legend(frameon=False, fontsize=7, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))


def layer_of(row: Row) -> tuple[str, int]:
    """The net, whatever its seed, and the layer."""
    return without_seed(row["net"]), row["layer"]


def draw_profile(ax: Axes, table: list[Row]) -> None:
    """How sparse the live units of each layer are, and how flat."""
    rows_of = by_net([row | {"net": without_seed(row["net"])} for row in table])
    for index, (net, rows) in enumerate(rows_of.items()):
        share, constant = column(rows, "live_active_share"), column(rows, "constant")
        above = column(rows, "constant_high") - constant
        color = COLORS[index % len(COLORS)]
        ax.errorbar(share, constant, [0 * above, above], capsize=2, lw=1, ls="", color=color)
        marker = MARKERS[index % len(MARKERS)]
        ax.plot(share, constant, marker, ms=5, ls="", color=color, label=net)
        for row, *at in zip(rows, share, constant, strict=True):
            place = (float(at[0]), float(at[1]))
            ax.annotate(str(row["level"]), place, (5, -3), textcoords="offset points", fontsize=7)
    ax.axhline(1, color=MUTED, lw=0.8, ls=":")
    ax.set(
        xlabel="share of the live units that is active (numbers: layers)",
        ylabel="‖h‖∞ / ‖h‖₂ over √(log k / k): median, 95 %",
        ylim=(0, None), xlim=(0, 1.15 * column(table, "live_active_share").max()),
    )  # fmt: skip
    ax.legend(frameon=False, fontsize=7, ncols=2, loc="lower left")


def say(tables: Tables) -> str:
    """The finding: how far nets reverse beside their controls, and D_h."""
    return " ".join(
        [say_reversal(tabulate_layers(tables["reversal"])), say_profile(tables["profile"])]
    )


def say_reversal(table: pd.DataFrame) -> str:
    """How much comes back, and where more than through Gaussian weights."""
    wins = {
        metric + ending: np.sum(table[metric + ending] > table[f"{metric}_gaussian{ending}"])
        for metric in ("cosine", "correlation")
        for ending in ("", "_dropout")
    }
    cosine, gaussian, cosine_dropout, gaussian_dropout = (
        say_range(table[f"cosine{ending}"].to_numpy(), ".2f") for ending in KINDS
    )
    return (
        f"Cosine of h and ĥ down and up one layer: {cosine}, of Gaussian weights {gaussian}; with "
        f"half of x̃ dropped {cosine_dropout} and {gaussian_dropout}. Of {len(table)} layers "
        f"trained weights reverse better in {wins['cosine']} by cosine ({wins['cosine_dropout']} "
        f"with dropout), in {wins['correlation']} ({wins['correlation_dropout']}) by centred "
        "correlation."
    )


def say_profile(table: list[Row]) -> str:
    """How sparse and how flat real activations are."""
    share, constant = column(table, "live_active_share"), column(table, "constant_high")
    return (
        f"{say_range(share, '.0%')} of the live units are active; in 95 % of the "
        f"inputs ‖h‖∞ < {constant.max():.1f} √(log k / k) ‖h‖₂."
    )
