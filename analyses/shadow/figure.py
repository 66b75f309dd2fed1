"""Drawing SHADOW's effects: changes of test error and calibration, and learning curves."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.figure import bars
from analyses.shadow.cases import BASELINE, LONG, MODES
from probrev.report.plots.canvas import COLORS, MARKERS

ARMS = (BASELINE, *MODES, LONG)
STYLES = {
    BASELINE: ("black", "o", "-"),
    **{arm: (COLORS[index], MARKERS[index], "-") for index, arm in enumerate(MODES)},
    LONG: ("#999999", "^", "--"),
}
NUM_COLUMNS = 4


def draw_cases(cases: Mapping[str, Mapping[str, xr.Dataset]], effects: pd.DataFrame) -> Figure:
    """Changes above, learning curves below.

    Args:
        cases: data of every arm of every case.
        effects: what `list_effects` made of them.
    """
    num_rows = -(-len(cases) // NUM_COLUMNS)
    figure = Figure(figsize=(11.5, 4.8 + 2.1 * num_rows), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=(4.4, 2.1 * num_rows))
    above = figure.add_subfigure(grid[0])
    below = figure.add_subfigure(grid[1])
    left, right = above.subplots(1, 2, sharey=True)
    draw_changes(left, effects, "ratio", 1.0)
    left.set_xlabel("test error / baseline's")
    draw_changes(right, effects, "calibration_change", 0.0)
    right.set_xlabel("calibration error − baseline's")
    axes = below.subplots(num_rows, NUM_COLUMNS, squeeze=False).ravel()
    for ax, (name, arms) in zip(axes, cases.items(), strict=False):
        draw_curves(ax, name, arms)
    for ax in axes[len(cases) :]:
        ax.set_axis_off()
    for ax in axes[::NUM_COLUMNS]:
        ax.set_ylabel("test error", fontsize=8)
    for ax in axes[max(len(cases) - NUM_COLUMNS, 0) : len(cases)]:
        ax.set_xlabel("gradient steps", fontsize=8)
    below.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def draw_changes(ax: Axes, effects: pd.DataFrame, column: str, unchanged: float) -> None:
    """A change against the baseline in every case, with 95 % intervals.

    Args:
        ax: axes to draw on.
        effects: what `list_effects` returned.
        column: which change.
        unchanged: its value where the arm is as the baseline.
    """
    names = list(dict.fromkeys(effects["case"]))
    for offset, arm in zip((-0.22, 0.0, 0.22), ARMS[1:], strict=True):
        rows = effects.loc[effects["arm"] == arm]
        value, low, high = (np.asarray(rows[column + end]) for end in ("", "_low", "_high"))
        place = np.array([names.index(name) for name in rows["case"]]) + offset
        color, marker, _ = STYLES[arm]
        ax.errorbar(
            value, place, xerr=bars(value, low, high), color=color,
            marker=marker, ms=4, ls="", capsize=2, label=arm,
        )  # fmt: skip
    ax.axvline(unchanged, color="#555555", lw=0.8)
    ax.set_yticks(range(len(names)), [say_case(name) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(labelsize=9)


def draw_curves(ax: Axes, name: str, arms: Mapping[str, xr.Dataset]) -> None:
    """Test error of every arm over gradient steps, mean over seeds with its standard error."""
    for arm, data in arms.items():
        color, _, line = STYLES[arm]
        error = data["error"].to_numpy()
        mean, spread = error.mean(1), error.std(1, ddof=1) / np.sqrt(error.shape[1])
        steps = data["num_steps"].to_numpy()
        ax.plot(steps, mean, color=color, ls=line, lw=1.2, label=arm)
        ax.fill_between(steps, mean - spread, mean + spread, color=color, alpha=0.15, lw=0)
    last = min(float(data["error"].isel(check=-1).mean()) for data in arms.values())
    # The start, where all arms err often, would hide how they differ later.
    first = max(float(data["error"][:3][-1].mean()) for data in arms.values())
    height = max(first - last, 0.15 * last)
    ax.set(xscale="log", ylim=(last - 0.15 * height, first + 0.1 * height))
    ax.set_title(say_case(name), fontsize=9)
    ax.tick_params(labelsize=7)
    ax.minorticks_off()


def say_case(name: str) -> str:
    """A case as a reader would say it."""
    images, size = name.split("-")
    return f"{images}, {'all labels' if size == 'whole' else size + ' labels'}"
