"""Where the feedforward net is as good as Bayesian inference: two maps of risk / Bayes risk.

    uv run python -m analyses.phase_diagram compute runs/phase-diagram
    uv run python -m analyses.phase_diagram plot runs/phase-diagram

One layer under uncapped spikes and a half-normal slab; the net is `calibrated`. One map is over the
signal-to-noise ratio E||h||^2 / noise_var and n/m, the other over k/m and n/m. The ground is
predicted: the risk of the net and the Bayes risk of state evolution, for large layers. The points
are measured: sweeps of Gibbs sampling with fresh weights in each cell, rimmed in red where a
posterior did not converge. A third sweep holds state
evolution against the error of message passing at n = 2000 and above.

`compute` can be killed: the same command goes on where it stopped.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

import probrev as pr
from analyses.figure import plain_ticks, show
from analyses.script import load, run, save
from probrev.comparison.verdict import AS_GOOD_BELOW, NEAR_BELOW
from probrev.runs import registry

SIZES = {
    "quick": {"num_points": 3, "num_seeds": 2, "num_ground": 9, "num_checks": 1},
    "full": {"num_points": 5, "num_seeds": 3, "num_ground": 21, "num_checks": 3},
}
N_HIDDEN, N_ACTIVE, RELATIVE_NOISE, KEEP_PROB = 50, 5.0, 0.5, 0.5
INVERSE = "calibrated"
RATIOS = (0.5, 16.0)  # n / m
NOISES = (0.1, 10.0)  # noise_std / root mean square of ||h||
SPARSITIES = (0.02, 0.5)  # k / m
# Axis of each map beside n_visible: name, ends, and what the figure shows of it.
MAPS: dict[str, tuple[str, tuple[float, float], str]] = {
    "noise": ("relative_noise", NOISES, "signal-to-noise ratio  E‖h‖² / σ²"),
    "sparsity": ("n_active", SPARSITIES, "k / m"),
}
TICKS = {"noise": (0.01, 0.1, 1, 10, 100), "sparsity": (0.02, 0.05, 0.1, 0.2, 0.5)}
RATIO_TICKS = (0.5, 1, 2, 4, 8, 16)
# Measured cells lie inside the maps by this share of their length.
MARGIN = 0.06
GIBBS = {"num_warmup": 1000, "num_samples": 4000, "num_chains": 4}


def compute(
    out: Path,
    *,
    num_points: int,
    num_seeds: int,
    num_ground: int,
    num_checks: int,
    num_obs: int = 16,
    n_hidden: int = N_HIDDEN,
    check_n_visible: int = 2000,
    gibbs: dict[str, Any] | None = None,
) -> None:
    """Predicts both maps, measures cells of both, and checks state evolution.

    Args:
        out: folder to write in.
        num_points: measured cells along each axis.
        num_seeds: draws of the weights for each.
        num_ground: predicted cells along each axis.
        num_checks: values of m/n at which state evolution is checked, at two noises each.
        num_obs: observations of each cell.
        n_hidden: m of the maps.
        check_n_visible: n of the check.
        gibbs: settings of the sampler.
    """
    for name, (axis, ends, _) in MAPS.items():
        scale = 1.0 if axis == "relative_noise" else n_hidden
        values = scale * spread(ends, num_ground)
        sizes = (n_hidden * spread(RATIOS, num_points, MARGIN)).round().astype(int)
        grid = pr.Grid(
            "layered",
            axes={axis: scale * spread(ends, num_points, MARGIN), "n_visible": sizes},
            fixed=fixed_but(axis, n_hidden),
            posteriors=("gibbs",),
            inverses=(INVERSE,),
            num_seeds=num_seeds,
            num_obs=num_obs,
            settings={"gibbs": gibbs or GIBBS},
            batch_size=num_seeds,
        )
        # It refuses a folder that holds other sizes, before anything else is written there.
        pr.sweep(grid, out / f"measured_{name}.zarr", progress=say(name))
        save(out, f"ground_{name}", predict(axis, values, n_hidden))
    save(out, "check", check(out, num_checks, num_obs, check_n_visible))


def predict(axis: str, values: np.ndarray, n_hidden: int) -> xr.Dataset:
    """Net risk and Bayes risk, relative to E||h||^2, over one map."""
    build = registry.load("layered")
    sizes = (n_hidden * spread(RATIOS, len(values))).round().astype(int)
    found = np.zeros((3, len(values), len(sizes)))
    for row, value in enumerate(values):
        for column, n_visible in enumerate(sizes):
            fixed = fixed_but(axis, n_hidden)
            model = build(**fixed, **{axis: value}, n_visible=int(n_visible))
            key_net, key_risk = jax.random.split(jax.random.key(0))
            net = pr.FeedforwardNet.from_model(key_net, model, INVERSE)
            energy = float(model.prior.second_moment.sum())
            found[:, row, column] = [
                pr.predict_net_risk(key_risk, model.prior, net) / energy,
                *(
                    pr.evolve_state(model.prior, model.layers, start=start).bayes_risk / energy
                    for start in ("uninformed", "informed")
                ),
            ]
    names = ("net_risk", "bayes_risk", "bayes_risk_informed")
    dims = (axis, "n_visible")
    coords = {axis: values, "n_visible": sizes}
    data = {name: (dims, part) for name, part in zip(names, found, strict=True)}
    return xr.Dataset(data, coords, attrs={"n_hidden": n_hidden})


def check(out: Path, num_checks: int, num_obs: int, n_visible: int) -> xr.Dataset:
    """Relative risk of message passing at n_visible rows beside what state evolution predicts."""
    noises = (0.5, 1.5)
    sizes = [n_visible // part for part in (5, 10, 2)[:num_checks]]
    parts = []
    for n_hidden in sizes:
        grid = pr.Grid(
            "layered",
            axes={"relative_noise": noises, "n_hidden": (n_hidden,)},
            fixed={
                "n_visible": n_visible, "num_layers": 1, "keep_prob": KEEP_PROB,
                "n_active": N_ACTIVE / N_HIDDEN * n_hidden,
            },
            posteriors=("message_passing",),
            inverses=(INVERSE,),
            num_seeds=6,
            num_obs=num_obs,
            batch_size=1,
        )  # fmt: skip
        store = out / f"check-{n_hidden}.zarr"
        result = pr.sweep(grid, store, progress=say(f"check at m = {n_hidden}"))
        measured = result["relative_risk"].sel(subject="posterior").isel(posterior=0)
        build = registry.load("layered")
        predicted = []
        for noise in noises:
            model = build(**grid.fixed, relative_noise=noise, n_hidden=n_hidden)
            risk = pr.evolve_state(model.prior, model.layers).bayes_risk
            predicted.append([float(risk / model.prior.second_moment.sum())])
        data = xr.Dataset({"measured": measured, "status": result["status"].isel(posterior=0)})
        parts.append(data.assign(predicted=(("relative_noise", "n_hidden"), predicted)))
    return xr.concat(parts, "n_hidden").assign_attrs(n_visible=n_visible)


def spread(ends: tuple[float, float], num_points: int, margin: float = 0.0) -> np.ndarray:
    """Values in equal ratios between two ends, or so far inside them."""
    low, high = np.log(ends)
    inside = margin * (high - low)
    return np.exp(np.linspace(low + inside, high - inside, num_points))


def fixed_but(axis: str, n_hidden: int) -> dict[str, Any]:
    """Parameters of the model that a map does not sweep."""
    fixed: dict[str, Any] = {"n_hidden": n_hidden, "num_layers": 1, "keep_prob": KEEP_PROB}
    others = {"relative_noise": RELATIVE_NOISE, "n_active": N_ACTIVE * n_hidden / N_HIDDEN}
    return fixed | {name: value for name, value in others.items() if name != axis}


def say(name: str) -> Callable[[int, int], None]:
    """Prints how far a sweep is."""
    return lambda done, total: print(f"{name}: {done} of {total} batches", flush=True)


def finding(grounds: dict[str, xr.Dataset], check: xr.Dataset) -> str:
    """Where the net is Bayesian inference, and whether the prediction can be believed."""
    shares, least = [], []
    for name, ground in grounds.items():
        good = ratio_of(ground) < AS_GOOD_BELOW
        shares.append(f"{float(good.mean()):.0%} of the {name} map")
        least.append(float(ground["bayes_risk"].where(good).min()))
    there = ""
    if np.isfinite(least).any():
        there = f", where Bayes itself leaves at least {np.nanmin(least):.0%} of E||h||²"
    noise = grounds["noise"]
    at_four = ratio_of(noise).sel(n_visible=4 * noise.attrs["n_hidden"], method="nearest")
    good = at_four["relative_noise"].where(at_four < AS_GOOD_BELOW, drop=True)
    where = (
        f"at n/m = 4 it needs a signal-to-noise ratio below {float(good.min()) ** -2:.2g}"
        if good.size
        else "at n/m = 4 it never is on this map"
    )
    inside = within_spread(check)
    return (
        f"The calibrated net is within {AS_GOOD_BELOW} of the Bayes risk on "
        f"{' and '.join(shares)}{there}; {where}. State evolution lies within the spread of "
        f"message passing at n = {check.attrs['n_visible']} in {int(inside.sum())} of "
        f"{inside.size} settings."
    )


def within_spread(check: xr.Dataset) -> xr.DataArray:
    """Whether each prediction lies within two standard deviations of the measured points."""
    gap = abs(check["measured"].mean("seed") - check["predicted"])
    return gap <= 2 * check["measured"].std("seed", ddof=1)


def ratio_of(ground: xr.Dataset) -> xr.DataArray:
    """Predicted risk / Bayes risk."""
    return ground["net_risk"] / ground["bayes_risk"]


def plot(out: Path) -> Path:
    """Draws both maps, and state evolution beside message passing."""
    grounds = {name: load(out, f"ground_{name}") for name in MAPS}
    checked = load(out, "check")
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    *maps, right = figure.subplots(1, 3, width_ratios=(1, 1, 0.7))
    drawn, _ = (
        draw_map(axes, name, grounds[name], pr.load_sweep(out / f"measured_{name}.zarr"))
        for axes, name in zip(maps, MAPS, strict=True)
    )
    maps[0].set_ylabel("n / m")
    bar = figure.colorbar(drawn, ax=maps, shrink=0.9, label="risk of the net / Bayes risk")
    ticks = [1, AS_GOOD_BELOW, NEAR_BELOW, 2, 3, 5, 10]
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.minorticks_off()
    draw_check(right, checked)
    return show(figure, finding(grounds, checked), out / "phase_diagram.png")


def draw_map(axes: Axes, name: str, ground: xr.Dataset, measured: xr.Dataset) -> Any:
    """One map: predicted ground and curves, measured points in the same colours."""
    axis, _, label = MAPS[name]
    n_hidden = ground.attrs["n_hidden"]

    def place(values: np.ndarray) -> np.ndarray:
        return values**-2.0 if axis == "relative_noise" else values / n_hidden

    across, up = place(ground[axis].to_numpy()), ground["n_visible"].to_numpy() / n_hidden
    norm = LogNorm(1, 10)
    ratio = ratio_of(ground).transpose("n_visible", axis).to_numpy()
    drawn = axes.pcolormesh(across, up, ratio, norm=norm, cmap="viridis_r", shading="gouraud")
    curves = axes.contour(across, up, ratio, levels=[AS_GOOD_BELOW, NEAR_BELOW], colors="black")
    axes.clabel(curves, fmt="%g", fontsize=8)
    energy = measured["energy"]
    pooled = {
        subject: (measured["squared_error"].sel(subject=subject)).sum(("posterior", "seed"))
        for subject in (INVERSE, "posterior")
    }
    points = (pooled[INVERSE] / pooled["posterior"]).where(
        energy.notnull().any(("posterior", "seed"))
    )
    trusted = (measured["status"] == "ok").all(("posterior", "seed"))
    for shown, edge in ((points.where(trusted), "white"), (points.where(~trusted), "red")):
        table = shown.to_dataframe("ratio").reset_index().dropna()
        axes.scatter(
            place(table[axis].to_numpy()), table["n_visible"] / n_hidden, c=table["ratio"],
            norm=norm, cmap="viridis_r", s=70, edgecolors=edge, linewidths=1.5, zorder=3,
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel=label)
    plain_ticks(axes.xaxis, TICKS[name])
    plain_ticks(axes.yaxis, RATIO_TICKS)
    return drawn


def draw_check(axes: Axes, check: xr.Dataset) -> None:
    """Measured relative risks over predicted ones."""
    predicted, measured = check["predicted"].broadcast_like(check["measured"]), check["measured"]
    axes.plot(predicted.to_numpy().ravel(), measured.to_numpy().ravel(), "o", ms=4, alpha=0.6)
    ends = [float(predicted.min()) * 0.8, float(predicted.max()) * 1.2]
    axes.plot(ends, ends, color="black", lw=0.8)
    ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if ends[0] < tick < ends[1]]
    axes.set(
        xscale="log", yscale="log", xlabel="Bayes risk, state evolution",
        ylabel="risk, message passing", title=f"n = {check.attrs['n_visible']}",
    )  # fmt: skip
    plain_ticks(axes.xaxis, ticks)
    plain_ticks(axes.yaxis, ticks)


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
