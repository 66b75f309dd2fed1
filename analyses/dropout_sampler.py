"""Is dropout at test time a posterior sampler? Over noise levels and the net's own keep_prob.

    uv run python -m analyses.dropout_sampler compute runs/dropout-sampler
    uv run python -m analyses.dropout_sampler plot runs/dropout-sampler

The net with dropout q divides its readout by q, which adds noise of variance (1 - q) / q ||x||^2
to every unit; the readout's own error has variance ||x||^2 where h_i = 0. So at q = 1/2 the two are
equal, and the question is whether what comes out is distributed as the posterior is.

`compute` writes dropout_sampler.nc: distances of every net's samples to the exact posterior of the
model `one_layer` and the ratio of their spreads, beside those of two halves of the posterior's own
draws. `plot` draws them over noise_std.
"""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

import probrev as pr
from analyses.figure import bars, plain_ticks, say_range, show
from analyses.script import load, run, save
from probrev.comparison.metrics.case import POSTERIOR
from probrev.runs import registry

NAME = "dropout_sampler"
METRICS = {
    "energy_distance": "energy distance, units of h",
    "sliced_wasserstein": "sliced Wasserstein, units of h",
    "spread_ratio": "spread / posterior's spread",
}
KEEP_PROBS = (0.25, 0.5, 0.75, 0.9)
SIZES = {
    "quick": {"num_obs": 16, "noise_stds": (0.7, 1.4, 2.8)},
    "full": {"num_obs": 200, "noise_stds": (0.35, 0.7, 1.4, 2.8, 5.6)},
}


def compute(
    out: Path,
    *,
    num_obs: int,
    noise_stds: tuple[float, ...],
    keep_probs: tuple[float, ...] = KEEP_PROBS,
    **parameters,
) -> None:
    """Compares dropout nets with the exact posterior and writes what `compare` found.

    Args:
        out: folder to write in.
        num_obs: observations per noise level.
        noise_stds: levels of noise of the model.
        keep_probs: of the nets, q.
        **parameters: further parameters of the model `one_layer`.
    """
    measured: list[xr.Dataset] = []
    for index, noise_std in enumerate(noise_stds):
        model = registry.load("one_layer")(noise_std=noise_std, **parameters)
        key_obs, key_nets = jax.random.split(jax.random.fold_in(jax.random.key(0), index))
        measured.append(measure(key_nets, model, model.simulate(key_obs, num_obs), keep_probs))
        print(f"noise_std = {noise_std:g} done", flush=True)
    data = xr.concat(measured, xr.IndexVariable("noise_std", list(noise_stds)))
    save(out, NAME, data)


def measure(key: jax.Array, model: pr.LayeredModel, obs: pr.Observations, keep_probs) -> xr.Dataset:
    """Every statistic of every net, and of two halves of the posterior (keep_prob = NaN).

    Variables: each statistic and `_low`, `_high`, the ends of its 95 % interval, (sampler,).
    Attribute: num_samples, of either side of a distance.
    """
    nets = {
        f"q{index}": pr.FeedforwardNet.from_model(key, model, "calibrated", keep_prob=keep_prob)
        for index, keep_prob in enumerate(keep_probs)
    }
    result = pr.compare(
        model, obs, {"net": pr.FeedforwardNet.from_model(key, model)},
        {"exact": pr.exact(model, obs)}, random_inverses=nets,
    )  # fmt: skip
    table = result.table().set_index(["metric", "subject"]).sort_index()
    names = [*nets, POSTERIOR]
    found = {
        name + ending: ("sampler", [float(table.loc[(name, one), column]) for one in names])
        for name in METRICS
        for ending, column in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    attrs = dict(result.tree["metrics/exact/energy_distance"].attrs)
    return xr.Dataset(found, {"keep_prob": ("sampler", [*keep_probs, np.nan])}, attrs)


def plot(out: Path) -> Path:
    """Draws every statistic over noise_std, a line per net and one for the two halves."""
    data = load(out, NAME)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots(1, len(METRICS))
    for ax, (metric, label) in zip(axes, METRICS.items(), strict=True):
        plot_metric(ax, data, metric)
        ax.set(xlabel="noise_std", ylabel=label)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    return show(figure, finding(data), out / f"{NAME}.png")


def plot_metric(ax: Axes, data: xr.Dataset, metric: str) -> None:
    """One statistic of every sampler, with 95 % intervals."""
    noise = data["noise_std"].to_numpy()
    for index, keep_prob in enumerate(data["keep_prob"].to_numpy()):
        value, low, high = (
            data[metric + ending].isel(sampler=index).to_numpy() for ending in ("", "_low", "_high")
        )
        halves = np.isnan(keep_prob)
        ax.errorbar(
            noise, value, bars(value, low, high), marker="o", ms=3, capsize=2,
            color="black" if halves else f"C{index}", ls="--" if halves else "-",
            label="two halves of the posterior" if halves else f"dropout, q = {keep_prob:g}",
        )  # fmt: skip
    ax.set(xscale="log", yscale="log")
    plain_ticks(ax.xaxis, noise)
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()


class Closest(NamedTuple):
    """Where dropout comes closest to the posterior: q, noise_std, and its distance over halves'."""

    keep_prob: float
    noise_std: float
    times: float
    spread: float


def closest(data: xr.Dataset) -> Closest:
    """The setting with the least energy distance in units of the halves'."""
    nets = np.isfinite(data["keep_prob"].to_numpy())
    times = data["energy_distance"][:, nets] / data["energy_distance"][:, ~nets].to_numpy()
    at, net = np.unravel_index(np.argmin(times.to_numpy()), times.shape)
    return Closest(
        float(data["keep_prob"][net]), float(data["noise_std"][at]), float(times[at, net]),
        float(data["spread_ratio"][at, net]),
    )  # fmt: skip


def finding(data: xr.Dataset) -> str:
    """The answer in a sentence."""
    nets = np.isfinite(data["keep_prob"].to_numpy())
    told = data["energy_distance_low"][:, nets] > data["energy_distance_high"][:, ~nets].to_numpy()
    found, spread = closest(data), data["spread_ratio"][:, nets]
    verdict = "is not" if told.all() else "cannot always be told from"
    return (
        f"Dropout {verdict} a posterior sampler: its samples can be told from those of the exact "
        f"posterior at {int(told.sum())} of {told.size} settings; closest is "
        f"q = {found.keep_prob:g} at noise_std = {found.noise_std:g}, with an energy distance "
        f"{found.times:.1f} times that of two halves of the posterior ({data.attrs['num_samples']} "
        f"samples each) and {found.spread:.2f} times its spread; over all settings the spread is "
        f"{say_range(spread, '.2f')} times the posterior's."
    )


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES, model="one_layer", without=("noise_std",))
