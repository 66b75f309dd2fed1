"""What a sweep costs beside its cells, and what kills cost it.

    uv run --extra sweep python -m analyses.benchmarks.grid_sweep compute runs/sweep-benchmark
    uv run python -m analyses.benchmarks.grid_sweep plot runs/sweep-benchmark

One grid of `probrev sweep` is computed with one worker of one thread, with two, and with two whose
driver or worker is killed (SIGKILL) at random moments, resumed by the same command each time. The
killed sweep must hold the same bits. Overhead is wall time times workers less the time inside
cells, per cell, from the first batch on; starting Dask is told apart.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import xarray as xr
from matplotlib.figure import Figure

import probrev as pr
from analyses.figure import show
from analyses.script import load, run, save
from analyses.table import to_dataset
from probrev.runs.sweeps.store import TIMINGS, unfinished

SIZES = {"quick": {"num_seeds": 5}, "full": {"num_seeds": 25}}
BATCH_SIZE = 10
GRID = """
model = "one_layer"
inverses = ["universal", "calibrated", "first_step"]
num_seeds = {num_seeds}
num_obs = 32
batch_size = {batch_size}

[axes]
noise_std = [0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0]
keep_prob = [0.25, 0.5, 0.75, 1.0]

[fixed]
n_visible = {n_visible}
n_hidden = 10
"""


def compute(
    out: Path, *, num_seeds: int = 5, n_visible: int = 100, num_kills: int = 3, seed: int = 0
) -> None:
    """Runs the three sweeps and writes their times.

    Args:
        out: folder to write in.
        num_seeds: seeds per point of the grid, 40 points.
        n_visible: width of x.
        num_kills: kills of the third sweep, a worker and the driver by turns.
        seed: of the moments of the kills.
    """
    grid = out / "grid.toml"
    grid.write_text(GRID.format(num_seeds=num_seeds, n_visible=n_visible, batch_size=BATCH_SIZE))
    rows = [compute_sweep(grid, out / f"workers-{workers}.zarr", workers) for workers in (1, 2)]
    moments = random.Random(seed)
    killed = out / "killed.zarr"
    num_batches = int(rows[1]["cells"]) // BATCH_SIZE
    # The first cells compile, so that after pauses of their length the sweep might have ended.
    typical = float(pr.load_sweep(out / "workers-2.zarr")["cell_seconds"].median())
    for kill in range(num_kills):
        after = moments.randint(1, num_batches // (2 * num_kills))
        pause = moments.uniform(0, 0.5) * BATCH_SIZE * typical
        kill_during(grid, killed, after, pause, whole=kill % 2 == 1)
    compute_sweep(grid, killed, 2)
    one, two, broken = (
        pr.load_sweep(out / name).drop_vars(TIMINGS)
        for name in ("workers-1.zarr", "workers-2.zarr", "killed.zarr")
    )
    data = to_dataset(rows, "workers")
    data = data.assign_coords(workers=[1, 2]).assign_attrs(
        same_after_kills=int(two.equals(broken)),
        same_on_one_and_two=int(one.equals(two)),
        num_kills=num_kills,
    )
    save(out, "sweep_benchmark", data)


def start(grid: Path, store: Path, workers: int) -> subprocess.Popen:
    """The command, on workers of one thread each."""
    command = Path(sys.executable).with_name("probrev")
    words = [command, "sweep", grid, "--workers", str(workers), "--out", store]
    environment = os.environ | {"NPROC": "1"}
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)


def wait_for(store: Path, process: subprocess.Popen, num_batches: int) -> None:
    """Until the process has written that many batches."""
    left = len(unfinished(store)) if store.exists() else None
    while process.poll() is None:
        if store.exists():
            now = len(unfinished(store))
            left = now if left is None else left
            if now <= left - num_batches:
                return
        time.sleep(0.02)


def compute_sweep(grid: Path, store: Path, workers: int) -> dict[str, float]:
    """Computes what is left of a sweep; its times."""
    begin = time.perf_counter()
    process = start(grid, store, workers)
    wait_for(store, process, 1)
    first = time.perf_counter()
    if process.wait() != 0:
        raise RuntimeError(f"the sweep with {workers} workers ended with {process.returncode}")
    end = time.perf_counter()
    result = pr.load_sweep(store)
    cells = result["status"].size
    inside = float(result["cell_seconds"].sum())
    return {
        "seconds": end - begin,
        "starting_seconds": first - begin,
        "computing_seconds": end - first,
        "cell_seconds": inside / cells,
        "cells": cells,
        "overhead_seconds": (workers * (end - begin) - inside) / cells,
    }


def kill_during(grid: Path, store: Path, after: int, pause: float, *, whole: bool) -> None:
    """Starts the sweep and kills the driver, or a worker first, a pause after some batches."""
    process = start(grid, store, 2)
    try:
        wait_for(store, process, after)
        time.sleep(pause)
        if not whole:
            os.kill(workers_of(process.pid)[0], signal.SIGKILL)
            time.sleep(pause)
        if process.poll() is not None:
            raise RuntimeError(f"the sweep ended with {process.returncode} before it was killed")
    finally:
        process.kill()
        process.wait()
    print(f"killed with {len(unfinished(store))} batches left", flush=True)


def workers_of(pid: int) -> list[int]:
    """Worker processes of a driver: its children that the multiprocessing module spawned."""
    # Each thread has children of its own, and Dask spawns its workers from one of them.
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [child for task in tasks for child in task.read_text().split()]
    spawned = [
        int(child)
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    if not spawned:
        raise RuntimeError(f"no worker of process {pid} found")
    return spawned


def finding(data: xr.Dataset) -> str:
    """What it says, in a sentence."""
    one, two = (data.sel(workers=number) for number in (1, 2))
    cells = int(one["cells"])
    same = "holds the same bits as" if data.attrs["same_after_kills"] else "DIFFERS FROM"
    faster = float(one["computing_seconds"] / two["computing_seconds"])
    return (
        f"{cells} cells of {float(one['cell_seconds']):.3f} s: 2 workers are {faster:.2f} times "
        f"as fast as 1; the sweep itself costs {1e3 * float(one['overhead_seconds']):.1f} ms a "
        f"cell with 1 and {1e3 * float(two['overhead_seconds']):.1f} ms with 2, starting included; "
        f"the sweep that was killed {data.attrs['num_kills']} times {same} the one that was not."
    )


def plot(out: Path) -> Path:
    """Wall time of both runs, in parts."""
    data = load(out, "sweep_benchmark")
    figure = Figure(figsize=(6, 2.6), layout="constrained")
    axes = figure.subplots()
    bars = [f"{number} worker{'s' if number > 1 else ''}" for number in data["workers"].to_numpy()]
    starting = data["starting_seconds"].to_numpy()
    axes.barh(bars, starting, color="#bbbbbb", label="to the first batch")
    axes.barh(bars, data["computing_seconds"].to_numpy(), left=starting, label="from there on")
    axes.set(xlabel="seconds")
    axes.legend(frameon=False)
    return show(figure, finding(data), out / "sweep_benchmark.png")


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
