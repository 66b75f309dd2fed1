"""Lemma 2.5 and theorems 2.3 and 2.4: how the net's error falls with n and grows with k.

    uv run python -m analyses.theorems.one_layer compute runs/one-layer-theorem --size full
    uv run python -m analyses.theorems.one_layer plot runs/one-layer-theorem

The lemma bounds the sup norm of W^T x - h by a multiple of ||h|| / sqrt(rho n), the theorems bound
||r(W^T x + b) - h||^2 by k / (rho n) ||h||^2, logarithms apart, if k < rho n < k^2; theorem 2.4 is
for a net that drops half of its inputs. Measured with fresh weights for every draw and no noise,
beside a curve in closed form that takes readouts to be Gaussian. The curve goes on where
measurements end, to say from which size its local exponents are those of the theorem.

Source: Arora, Liang and Ma 2015 (arXiv:1511.05653).
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from analyses.figure import say_range, show
from analyses.script import load, run, save
from analyses.theorems.asymptote import (
    CLOSE,
    NETS,
    Steps,
    find_onset,
    measured_steps,
    tabulate_curve,
)
from analyses.theorems.exponents import fit_exponent
from analyses.theorems.panels import (
    draw_errors,
    draw_exponents,
    draw_share,
    draw_sup_norm,
    share_above,
)
from analyses.theorems.readouts import (
    SLABS,
    draw_h,
    norms,
    simulate_readouts,
    typical_maximum,
    unit_error,
)

NAME = "one_layer_theorem"
MIN_DRAWS = 12
MARGINS = (0.0, 0.25, 0.5)  # c of sqrt(2 (1 + c) log m)
SIZES: dict[str, dict[str, Any]] = {
    "quick": {
        "n_hidden": 200,
        "n_active": (5, 20),
        "n_visible": (250, 1000, 4000),
        "budget": 2e7,
    },
    "full": {
        "n_hidden": 500,
        "n_active": (5, 20, 80, 320),
        "n_visible": (250, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000),
        "budget": 2.5e8,
    },
}


def compute(
    out: Path,
    *,
    n_hidden: int,
    n_active: tuple[int, ...],
    n_visible: tuple[int, ...],
    budget: float,
    keep_prob: float = 0.5,
) -> None:
    """Measures readouts and both nets at every size, and tabulates the curve beyond them.

    Args:
        out: folder to write in.
        n_hidden: m.
        n_active: values of k.
        n_visible: values of n.
        budget: weights drawn per point, so that there are budget / (n m) draws of it, or
            `MIN_DRAWS` if that is more.
        keep_prob: rho.
    """
    grid = {"slab": list(SLABS), "n_active": list(n_active), "n_visible": list(n_visible)}
    key = jax.random.key(0)
    points = []
    for slab in SLABS:
        for k in n_active:
            for n in n_visible:
                key, key_point = jax.random.split(key)
                num_draws = max(MIN_DRAWS, round(budget / (n * n_hidden)))
                h = draw_h(key_point, slab, num_draws, n_hidden, k)
                points.append(measure(key_point, h, n, keep_prob))
            print(f"{slab} h, k = {k}: measured", flush=True)
    shape = [len(values) for values in grid.values()]
    table = {
        name: (dims, np.stack([point[name][1] for point in points]).reshape(*shape, *sizes))
        for name, (inner, first) in points[0].items()
        for dims, sizes in [((*grid, *inner), np.shape(first))]
    }
    data = xr.Dataset(table, {**grid, "net": list(NETS), "margin": list(MARGINS)})
    data = data.merge(tabulate_curve(n_hidden, n_active, keep_prob))
    save(out, NAME, data.assign_attrs(n_hidden=n_hidden, keep_prob=keep_prob, budget=budget))


def measure(
    key: PRNGKeyArray, h: Float[Array, "draw hidden"], n_visible: int, keep_prob: float
) -> dict[str, tuple[tuple[str, ...], ArrayLike]]:
    """One size: variables with their dims, averages over draws.

    Args:
        key: random key.
        h: hidden vectors, one a draw.
        n_visible: n.
        keep_prob: rho.
    """
    q = NETS["dropout"]
    readouts = simulate_readouts(key, h, n_visible, keep_prob=keep_prob, net_keep_prob=q)
    norm_h = norms(h)
    energy = jnp.square(norm_h).mean()
    errors, curves = [], []
    for q, readout in zip(NETS.values(), readouts, strict=True):
        bias = typical_maximum(norm_h, h.shape[1], n_visible, keep_prob * q)
        estimate = jax.nn.relu(readout - bias[:, None])
        errors.append(jnp.square(estimate - h).sum(1) / energy)
        curves.append(predict_errors(h, n_visible, keep_prob, q) / energy)
    error, curve = np.stack(errors, axis=1), np.stack(curves, axis=1)
    sup = np.asarray(jnp.abs(readouts[0] - h).max(1) / norm_h)
    typical = float(typical_maximum(1.0, h.shape[1], n_visible, keep_prob))
    bounds = typical * np.sqrt(1 + np.array(MARGINS))
    return {
        "error": (("net",), error.mean(0)),
        "error_std_error": (("net",), mean_std_error(error)),
        "predicted": (("net",), curve.mean(0)),
        # of error - predicted, which share their h
        "deviation_std_error": (("net",), mean_std_error(error - curve)),
        "sup_norm": ((), sup.mean()),
        "sup_norm_std_error": ((), mean_std_error(sup)),
        "typical": ((), np.asarray(typical)),
        "num_above": (("margin",), (sup[:, None] > bounds).sum(0)),
        "num_draws": ((), np.asarray(len(h))),
    }


def predict_errors(
    h: Float[Array, "draw hidden"], n_visible: int, keep_prob: float, net_keep_prob: float
) -> Array:
    """The curve for each h."""
    energy = jnp.square(h).sum(1, keepdims=True)
    known = {"keep_prob": keep_prob, "net_keep_prob": net_keep_prob}
    return unit_error(h, energy, h.shape[1], n_visible, **known).sum(1)


def mean_std_error(values: np.ndarray) -> np.ndarray:
    """Standard error of the mean over the first axis."""
    return values.std(0, ddof=1) / np.sqrt(len(values))


def find(data: xr.Dataset) -> str:
    """What was found, in words."""
    return " ".join((find_curve(data), find_asymptote(data), find_lemma(data)))


def find_curve(data: xr.Dataset) -> str:
    """How far the squared error is from its curve."""
    away = data.error - data.predicted
    relative, z = abs(away) / data.predicted, abs(away) / data.deviation_std_error
    off = int(((relative > 0.05) & (z > 3)).sum())
    verdict = "at every size" if not off else f"but for {off} sizes"
    return (
        f"The squared error of both nets is within 5 % or 3 standard errors of the finite-size "
        f"curve {verdict} ({relative.size} points; largest difference "
        f"{100 * float(relative.max()):.1f} %, {100 * float(relative.median()):.1f} % in the "
        "middle)."
    )


def find_asymptote(data: xr.Dataset) -> str:
    """Where theorem 2.3's exponents hold: predicted by the curve, and as measured there."""
    onset = find_onset(data)
    start = onset.n_visible.sel(net="deterministic")
    inside = onset.inside.sel(net="deterministic")
    told = []
    for slab in data.slab.values:
        starts = start.sel(slab=slab, curve_n_active=data.n_active.values)
        at = ", ".join(
            f"{'nowhere' if np.isnan(n) else f'n = {n:.0f}'} (k = {k:g})"
            for k, n in zip(data.n_active.values, starts.values, strict=True)
        )
        held = start.curve_n_active.where(inside.sel(slab=slab)).min()
        where = "at no k" if np.isnan(held) else f"only for k of about {int(held)} or more"
        told.append(f"from {at} with {slab} h, where k < ρn < k² holds {where}")
    steps = [measured_steps(data, onset, dim) for dim in ("n_visible", "n_active")]
    measured = " and ".join(
        f"{describe(step)} in {letter}" for step, letter in zip(steps, "nk", strict=True)
    )
    return (
        f"The curve's local exponents are within {CLOSE} of -1 in n and 1 in k {'; '.join(told)}. "
        f"Measured beyond those sizes: {measured}."
    )


