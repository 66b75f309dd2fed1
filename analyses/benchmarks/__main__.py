"""probrev beside what a user could pick instead: same model, data, machine and run.

    uv run --extra bench python -m analyses.benchmarks compute runs/benchmarks
    uv run python -m analyses.benchmarks plot runs/benchmarks

`compute` first checks that all sides compute the same thing, then times them, compilation apart;
`--set parts=sweeps` measures one part alone. `plot` prints the tables and draws the figure. Read
times as ratios: everything is measured in one run, but machines differ.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analyses.benchmarks.enumerations import enumerations
from analyses.benchmarks.gibbs_sweeps import sweeps
from analyses.benchmarks.integrals import integrals
from analyses.benchmarks.memory import peak_bytes
from analyses.benchmarks.predictions import predictions
from analyses.benchmarks.prior_samplers import prior_samplers
from analyses.benchmarks.samplers import OURS, samplers
from analyses.script import load, run, save
from analyses.table import print_table, to_dataset, to_rows

Part = Literal["sweeps", "samplers", "priors", "enumerations", "integrals", "predictions"]
MEASURES: dict[Part, Callable[..., list[dict[str, Any]]]] = {
    "sweeps": sweeps,
    "samplers": samplers,
    "priors": prior_samplers,
    "enumerations": enumerations,
    "integrals": integrals,
    "predictions": predictions,
}
CALLS: dict[Part, list[dict[str, Any]]] = {
    "sweeps": [{}],
    "samplers": [
        {"n_visible": 200, "n_hidden": 60, "n_active": 5},
        {"n_visible": 100, "n_hidden": 30, "n_active": 3, "num_chains": (64,)},
        {"n_visible": 100, "n_hidden": 30, "n_active": 3, "num_chains": (64,)}
        | {"is_finite": True, "pymc_draws": 0},
    ],
    "priors": [{"prior": "rate"}, {"prior": "correlated"}],
    "enumerations": [{}],
    "integrals": [{}],
    "predictions": [{}],
}
SIZES = {"full": {"parts": tuple(MEASURES)}}


def compute(
    out: Path,
    *,
    parts: tuple[Part, ...],
    calls: Mapping[Part, Sequence[Mapping[str, Any]]] = CALLS,
) -> None:
    """Measures the parts and writes PART.nc of each, again after each of its calls.

    Args:
        out: folder to write in.
        parts: what to measure.
        calls: arguments of each part's calls.
    """
    for part in parts:
        rows = []
        for arguments in calls[part]:
            print(part, arguments, flush=True)
            rows += MEASURES[part](**arguments)
            save(out, part, to_dataset(rows).assign_attrs(peak_mb=peak_bytes() / 2**20))


def plot(out: Path) -> Path:
    """Prints the tables and draws the figure."""
    rows = {}
    for part in MEASURES:
        data = load(out, part)
        rows[part] = to_rows(data)
        print(f"{part} ({data.attrs['device']})")
        print_table(rows[part], ",.3g")
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_samplers(left, rows["samplers"])
    plot_sweeps(right, rows["sweeps"])
    figure.savefig(out / "benchmarks.png", dpi=150)
    return out / "benchmarks.png"


def plot_samplers(axes: Axes, rows: list[dict[str, Any]]) -> None:
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
        print(f"{label}: gibbs has {times:.1f} times the smallest ESS/s of the best other")
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


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
