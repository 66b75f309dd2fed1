"""How the error of every hidden vector grows with depth: nets, message passing, Gibbs.

    uv run python -m analyses.depth compute runs/depth --size full
    uv run python -m analyses.depth plot runs/depth

The theorems reach through three layers and say little of the vectors between, which are not
sparse. Here stacks of one to five layers, each with as many times more units below as above, are
inverted level by level. Level 1 is the hidden vector next to x, the last level is h. Errors are
squared, pooled over observations and relative to the energy of the vector, with fresh weights for
every repetition. Gibbs runs where it is asked for, and rows where it did not converge are kept and
marked.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import probrev as pr
from analyses.figure import show
from analyses.script import load, run, save
from analyses.table import to_dataset
from probrev.runs import registry
from probrev.theory.state_evolution import is_hard

NAME = "depth"
OK = "ok"
NETS = ("universal", "calibrated")
COLORS = {
    "net, universal": "C0",
    "net, calibrated": "C1",
    "message passing": "C2",
    "state evolution": "C3",
    "Gibbs": "C4",
}
SIZES: dict[str, dict[str, Any]] = {
    "quick": {
        "stacks": (
            {"n_hidden": 8, "ratio": 4, "n_active": 2.0, "max_depth": 2, "num_samples": 500},
        ),
        "num_obs": 8,
        "num_weights": 2,
    },
    "full": {
        "stacks": (
            {"n_hidden": 8, "ratio": 4, "n_active": 2.0, "max_depth": 3, "num_samples": 4000},
            {"n_hidden": 24, "ratio": 3, "n_active": 3.0, "max_depth": 5, "num_samples": 0},
        ),
        "num_obs": 16,
        "num_weights": 3,
    },
}


class Inverse(NamedTuple):
    """What a method makes of the hidden vectors.

    Attributes:
        method: its name.
        estimates: of each hidden vector, the one next to x first, (obs, unit).
        status: "ok", or why it cannot be trusted.
    """

    method: str
    estimates: Sequence[Any]
    status: str = OK


def compute(
    out: Path, *, stacks: tuple[dict[str, Any], ...], num_obs: int, num_weights: int
) -> None:
    """Measures the error of every level of every stack under each method.

    Args:
        out: folder to write in.
        stacks: arguments of `measure_depth`, with `max_depth` for `depth`.
        num_obs: observations per model.
        num_weights: models per depth, with fresh weights each.
    """
    rows = []
    for stack in stacks:
        settings = {name: value for name, value in stack.items() if name != "max_depth"}
        for depth in range(1, stack["max_depth"] + 1):
            rows += measure_depth(depth=depth, num_obs=num_obs, num_weights=num_weights, **settings)
            print(f"{stack['n_hidden']} hidden units, depth {depth}: done", flush=True)
    data = to_dataset(rows).set_coords(["n_hidden", "ratio", "depth", "method", "level"])
    save(out, NAME, data.assign_attrs(num_obs=num_obs, num_weights=num_weights))


def measure_depth(
    *,
    n_hidden: int,
    ratio: int,
    n_active: float,
    depth: int,
    num_samples: int,
    num_obs: int,
    num_weights: int,
) -> list[dict[str, Any]]:
    """A row per method and level: relative squared error, its standard error over W, status.

    Args:
        n_hidden: width of h.
        ratio: how many times wider each layer is than the one above it.
        n_active: expected number of active units of h.
        depth: number of layers.
        num_samples: Gibbs sweeps kept per chain, half as many before them; 0 for no Gibbs.
        num_obs: observations per model.
        num_weights: models.
    """
    errors: dict[tuple[str, int], list[float]] = {}
    status: dict[tuple[str, int], str] = {}
    for seed in range(num_weights):
        model = registry.load("layered")(
            n_visible=n_hidden * ratio**depth,
            n_intermediate=n_hidden * ratio ** (depth - 1),
            n_hidden=n_hidden,
            num_layers=depth,
            n_active=n_active,
            weight_seed=seed,
        )
        key_obs, key = jax.random.split(jax.random.key(seed))
        obs = model.simulate(key_obs, num_obs)
        for inverse in invert(key, model, obs, num_samples):
            for level, error in enumerate(relative_errors(inverse, obs), start=1):
                at = inverse.method, level
                errors.setdefault(at, []).append(error)
                # One repetition that cannot be trusted marks the row.
                status[at] = inverse.status if status.get(at, OK) == OK else status[at]
        if not seed:
            for level, error in enumerate(predicted_errors(model), start=1):
                errors["state evolution", level] = [error]
                status["state evolution", level] = predicted_status(model)
    return [
        {
            "n_hidden": n_hidden, "ratio": ratio, "depth": depth, "method": method, "level": level,
            "error": np.mean(values),
            "std_error": np.std(values, ddof=1) / np.sqrt(len(values)) if values[1:] else 0.0,
            "status": status[method, level],
        }
        for (method, level), values in errors.items()
    ]  # fmt: skip


def invert(
    key: PRNGKeyArray, model: pr.LayeredModel, obs: pr.Observations, num_samples: int
) -> Iterator[Inverse]:
    """The estimate of every level by each method."""
    for rule in NETS:
        net = pr.FeedforwardNet.from_model(key, model, bias=rule)
        yield Inverse(f"net, {rule}", net.activations(obs.x)[1:])
    found = [("message passing", pr.message_passing(model, obs, num_draws=4))]
    if num_samples:
        num_warmup = num_samples // 2
        sampled = pr.gibbs(key, model, obs, num_warmup=num_warmup, num_samples=num_samples)
        found.append(("Gibbs", sampled))
    for method, posterior in found:
        below = [
            posterior.tree[f"intermediates/h_{level}_mean"].to_numpy()
            for level in range(1, len(model.layers))
        ]
        yield Inverse(method, [*below, posterior.mean.to_numpy()], posterior.status)


def relative_errors(inverse: Inverse, obs: pr.Observations) -> list[float]:
    """Squared errors of every level over the energies of the true vectors, both pooled."""
    assert obs.h is not None
    return [
        float(((np.asarray(estimate) - true) ** 2).sum() / (true**2).sum())
        for estimate, true in zip(
            inverse.estimates, map(np.asarray, (*obs.intermediates, obs.h)), strict=True
        )
    ]


def predicted_errors(model: pr.LayeredModel) -> list[float]:
    """The Bayes risk of every level by state evolution, relative to the level's energy."""
    risks = np.asarray(pr.evolve_state(model.sparse_prior, model.layers).risks)
    return [float(risk / energy) for risk, energy in zip(risks, energies(model), strict=True)]


