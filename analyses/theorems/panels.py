"""The panels of the figure of one layer's theorems."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from scipy.stats import norm

from analyses.figure import finish
from analyses.theorems.asymptote import CLOSE, Onset, is_inside, measured_steps
from analyses.theorems.readouts import SLABS


def draw_errors(axes: Axes, data: xr.Dataset, net: str, title: str) -> None:
    """Relative squared errors over n, filled inside the theorem's condition."""
    for slab, line, marker in zip(SLABS, ("-", "--"), ("o", "s"), strict=True):
        for color, k in enumerate(data.n_active.values):
            one = data.sel(slab=slab, n_active=k, net=net)
            curve = data.curve.sel(slab=slab, curve_n_active=k, net=net)
            label = f"k = {k}" if slab == "binary" else None
            axes.plot(
                data.curve_n_visible, curve, line, color=f"C{color}", linewidth=1, label=label
            )
            inside = is_inside(one.n_active, one.n_visible, data.keep_prob)
            for fill, at in ((f"C{color}", inside), ("white", ~inside)):
                axes.errorbar(
                    one.n_visible[at], one.error[at], one.error_std_error[at],
                    fmt=marker, color=f"C{color}", markerfacecolor=fill, markersize=4,
                )  # fmt: skip
    shown = data.n_visible.values
    low = float(data.error.min())
    axes.set(
        title=title, xlabel="n", ylabel="squared error / ||h||²", xscale="log", yscale="log",
        xlim=(shown[0] / 1.5, shown[-1] * 4), ylim=(low / 4, 2),
    )  # fmt: skip
    axes.plot([], [], "o-k", label="binary")
    axes.plot([], [], "s--k", label="half-normal")
    axes.plot([], [], "ok", markerfacecolor="white", label="outside k < ρn < k²")
    finish(axes)


def draw_exponents(axes: Axes, data: xr.Dataset, onset: Onset, dim: str) -> None:
    """Local exponents of the deterministic net: of the curve, and measured from step to step."""
    letter, limit = ("n", -1) if dim == "n_visible" else ("k", 1)
    other = "n_active" if dim == "n_visible" else "n_visible"
    exponents = onset.in_n if dim == "n_visible" else onset.in_k
    steps = measured_steps(data, onset, dim)
    axes.axhspan(limit - CLOSE, limit + CLOSE, color="0.9", label="within 0.1")
    lines = data[other].values if other == "n_active" else data[other].values[::-3][::-1]
    for slab_index, (slab, line, marker) in enumerate(zip(SLABS, ("-", "--"), "os", strict=True)):
        for color, value in enumerate(lines):
            near = exponents.sel(slab=slab, net="deterministic")
            near = near.sel({f"curve_{other}": value}, method="nearest")
            name = {"n_active": "k", "n_visible": "n"}[other]
            label = f"{name} = {value}" if slab == "binary" else None
            axes.plot(near[f"curve_{dim}"], near, line, color=f"C{color}", linewidth=1, label=label)
            row = slab_index, 0, list(data[other].values).index(value)
            axes.errorbar(
                steps.middle, steps.exponent.value[row], steps.exponent.std_error[row],
                fmt=marker, color=f"C{color}", markersize=4,
            )  # fmt: skip
    middle = steps.middle
    axes.set(
        title="deterministic net: curve and measured steps", xscale="log", xlabel=letter,
        ylabel=f"d log error / d log {letter}", ylim=sorted((1.35 * limit, -0.2 * limit)),
        xlim=(middle[0] / 2, middle[-1] * (30 if dim == "n_visible" else 2)),
    )  # fmt: skip
    finish(axes)


def draw_sup_norm(axes: Axes, data: xr.Dataset) -> None:
    """Sup norm of the readout's error over n beside its typical size."""
    for slab, marker in zip(SLABS, "os", strict=True):
        for color, k in enumerate(data.n_active.values):
            one = data.sel(slab=slab, n_active=k)
            axes.errorbar(
                one.n_visible, one.sup_norm, one.sup_norm_std_error,
                fmt=marker, color=f"C{color}", markersize=4, markerfacecolor="none",
                label=f"k = {k}, {slab}",
            )  # fmt: skip
    typical = data.typical.isel(slab=0, n_active=0)
    axes.plot(data.n_visible, typical, "k", linewidth=0.8, label="√(2 log m) √(2/(ρn))")
    axes.set(
        title="lemma 2.5: readout", xlabel="n", ylabel="||u - h||∞ / ||h||", xscale="log",
        yscale="log",
    )  # fmt: skip
    finish(axes)


def draw_share(axes: Axes, data: xr.Dataset) -> None:
    """Share of draws above the bound over n, its Gaussian limit, and m^-c."""
    share, error = share_above(data)
    for color, margin in enumerate(data.margin.values):
        one, spread = share.sel(margin=margin), error.sel(margin=margin)
        axes.errorbar(one.n_visible, one, spread, fmt="o", color=f"C{color}", label=f"c = {margin}")
        bound = np.sqrt(2 * (1 + margin) * np.log(data.n_hidden))
        limit = -np.expm1(data.n_hidden * np.log1p(-2 * norm.sf(bound)))
        axes.axhline(limit, color=f"C{color}", linewidth=0.8)
        if margin:
            axes.axhline(data.n_hidden**-margin, color=f"C{color}", linewidth=0.8, linestyle=":")
    axes.plot([], [], "k", linewidth=0.8, label="m independent normal errors")
    axes.plot([], [], ":k", linewidth=0.8, label="m^-c")
    axes.set(
        title="above √(2(1+c) log m) √(2/(ρn)) ||h||", xlabel="n", ylabel="share of draws",
        xscale="log", ylim=(0, 1),
    )  # fmt: skip
    axes.set_yscale("symlog", linthresh=0.01)
    finish(axes)


def share_above(data: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Share of draws above each bound, all h together, and its standard error.

    The error is Agresti and Coull's, which is not 0 where no draw is above.
    """
    above = data.num_above.sum(("slab", "n_active"))
    number = data.num_draws.sum(("slab", "n_active"))
    smoothed = (above + 2) / (number + 4)
    return above / number, np.sqrt(smoothed * (1 - smoothed) / (number + 4))
