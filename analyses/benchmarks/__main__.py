"""probrev beside what a user could pick instead: same model, data, machine and run.

    uv run --extra bench python -m analyses.benchmarks compute runs/benchmarks
    uv run python -m analyses.benchmarks plot runs/benchmarks

`compute` first checks that all sides compute the same thing, then times them, compilation apart,
and writes benchmarks.json after each size. `plot` reads that, prints the tables and draws the
figure. Read times as ratios: everything is measured in one run, but machines differ.
"""

import argparse
import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import matplotlib.figure
import numpyro
from matplotlib.axes import Axes
from rich.console import Console
from rich.table import Table

from analyses.benchmarks.enumerations import enumerations
from analyses.benchmarks.gibbs_sweeps import sweeps
from analyses.benchmarks.samplers import OURS, samplers
from probrev.runs.provenance import versions

SIZES: dict[str, list[dict[str, Any]]] = {
    "sweeps": [{}],
    "samplers": [
        {"n_visible": 200, "n_hidden": 60, "n_active": 5},
        {"n_visible": 100, "n_hidden": 30, "n_active": 3, "num_chains": (64,)},
        {"n_visible": 100, "n_hidden": 30, "n_active": 3, "num_chains": (64,)}
        | {"is_finite": True, "pymc_draws": 0},
    ],
    "enumerations": [{}],
}
PARTS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "sweeps": sweeps,
    "samplers": samplers,
    "enumerations": enumerations,
}


def compute(out: Path, sizes: dict[str, list[dict[str, Any]]] | None = None) -> None:
    """Measures everything and writes benchmarks.json.

    Args:
        out: folder to write in.
        sizes: arguments of each part's calls; parts that are left out are not measured.
    """
    out.mkdir(parents=True, exist_ok=True)
    device = jax.devices()[0]
    result: dict[str, Any] = {
        "device": f"{device.platform}: {device.device_kind}",
        "versions": versions(),
    }
    for part, calls in (sizes or SIZES).items():
        result[part] = []
        for arguments in calls:
            print(part, arguments, flush=True)
            result[part] += PARTS[part](**arguments)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            result[f"peak_mb_after_{part}"] = peak
            (out / "benchmarks.json").write_text(json.dumps(result, indent=1))


def plot(out: Path) -> Path:
    """Prints the tables and draws the figure.

    Args:
        out: folder that `compute` wrote in.
    """
    path = out / "benchmarks.json"
    if not path.exists():
        raise FileNotFoundError(f"no benchmarks.json in {out}: run `compute` first")
    result = json.loads(path.read_text())
    console = Console()
    for part in PARTS:
        for row in result.get(part, [])[:1]:
            table = Table(*row, title=f"{part} ({result['device']})")
            for values in result[part]:
                table.add_row(*(_format(value) for value in values.values()))
            console.print(table)
    figure = matplotlib.figure.Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_samplers(left, result["samplers"], console)
    plot_sweeps(right, result["sweeps"])
    figure.savefig(out / "benchmarks.png", dpi=150)
    return out / "benchmarks.png"


def plot_samplers(axes: Axes, rows: list[dict[str, Any]], console: Console) -> None:
    """Effective draws per second of every sampler at its best number of chains."""
    names = ("n", "m", "k", "slab")
    quickest = {row["name"]: row["ess_per_second"] for row in sorted(rows, key=rate)}
    order = sorted(quickest, key=lambda name: quickest[name])
    for size in sorted({tuple(row[name] for name in names) for row in rows}):
        best: dict[str, dict[str, Any]] = {}
        of_size = [row for row in rows if tuple(row[name] for name in names) == size]
        for row in sorted(of_size, key=lambda row: (row["agrees"], row["ess_per_second"])):
            best[row["name"]] = row  # the last one: agreeing, and the quickest of those
        rival = max(row["ess_per_second"] for name, row in best.items() if name != OURS)
        times = best[OURS]["ess_per_second"] / rival
        label = "n={}, m={}, k={}, {} slab".format(*size)
        console.print(f"{label}: gibbs has {times:.1f} times the smallest ESS/s of the best other")
        places = [order.index(name) for name in best]
        axes.plot([rate(row) for row in best.values()], places, "o", label=label)
    axes.set(xscale="log", xlabel="effective draws per second, smallest over units")
    axes.set_yticks(range(len(order)), order)
    axes.grid(axis="x", which="both", color="#e4e4e4")
    axes.legend(fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0))


def rate(row: dict[str, Any]) -> float:
    """What samplers are ranked by."""
    return row["ess_per_second"]


def plot_sweeps(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """A sweep, its parts and the bare passes, over the number of chains."""
    base = max(rows, key=lambda row: row["chains"])
    fixed = ("n", "m", "k", "depth", "obs")
    same = [row for row in rows if all(row[size] == base[size] for size in fixed)]
    same = sorted(same, key=lambda row: row["chains"])
    for name, label in (
        ("sweep_us", "sweep"),
        ("coordinates_us", "coordinate pass"),
        ("augment_us", "augmentation"),
        ("bare_us", "bare W h and Wᵀ r"),
    ):
        axes.plot([row["chains"] for row in same], [row[name] for row in same], "o-", label=label)
    axes.set(xscale="log", yscale="log", xlabel="chains", ylabel="µs per chain")
    axes.set_title("one sweep, n={n}, m={m}".format(**base), fontsize="medium")
    axes.grid(which="both", color="#e4e4e4")
    axes.legend(fontsize="small")


def _format(value: Any) -> str:
    return f"{value:,.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=("compute", "plot"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=tuple(PARTS), help="measure one part alone")
    arguments = parser.parse_args()
    numpyro.enable_x64()
    if arguments.step == "compute":
        only = arguments.only
        compute(arguments.out, SIZES if only is None else {only: SIZES[only]})
    else:
        print(plot(arguments.out))
