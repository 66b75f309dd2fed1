"""Where the net loses to Bayes: the risk of every rung of the ladder over the noise level.

    uv run python -m analyses.ladder compute runs/ladder
    uv run python -m analyses.ladder plot runs/ladder

`compute` measures squared errors of all rungs and of the exact posterior mean on the same
observations of the model `one_layer`, for each noise_std; `plot` draws their relative risks and the
parts of the gap, prints both as a table, and says which part is largest and whether the order of
the rungs is the one expected.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import probrev as pr
from analyses.figure import bars, plain_ticks, show
from analyses.script import load, run, save
from probrev.comparison.gap import split_errors
from probrev.comparison.metrics.case import POSTERIOR, Row, row_of_ratio
from probrev.report.plots.canvas import COLORS, MARKERS, POSTERIOR_COLOR
from probrev.runs import registry

NOISE_STDS = (0.35, 0.7, 1.4, 2.8)
SIZES = {"quick": {"num_obs": 192}, "full": {"num_obs": 2048}}
ENDS = ("value", "low", "high")
# First rung expected to err at least as much as the second.
EXPECTED = (("universal", "calibrated"), ("calibrated", "trained"))


def compute(
    out: Path, *, num_obs: int, noise_stds: tuple[float, ...] = NOISE_STDS, **parameters
) -> None:
    """Measures squared errors and writes them.

    Args:
        out: folder to write in.
        num_obs: observations per noise level.
        noise_stds: noise levels.
        **parameters: further parameters of the model `one_layer`.
    """
    build = registry.load("one_layer")
    levels = [
        measure_errors(build(noise_std=noise_std, **parameters), num_obs)
        for noise_std in noise_stds
    ]
    data = xr.concat(levels, xr.DataArray(list(noise_stds), dims="noise_std", name="noise_std"))
    save(out, "ladder", data.assign_attrs(parameters=str(parameters)))


def measure_errors(model: pr.LayeredModel, num_obs: int) -> xr.Dataset:
    """Squared errors of every rung and of the exact posterior mean, per observation."""
    key_obs, key_ladder = jax.random.split(jax.random.key(0))
    obs = model.simulate(key_obs, num_obs)
    ladder = pr.build_ladder(key_ladder, model)
    estimates = {name: np.asarray(inverse(obs.x)) for name, inverse in ladder.items()}
    h = np.asarray(obs.h)
    mean = pr.exact(model, obs, num_draws=4).mean.to_numpy()
    errors = [((estimate - h) ** 2).sum(1) for estimate in estimates.values()]
    return xr.Dataset(
        {
            "squared_error": (("inverse", "obs"), np.stack(errors)),
            "bayes_squared_error": ("obs", ((mean - h) ** 2).sum(1)),
            "energy": ("obs", (h**2).sum(1)),
        },
        coords={"inverse": list(estimates)},
    )


def plot(out: Path) -> Path:
    """Draws risks and parts over the noise level, from the saved errors."""
    data = load(out, "ladder")
    noise = data["noise_std"].to_numpy()
    risks = [{name: relative_risk(one, name) for name in subjects(data)} for one in levels(data)]
    splits = [split_errors(*(one[name] for name in one.data_vars)) for one in levels(data)]
    parts = xr.concat([split for split in splits if split is not None], "noise_std")
    # Few observations give no intervals.
    absent = [name for name in ("std_error", "low", "high") if name not in parts]
    parts = parts.assign(dict.fromkeys(absent, np.nan * parts["value"]))
    print_tables(noise, risks, parts)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_risks(left, noise, risks)
    draw_parts(right, noise, parts)
    finding = f"{say_parts(noise, risks, parts)} {say_order(data)}"
    return show(figure, finding, out / "ladder.png")


def levels(data: xr.Dataset) -> Iterator[xr.Dataset]:
    """The errors at each noise level."""
    for index in range(data.sizes["noise_std"]):
        yield data.isel(noise_std=index)


def subjects(data: xr.Dataset) -> list[str]:
    """The rungs, and the posterior mean."""
    return [*data["inverse"].to_numpy().astype(str), POSTERIOR]


def errors_of(one: xr.Dataset, name: str) -> np.ndarray:
    """Squared errors of a rung, or of the posterior mean."""
    if name == POSTERIOR:
        return one["bayes_squared_error"].to_numpy()
    return one["squared_error"].sel(inverse=name).to_numpy()


def relative_risk(one: xr.Dataset, name: str, less: str | None = None) -> Row:
    """Relative risk of a rung, or what it exceeds that of another by, paired."""
    errors = errors_of(one, name) - (0.0 if less is None else errors_of(one, less))
    return row_of_ratio("relative_risk", name, errors, one["energy"].to_numpy(), seed=0)


def print_tables(noise: np.ndarray, risks: list[dict[str, Row]], parts: xr.Dataset) -> None:
    """Relative risks and parts with their standard errors, a column per noise level."""
    print("noise_std".ljust(14), *(f"{value:^16g}" for value in noise))
    for name in risks[0]:
        cells = [f"{row[name].value:.4f} ± {row[name].std_error:.4f}" for row in risks]
        print(name.ljust(14), *cells)
    for name in parts["part"].to_numpy():
        one = parts.sel(part=name)
        pairs = zip(one["value"].to_numpy(), one["std_error"].to_numpy(), strict=True)
        print(f"  {name}".ljust(13), *(f"{value:7.4f} ± {error:.4f}" for value, error in pairs))


def draw_risks(ax: Axes, noise: np.ndarray, risks: list[dict[str, Row]]) -> None:
    """Relative risk of every rung and of Bayes over the noise level."""
    for index, name in enumerate(risks[0]):
        bayes = name == POSTERIOR
        color = POSTERIOR_COLOR if bayes else COLORS[index]
        value, low, high = np.array([[getattr(row[name], end) for row in risks] for end in ENDS])
        ax.errorbar(
            noise, value, bars(value, low, high),
            color=color, marker=None if bayes else MARKERS[index], ms=5, capsize=2,
            lw=2.2 if bayes else 1.1, label="posterior mean" if bayes else name,
        )  # fmt: skip
    _log_noise(ax, noise)
    ax.set(ylabel="relative risk  Σ‖ĥ − h‖² / Σ‖h‖²", yscale="log")
    ax.legend(frameon=False, fontsize=8)


def draw_parts(ax: Axes, noise: np.ndarray, parts: xr.Dataset) -> None:
    """Parts of the gap over the noise level."""
    for index, name in enumerate(parts["part"].to_numpy()):
        one = parts.sel(part=name)
        line = "-" if one["in_sum"].to_numpy().all() else "--"
        ax.errorbar(
            noise, one["value"], bars(*(one[end] for end in ENDS)), color=COLORS[index],
            marker=MARKERS[index], ms=5, capsize=2, lw=1.3, ls=line,
            label=name if line == "-" else f"{name} (beside the sum)",
        )  # fmt: skip
    ax.axhline(0, color="#555555", lw=0.8)
    _log_noise(ax, noise)
    ax.set(ylabel="part of the gap, in relative risk")
    ax.legend(frameon=False, fontsize=8)


def _log_noise(ax: Axes, noise: np.ndarray) -> None:
    ax.set(xlabel="noise_std σ", xscale="log")
    plain_ticks(ax.xaxis, noise)


def say_parts(noise: np.ndarray, risks: list[dict[str, Row]], parts: xr.Dataset) -> str:
    """The largest part at each end of the noise levels."""
    said = []
    for index in (0, -1):
        one = parts.isel(noise_std=index)
        chain = one.isel(part=one["in_sum"].to_numpy())
        whole, largest = (
            float(chain["value"].sum()),
            chain.isel(part=chain["value"].to_numpy().argmax()),
        )
        start, bayes = str(chain["start"].to_numpy()[0]), risks[index][POSTERIOR].value
        said.append(
            f"at noise_std {noise[index]:g} (relative risk {bayes + whole:.3f} of {start}, "
            f"{bayes:.3f} of Bayes) {largest['part'].item()}, {largest['value'] / whole:.0%}"
        )
    return f"The largest part of the gap is, {said[0]} of it; {said[1]}."


def say_order(data: xr.Dataset) -> str:
    """Whether the rungs are in the order expected, and where not."""
    names, best = subjects(data), []
    for one in levels(data):
        rivals = [relative_risk(one, name, less=POSTERIOR) for name in names[:-1]]
        best.append(all(row.value >= 0 for row in rivals))
    said = [f"The posterior mean errs least at {sum(best)} of {len(best)} noise levels"]
    unexpected = say_swapped(data, [pair for pair in EXPECTED if {*pair} <= {*names}])
    said.append(
        f"against expectation: {unexpected}"
        if unexpected
        else "calibrated is nowhere worse than universal, nor trained than calibrated"
    )
    swapped = say_swapped(data, [*pairwise(names[:-1])])
    said.append(f"neighbouring rungs out of order, beyond 95 %: {swapped or 'none'}")
    return "; ".join(said) + "."


def say_swapped(data: xr.Dataset, pairs: list[tuple[str, str]]) -> str:
    """The pairs of which the second errs more, beyond 95 %, and at which noise levels."""
    said = []
    for worse, better in pairs:
        where = [
            f"{one['noise_std'].item():g}"
            for one in levels(data)
            if relative_risk(one, worse, less=better).high < 0
        ]
        if where:
            said.append(f"{better} above {worse} (at {', '.join(where)})")
    return ", ".join(said)


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES, model="one_layer", without=("noise_std",))
