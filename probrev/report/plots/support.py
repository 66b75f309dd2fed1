"""Which units are active: how well inverses and the posterior recover them."""

import numpy as np
from matplotlib.figure import Figure

from probrev.comparison.comparison import Comparison
from probrev.comparison.metrics.case import POSTERIOR
from probrev.report.plots.canvas import POSTERIOR_COLOR, WIDTH, marks, styled
from probrev.report.plots.rows import rows_of

PANELS = {
    "support_precision": "precision",
    "support_recall": "recall",
    "support_f1": "F1",
    "support_exact_match": "exact match",
}


@styled
def plot_support(result: Comparison, posterior: str) -> Figure:
    """Precision, recall, F1 and exact match of every guessed support, with 95 % intervals.

    Inverses that never say 0 guess none.

    Args:
        result: a comparison with a truth, and a posterior with an atom.
        posterior: name of the posterior; its own guess is inclusion probability > 1/2.
    """
    rows = rows_of(result)
    full = (result.tree["inverses"].to_dataset()["h"] > 0).all(["obs", "hidden"])
    names = [name for name in result.inverses if not full.sel(inverse=name)] + [POSTERIOR]
    style = marks(result)
    figure = Figure(figsize=(WIDTH, 0.9 + 0.32 * len(names)))
    axes = figure.subplots(1, len(PANELS), sharey=True, sharex=True)
    for ax, (metric, title) in zip(axes, PANELS.items(), strict=True):
        for place, name in enumerate(names):
            row = rows[metric, name, posterior]
            color, marker = (POSTERIOR_COLOR, "o") if name == POSTERIOR else style[name]
            ends = np.clip([row.low, row.high], 0, 1)
            ax.plot(ends, [place, place], color=color, lw=1.6)
            ax.plot(row.value, place, marker, color=color, ms=6, mec="white", mew=0.6)
        ax.set(title=title, xlim=(-0.04, 1.04), ylim=(len(names) - 0.5, -0.5))
        ax.set_xticks([0, 0.5, 1], ["0", ".5", "1"])
        ax.grid(axis="x", color="#e4e4e4", lw=0.8)
    axes[0].set_yticks(
        range(len(names)), [f"{posterior}, P > ½" if n == POSTERIOR else n for n in names]
    )
    return figure
