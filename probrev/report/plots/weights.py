"""Figures of weights beside random ones: their entries, and their singular values."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from probrev.nets.weights.entries import SCORE_EDGES
from probrev.nets.weights.random_like import GAUSSIAN, SPECTRAL, RandomLike
from probrev.numerics.marchenko_pastur import MarchenkoPastur
from probrev.report.plots.canvas import COLORS, MUTED, POSTERIOR_COLOR, TRUTH_COLOR, WIDTH, styled

MOST_BINS, FEWEST_BINS = 40, 8
# How far beyond the law's edge singular values are drawn; the rest are counted.
BEYOND = 1.4


@styled
def plot_weights(result: RandomLike) -> Figure:
    """The entries beside a Gaussian, and the singular values beside Marchenko and Pastur's law.

    Args:
        result: what `random_like` found.
    """
    figure = Figure(figsize=(WIDTH, 5.8))
    upper, lower = figure.subplots(2, 1)
    draw_entries(upper, result)
    draw_singular_values(lower, result)
    return figure


def draw_entries(ax: Axes, result: RandomLike) -> None:
    """Density of the entries' standard scores, logarithmic, so that the tails are seen."""
    centres = (SCORE_EDGES[1:] + SCORE_EDGES[:-1]) / 2
    trained, control = (
        np.where(density > 0, density, np.nan)
        for density in (result.trained.score_density, result.measures[SPECTRAL].score_density)
    )
    ax.plot(centres, norm.pdf(centres), color=TRUTH_COLOR, lw=1, label="Gaussian")
    ax.plot(centres, control, color=COLORS[1], lw=1, ls="--", label="control: same singular values")
    ax.plot(centres, trained, ".", color=POSTERIOR_COLOR, ms=4, label="trained")
    ax.set(yscale="log", ylim=(1e-6, 3), xlabel="entry, in standard deviations", ylabel="density")
    ax.legend(loc="lower center", fontsize=7.5)


def draw_singular_values(ax: Axes, result: RandomLike) -> None:
    """Density of the singular values at unit entry variance over sqrt(N)."""
    short, long = sorted((result.n_visible, result.n_hidden))
    raw = MarchenkoPastur(short / long)
    bulk = MarchenkoPastur(short / long, result.trained.spectrum.bulk_variance)
    values = np.sqrt(result.trained.eigenvalues)
    control = np.sqrt(result.measures[GAUSSIAN].eigenvalues)
    end = BEYOND * np.sqrt(raw.upper)
    num_bins = min(MOST_BINS, max(FEWEST_BINS, short // 4))
    edges = np.linspace(0, end, num_bins + 1)
    heights, control_heights = (
        np.histogram(one, edges)[0] / (one.size * np.diff(edges)) for one in (values, control)
    )
    ax.stairs(heights, edges, fill=True, color=POSTERIOR_COLOR, alpha=0.35, label="trained")
    ax.stairs(control_heights, edges, color=COLORS[2], label="control: Gaussian")
    share = 1 - result.trained.spectrum.bulk_num_above / short
    grid = np.linspace(1e-3, end, 600)
    for law, scale, color, label in (
        (raw, 1.0, TRUTH_COLOR, "Marchenko-Pastur"),
        (bulk, share, COLORS[0], "the same, at the bulk's scale"),
    ):
        density = scale * 2 * grid * law.density(grid**2)
        ax.plot(grid, density, color=color, lw=1.2, label=label)
    top = 1.25 * ax.get_ylim()[1]
    ax.set(xlim=(0, end), ylim=(0, top), xlabel="singular value / √N, at unit entry variance")
    ax.set_ylabel("density")
    beyond = values[values > end]
    if beyond.size:
        text = f"{beyond.size} beyond,\nup to {beyond.max():.1f}"
        ax.text(0.99, 0.5, text, transform=ax.transAxes, ha="right", fontsize=8, color=MUTED)
    ax.legend(loc="upper right", fontsize=7.5)
