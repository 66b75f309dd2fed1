"""Wrong models: which loses more under a wrong parameter, the net or the posterior?

    uv run python -m analyses.misspecification compute runs/misspecification
    uv run python -m analyses.misspecification plot runs/misspecification

x comes from the model `one_layer`; net and posterior are built from that model with one parameter
multiplied or divided by a factor: the net calibrated on draws from the wrong model, the posterior
mean exact under it. `plot` draws by how much each risk exceeds its own under the right model.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

import probrev as pr
from analyses.figure import bars, show
from analyses.script import load, run, save
from probrev.comparison.metrics.case import Row, row_of_ratio
from probrev.report.plots.canvas import POSTERIOR_COLOR
from probrev.runs import registry

FACTORS = (1.25, 1.5, 2.0)
SIZES = {"quick": {"num_obs": 96, "factors": (1.5,)}, "full": {"num_obs": 512}}
SYMBOLS = {"keep_prob": "ρ", "noise_std": "σ", "gain": "α", "inclusion_prob": "k"}
NET_COLOR = "#D55E00"
JUDGES = {"net": "the calibrated net", "bayes": "the posterior mean"}


class Degradation(NamedTuple):
    """What a wrong parameter costs.

    Attributes:
        parameter: its name.
        factor: by how much it is wrong.
        net: risk of the net over its risk under the right model.
        bayes: the same of the posterior mean.
        difference: net - bayes.
        std_error: of the difference, paired over observations.
    """

    parameter: str
    factor: float
    net: Row
    bayes: Row
    difference: float
    std_error: float


def compute(out: Path, *, num_obs: int, factors: tuple[float, ...] = FACTORS, **parameters) -> None:
    """Measures squared errors under the right model and the wrong ones, and writes them.

    Args:
        out: folder to write in.
        num_obs: observations, the same for all models.
        factors: by how much a parameter is multiplied, and divided.
        **parameters: further parameters of the model `one_layer`.
    """
    model = registry.load("one_layer")(**parameters)
    key_obs, key_net = jax.random.split(jax.random.key(0))
    obs = model.simulate(key_obs, num_obs)
    both_ways = sorted({1 / factor for factor in factors} | {*factors})
    right = measure_errors(key_net, model, obs)
    wrong = [
        [measure_errors(key_net, spoil(model, name, factor), obs) for factor in both_ways]
        for name in SYMBOLS
    ]
    grid = [xr.concat(row, xr.DataArray(both_ways, dims="factor", name="factor")) for row in wrong]
    data = xr.concat(grid, xr.DataArray(list(SYMBOLS), dims="parameter", name="parameter"))
    data = data.assign({f"{name}_right": error for name, error in right.items()})
    save(out, "misspecification", data.assign_attrs(parameters=str(parameters)))


def spoil(model: pr.LayeredModel, parameter: str, factor: float) -> pr.LayeredModel:
    """The model with one parameter wrong, and no other: the gain does not follow keep_prob.

    Args:
        model: one layer under a `SpikeAndSlab`.
        parameter: keep_prob, noise_std or gain; or inclusion_prob, which stands for k, while the
            bound on the number of active units stays.
        factor: what it is multiplied with.
    """
    (layer,), prior = model.layers, model.prior
    if parameter == "inclusion_prob":
        assert isinstance(prior, pr.SpikeAndSlab)
        prior = replace(prior, inclusion_prob=factor * prior.inclusion_prob)
    else:
        # A default gain would follow the parameter.
        wrong = {"gain": layer.gain, parameter: factor * getattr(layer, parameter)}
        layer = replace(layer, **wrong)
    return pr.LayeredModel(prior, [layer])


def measure_errors(key: PRNGKeyArray, model: pr.LayeredModel, obs: pr.Observations) -> xr.Dataset:
    """Squared errors, per observation, of the calibrated net and the exact posterior mean."""
    h = np.asarray(obs.h)
    net = pr.FeedforwardNet.from_model(key, model, "calibrated")
    mean = pr.exact(model, obs, num_draws=4).mean.to_numpy()
    return xr.Dataset(
        {
            "net": ("obs", ((np.asarray(net(obs.x)) - h) ** 2).sum(1)),
            "bayes": ("obs", ((mean - h) ** 2).sum(1)),
        }
    )


def plot(out: Path) -> Path:
    """Draws both risks relative to their own under the right model, over the factor."""
    data = load(out, "misspecification")
    found = list(degradations(data))
    print("wrong".ljust(22), "net, excess".ljust(18), "Bayes, excess".ljust(18), "net - Bayes")
    for one in found:
        cells = [f"{row.value - 1:7.3f} ± {row.std_error:.3f}" for row in (one.net, one.bayes)]
        wrong = f"{one.parameter} {_times(one.factor)}".ljust(22)
        print(
            wrong,
            *(cell.ljust(18) for cell in cells),
            f"{one.difference:.3f} ± {one.std_error:.3f}",
        )
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    axes = figure.subplots(1, len(SYMBOLS), sharey=True)
    for ax, parameter in zip(axes, SYMBOLS, strict=True):
        draw_parameter(ax, [one for one in found if one.parameter == parameter])
    axes[0].set_ylabel("risk / risk under the right model")
    axes[0].legend(frameon=False, fontsize=8)
    return show(figure, say(data, found), out / "misspecification.png")


def degradations(data: xr.Dataset) -> Iterator[Degradation]:
    """What each wrong parameter costs."""
    right = {name: data[f"{name}_right"].to_numpy() for name in JUDGES}
    for parameter in data["parameter"].to_numpy():
        for factor in data["factor"].to_numpy():
            one = data.sel(parameter=parameter, factor=factor)
            rows = {
                name: row_of_ratio("risk", name, one[name].to_numpy(), right[name], seed=0)
                for name in JUDGES
            }
            # To first order a ratio of sums is a sum over observations.
            net, bayes = (
                (one[name].to_numpy() - rows[name].value * right[name]) / right[name].mean()
                for name in JUDGES
            )
            std_error = float((net - bayes).std(ddof=1) / np.sqrt(len(net)))
            difference = rows["net"].value - rows["bayes"].value
            yield Degradation(
                str(parameter), float(factor), rows["net"], rows["bayes"], difference, std_error
            )


def draw_parameter(ax: Axes, found: list[Degradation]) -> None:
    """Both risks over the factor of one parameter, each over its own under the right model."""
    factors = np.array([one.factor for one in found])
    after = int((factors < 1).sum())
    for name, color, marker in (("net", NET_COLOR, "o"), ("bayes", POSTERIOR_COLOR, "s")):
        rows = [getattr(one, name) for one in found]
        value, low, high = (
            np.insert([getattr(row, end) for row in rows], after, 1.0)
            for end in ("value", "low", "high")
        )
        ax.errorbar(
            np.insert(factors, after, 1.0), value, bars(value, low, high),
            color=color, marker=marker, ms=5, capsize=2, lw=1.4, label=JUDGES[name],
        )  # fmt: skip
    parameter = found[0].parameter
    ax.axhline(1, color="#555555", lw=0.8)
    ax.set(title=f"wrong {SYMBOLS[parameter]} ({parameter})", xscale="log", yscale="log")
    ticks = np.insert(factors, after, 1.0)
    ax.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks], fontsize=8)
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0)))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.minorticks_off()
    ax.set_xlabel("assumed / true")


def say(data: xr.Dataset, found: list[Degradation]) -> str:
    """Who degrades faster, how far, and who is better in the end."""
    faster = {
        name: sum(sign * one.difference > 1.96 * one.std_error for one in found)
        for name, sign in (("net", 1), ("bayes", -1))
    }
    worst = max(found, key=lambda one: max(one.net.value, one.bayes.value))
    ahead = sum(
        bool(data["bayes"].sel(parameter=one.parameter, factor=one.factor).sum()
             < data["net"].sel(parameter=one.parameter, factor=one.factor).sum())
        for one in found
    )  # fmt: skip
    return (
        f"Of {len(found)} wrong models, {faster['bayes']} cost the posterior mean more than the "
        f"net, relative to their risks under the right one, and {faster['net']} cost the net more "
        f"(beyond 95 %); the worst, {SYMBOLS[worst.parameter]} {_times(worst.factor)}, multiplies "
        f"the risk of the net by {worst.net.value:.2f} and that of the posterior mean by "
        f"{worst.bayes.value:.2f}; under the same wrong model the posterior mean still errs less "
        f"than the net in {ahead} of {len(found)}."
    )


def _times(factor: float) -> str:
    return f"× {factor:.3g}" if factor >= 1 else f"/ {1 / factor:.3g}"


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES, model="one_layer")