def describe(steps: Steps) -> str:
    """Exponents of the deterministic net measured beyond the onset, and how many are inside."""
    net = steps.beyond.get_index("net").get_loc("deterministic")
    chosen = steps.beyond.to_numpy()[:, net]
    if not chosen.any():
        return "none"
    value, error = (part[:, net][chosen] for part in steps.exponent)
    inside = steps.inside.to_numpy()[:, net][chosen]
    held = f", {value[inside].mean():.2f} in the {inside.sum()} inside" if inside.any() else ""
    return f"{say_range(value, '.2f')} (± {error.max():.2f}; {chosen.sum()} steps{held})"


def find_lemma(data: xr.Dataset) -> str:
    """The sup norm's exponent in n, and how often it exceeds the bound."""
    fits = [
        fit_exponent(data.n_visible, one.sup_norm, one.sup_norm_std_error)
        for slab in data.slab
        for k in data.n_active
        for one in (data.sel(slab=slab, n_active=k),)
    ]
    worst = max(fits, key=lambda fit: abs(fit.value + 0.5))
    share, _ = share_above(data)
    first, last = share.isel(n_visible=0), share.isel(n_visible=-1)
    margin = float(data.margin[-1])
    return (
        f"The sup norm of the readout falls as n to the -1/2 within "
        f"{abs(float(worst.value) + 0.5):.3f} at fixed m (worst of {len(fits)}: {worst}); "
        f"{percent(first[0])} of draws exceed the typical maximum at n = {int(first.n_visible)} "
        f"and {percent(last[0])} at {int(last.n_visible)}, and with √(2(1+c) log m), "
        f"c = {margin:g}, {percent(first[-1])} and {percent(last[-1])}, against "
        f"m^-c = {percent(data.n_hidden**-margin)}."
    )


def percent(share: xr.DataArray | float) -> str:
    """A share in words."""
    return f"{100 * float(share):.1f} %"


def plot(out: Path) -> Path:
    """Draws errors over n, local exponents beside the theorem's, and the readout's sup norm."""
    data = load(out, NAME)
    onset = find_onset(data)
    figure = Figure(figsize=(13, 8.5), layout="constrained")
    (deterministic, dropout, sup), (in_n, in_k, share) = figure.subplots(2, 3)
    draw_errors(deterministic, data, "deterministic", "theorem 2.3: deterministic net")
    draw_errors(dropout, data, "dropout", "theorem 2.4: net dropout q = 1/2")
    draw_exponents(in_n, data, onset, "n_visible")
    draw_exponents(in_k, data, onset, "n_active")
    draw_sup_norm(sup, data)
    draw_share(share, data)
    return show(figure, find(data), out / f"{NAME}.png")


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