def predicted_status(model: pr.LayeredModel) -> str:
    """Whether state evolution has one fixed point, so that message passing finds the Bayes risk."""
    starts = [
        pr.evolve_state(model.sparse_prior, model.layers, start=start)
        for start in ("informed", "uninformed")
    ]
    return "two fixed points" if is_hard(*starts) else OK


def energies(model: pr.LayeredModel) -> list[Array]:
    """E||h^(l)||^2 of every hidden vector over random weights, the one next to x first.

    E||h^(l-1)||^2 = n rho gain^2 (w^2 E||h^(l)||^2 + noise_var) / 2, w^2 the mean square weight.
    """
    found = [model.sparse_prior.second_moment.sum()]
    for layer in reversed(model.layers[1:]):
        variance = layer.weight_std**2 * found[0] + layer.noise_std**2
        found.insert(0, layer.n_visible * layer.keep_prob * layer.gain**2 * variance / 2)
    return found


def find(data: xr.Dataset) -> str:
    """What was found, in words, of the stack of the widest h."""
    widest = data.where(data.n_hidden == data.n_hidden.max(), drop=True)
    deepest = int(widest.depth.max())
    tops = []
    for method in dict.fromkeys(widest.method.values):
        error = [float(rows(widest, method, depth).error[-1]) for depth in (1, deepest)]
        growth = (error[1] / error[0]) ** (1 / max(deepest - 1, 1))
        tops.append(f"{method} {error[0]:.3f} to {error[1]:.3f}, x {growth:.2f} a layer")
    inside = rows(widest, "net, calibrated", deepest).error.to_numpy()
    doubtful = data.where(data.status != OK, drop=True)
    marked = dict.fromkeys(
        f"{method} at depth {int(depth)} (m = {int(m)}): {status}"
        for method, depth, m, status in zip(
            doubtful.method.values, doubtful.depth.values, doubtful.n_hidden.values,
            doubtful.status.values, strict=True,
        )
    )  # fmt: skip
    return (
        f"Relative squared error of h, {int(widest.n_hidden[0])} units, from 1 to {deepest} "
        f"layers: {'; '.join(tops)}. Within {deepest} layers the calibrated net's error runs "
        f"{', '.join(f'{error:.3f}' for error in inside)} from x up. "
        f"Marked rows: {'; '.join(marked) if marked else 'none'}."
    )


def rows(data: xr.Dataset, method: str, depth: int) -> xr.Dataset:
    """The levels of one model under one method, from x up."""
    chosen = (data.method == method) & (data.depth == depth)
    return data.isel(row=np.flatnonzero(chosen)).sortby("level")


def plot(out: Path) -> Path:
    """Draws, per stack, the error of h over depth, and of every level of the deepest model."""
    data = load(out, NAME)
    widths = np.unique(data.n_hidden)
    figure = Figure(figsize=(10, 1 + 4 * len(widths)), layout="constrained")
    for (left, right), width in zip(
        figure.subplots(len(widths), 2, squeeze=False), widths, strict=True
    ):
        stack = data.isel(row=np.flatnonzero(data.n_hidden == width))
        ratio = int(stack.ratio[0])
        deepest = int(stack.depth.max())
        for method in dict.fromkeys(stack.method.values):
            levels = [rows(stack, method, depth) for depth in range(1, deepest + 1)]
            top = xr.concat([one.isel(row=[-1]) for one in levels], "row")
            draw(left, top.depth, top, method)
            draw(right, levels[-1].level, levels[-1], method)
        left.set(xlabel="layers", title=f"h, {width} units; widths grow by {ratio} towards x")
        right.set(xlabel="level (1 is next to x)", title=f"every level of {deepest} layers")
        for axes in (left, right):
            axes.set(ylabel="squared error / ||h||²", yscale="log", xticks=range(1, deepest + 1))
        left.plot([], [], "ok", markerfacecolor="white", label="not converged, or two fixed points")
        left.legend(frameon=False, fontsize="small")
    return show(figure, find(data), out / f"{NAME}.png")


def draw(axes: Axes, position: xr.DataArray, data: xr.Dataset, method: str) -> None:
    """One line; hollow where a row is marked."""
    color = COLORS[method]
    style = "--" if method == "state evolution" else "-"
    axes.errorbar(position, data.error, data.std_error, fmt=style, color=color, label=method)
    for fill, chosen in ((color, data.status == OK), ("white", data.status != OK)):
        axes.plot(
            position[chosen], data.error[chosen], "o", color=color, markerfacecolor=fill, zorder=3
        )


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
