"""What the model predicts of x, before and after seeing it, beside x."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probrev.comparison.comparison import Comparison
from probrev.report.plots.canvas import MUTED, POSTERIOR_COLOR, TRUTH_COLOR, WIDTH, styled

PANELS = {"zero_share": "share of zeros in x", "norm": "‖x‖", "largest": "largest $x_j$"}
SURPRISE_COLOR = "#D55E00"


@styled
def plot_predictive(result: Comparison, posterior: str) -> Figure:
    """Statistics of each x beside 90 % of its posterior predictive and of the prior predictive.

    Args:
        result: a comparison.
        posterior: name of the posterior that the replicates were drawn from.
    """
    measured = result.tree[f"metrics/{posterior}"].to_dataset()
    figure = Figure(figsize=(WIDTH, 3.1))
    axes = figure.subplots(1, len(PANELS))
    for ax, (name, title) in zip(axes, PANELS.items(), strict=True):
        observed = measured[f"{name}_observed"].to_numpy()
        replicated = measured[f"{name}_posterior"].to_numpy()
        prior = measured[f"{name}_prior"].to_numpy()
        _panel(ax, observed, replicated, prior)
        ax.set(title=title, xticks=[], xlabel="x, in order")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
    return figure


def _panel(ax: Axes, observed: np.ndarray, replicated: np.ndarray, prior: np.ndarray) -> None:
    """One statistic: observations in increasing order of it."""
    order = np.argsort(observed, kind="stable")
    place = np.arange(len(order))
    low, high = np.percentile(replicated, [5, 95], axis=0)
    below = (replicated < observed).mean(0) + 0.5 * (replicated == observed).mean(0)
    outside = ((below < 0.05) | (below > 0.95))[order]
    ax.axhspan(*np.percentile(prior, [5, 95]), color=MUTED, alpha=0.15, lw=0,
               label="90 % of the prior predictive")  # fmt: skip
    width = np.clip(110 / len(order), 1, 5)
    ax.vlines(place, low[order], high[order], color=POSTERIOR_COLOR, alpha=0.45, lw=width,
              label="90 % of the posterior predictive")  # fmt: skip
    ax.plot(place[~outside], observed[order][~outside], "o", ms=3.5, color=TRUTH_COLOR,
            label="observed")  # fmt: skip
    ax.plot(place[outside], observed[order][outside], "D", ms=4.5, color=SURPRISE_COLOR,
            label="observed, outside")  # fmt: skip
