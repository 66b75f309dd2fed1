"""One observation, unit by unit: what the posterior allows, what the nets said, what was true."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probrev.comparison.comparison import Comparison
from probrev.report.plots.canvas import POSTERIOR_COLOR, TRUTH_COLOR, WIDTH, marks, styled

MAX_UNITS = 32


@styled
def plot_observation(result: Comparison, posterior: str, number: int) -> Figure:
    """Posterior mean and central 90 % interval of each unit, every estimate, and the truth.

    Where there are more than 32 units, those on which anything is largest are shown.

    Args:
        result: a comparison.
        posterior: name of the posterior.
        number: number of the observation; the posterior must cover it.
    """
    measured = result.tree[f"metrics/{posterior}"].to_dataset().sel(obs=number)
    low, high = measured["interval_low"].to_numpy(), measured["interval_high"].to_numpy()
    mean = result.posteriors[posterior].mean.sel(obs=number).to_numpy()
    estimates = result.tree["inverses/h"].sel(obs=number).to_numpy()
    truth = result.tree["truth/h"].to_numpy()[number] if "truth" in result.tree else None
    units = shown_units(np.vstack([high, mean, estimates, *([] if truth is None else [truth])]))
    figure = Figure(figsize=(WIDTH, 3.5))
    ax = figure.add_subplot()
    place = np.arange(len(units))
    ax.vlines(place, low[units], high[units], color=POSTERIOR_COLOR, lw=7, alpha=0.3,
              label=f"{posterior}, 90 % interval")  # fmt: skip
    ax.plot(place, mean[units], "_", ms=11, mew=2, color=POSTERIOR_COLOR,
            label=f"{posterior}, mean")  # fmt: skip
    _scatter_estimates(ax, result, estimates[:, units])
    if truth is not None:
        # A cross on every 0 would hide the estimates there.
        crosses = np.where(truth[units] == 0, np.nan, truth[units])
        ax.plot(place, crosses, "x", ms=8, mew=1.8, color=TRUTH_COLOR, label="truth", zorder=5)
    ax.set_xticks(place, [str(unit) for unit in units], fontsize=8)
    ax.set(xlabel="unit", ylabel="$h_i$", xlim=(-0.7, len(units) - 0.3))
    ax.grid(axis="y", color="#eeeeee", lw=0.8)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return figure


def shown_units(values: np.ndarray) -> np.ndarray:
    """Numbers of the units to show, in order: all, or those where anything is largest."""
    largest = np.argsort(-np.abs(values).max(0), kind="stable")
    return np.sort(largest[:MAX_UNITS])


def _scatter_estimates(ax: Axes, result: Comparison, estimates: np.ndarray) -> None:
    """The inverses' estimates, side by side within a unit."""
    count, units = estimates.shape
    # Close together even where there are few units.
    reach = 0.3 * min(1.0, units / 16)
    offsets = np.linspace(-reach, reach, count) if count > 1 else np.zeros(1)
    for name, values, offset in zip(result.inverses, estimates, offsets, strict=True):
        color, marker = marks(result)[name]
        ax.plot(
            np.arange(units) + offset, values, ls="none", marker=marker, ms=4.6, color=color,
            mec="white", mew=0.4, label=name, zorder=4,
        )  # fmt: skip
