"""The spread of a random inverse beside that of the posterior, unit by unit."""

import numpy as np
from matplotlib.figure import Figure

from probrev.comparison.comparison import Comparison
from probrev.report.plots.canvas import MUTED, POSTERIOR_COLOR, WIDTH, styled


@styled
def plot_spreads(result: Comparison, posterior: str, sampler: str) -> Figure:
    """Mean and standard deviation of each unit's samples over those of the posterior.

    Args:
        result: a comparison with a random inverse.
        posterior: name of the posterior; observations without samples are left out.
        sampler: name of the random inverse.
    """
    law = result.posteriors[posterior]
    samples = result.tree["random_inverses"].to_dataset().sel(sampler=sampler)
    common = np.intersect1d(law.obs, samples["obs"])
    mean, var = (moment.sel(obs=common).to_numpy() for moment in (law.mean, law.var))
    samples = samples.sel(obs=common)
    panels = {
        "mean": (mean, samples["mean"].to_numpy()),
        "standard deviation": (var**0.5, samples["std"].to_numpy()),
    }
    figure = Figure(figsize=(WIDTH, 2.7))
    for ax, (name, (own, other)) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        end = 1.05 * max(own.max(), other.max(), 1e-3)
        ax.plot([0, end], [0, end], color=MUTED, lw=0.9, ls=":")
        ax.plot(own.ravel(), other.ravel(), "o", ms=3, color=POSTERIOR_COLOR, alpha=0.4, mew=0)
        ax.set(
            title=name, xlabel=f"of {posterior}", ylabel=f"of {sampler}", aspect="equal",
            xlim=(-0.03 * end, end), ylim=(-0.03 * end, end),
        )  # fmt: skip
    return figure
