"""What a posterior takes of memory where W is a good part of it: W from a file, in float32.

    uv run python -m analyses.benchmarks.large_weights compute runs/large_weights
    uv run python -m analyses.benchmarks.large_weights compute runs/large_gibbs --size gibbs
    uv run python -m analyses.benchmarks.large_weights plot runs/large_weights

`compute` writes N(0, 1) weights to OUT/weights.npy, some rows at a time. A process of its own maps
them, makes a layer of them, an observation, and its posterior, and notes the peak of its memory
after each, mapped pages among it, over the size of W. With `--set num_devices=4` it has so many
devices, and spreads the rows over them. Of Gibbs, 4 chains, it measures a sweep beside a bare pass
down and up, W h and Wᵀ r of one chain. `plot` prints the table.
"""

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import numpyro
from matplotlib.figure import Figure
from numpyro.distributions import HalfNormal

import probrev as pr
from analyses.benchmarks.memory import peak_bytes
from analyses.benchmarks.timings import medians
from analyses.script import load, run, save
from analyses.table import print_table, to_dataset

SIZES = {
    "small": {"n_visible": 20_000, "n_hidden": 4000, "method": "message_passing", "num_devices": 1},
    "full": {"n_visible": 100_000, "n_hidden": 20_000, "method": "message_passing"}
    | {"num_devices": 1},
    "gibbs": {"n_visible": 10_000, "n_hidden": 2000, "method": "gibbs", "num_devices": 1},
}
ROWS_PER_BLOCK = 1000
# Of Gibbs two runs, which differ by sweeps alone: what both begin with is taken off.
FEW_SWEEPS, MANY_SWEEPS = 500, 1500
Method = Literal["message_passing", "gibbs"]


def compute(out: Path, *, n_visible: int, n_hidden: int, method: Method, num_devices: int) -> None:
    """Measures, and writes large_weights.nc.

    Args:
        out: folder to write in.
        n_visible: n, a multiple of num_devices.
        n_hidden: m.
        method: of the posterior.
        num_devices: how many devices the rows are spread over; 1 leaves the memory map as it is.
    """
    path = out / "weights.npy"
    write_weights(path, n_visible, n_hidden)
    before = os.environ.get("XLA_FLAGS")
    if num_devices > 1:
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={num_devices}"
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            row = pool.submit(measure, path, method, num_devices).result()
    finally:
        os.environ.pop("XLA_FLAGS", None)
        if before is not None:
            os.environ["XLA_FLAGS"] = before
        path.unlink()
    save(out, "large_weights", to_dataset([row]))


def write_weights(path: Path, n_visible: int, n_hidden: int) -> None:
    """N(0, 1) weights in float32, some rows at a time."""
    rng = np.random.default_rng(0)
    whole = np.lib.format.open_memmap(path, "w+", np.float32, (n_visible, n_hidden))
    for start in range(0, n_visible, ROWS_PER_BLOCK):
        block = whole[start : start + ROWS_PER_BLOCK]
        block[...] = rng.standard_normal(block.shape, np.float32)
    whole.flush()


def measure(path: Path, method: Method, num_devices: int) -> dict[str, Any]:
    """Makes a posterior with weights from a file, and says what it took."""
    numpyro.enable_x64(False)
    weights = np.load(path, mmap_mode="r")
    n_visible, n_hidden = weights.shape
    peaks = {"start": peak_bytes()}
    layer = pr.Layer(pr.spread_rows(weights) if num_devices > 1 else weights, 0.5, 0.7)
    peaks["layer"] = peak_bytes()
    n_active = max(1, n_hidden // 40)
    prior = pr.SpikeAndSlab(n_hidden, n_active / n_hidden, HalfNormal(1 / np.sqrt(n_active)))
    model = pr.LayeredModel(prior, [layer])
    obs = model.simulate(jax.random.key(0), 1)
    peaks["simulate"] = peak_bytes()
    took = {"message_passing": by_message_passing, "gibbs": by_gibbs}[method](model, obs)
    peaks["posterior"] = peak_bytes()
    if method == "gibbs":
        took["pass_seconds"] = seconds_of_a_pass(layer)
    return {
        "method": method,
        "n_visible": n_visible,
        "n_hidden": n_hidden,
        "num_devices": len(layer.weights.sharding.device_set),
        "weights_bytes": weights.nbytes,
        **took,
        "cpu_seconds": time.process_time(),
        **{f"{name}_peak_over_weights": peak / weights.nbytes for name, peak in peaks.items()},
    }


def by_message_passing(model: pr.LayeredModel, obs: pr.Observations) -> dict[str, Any]:
    """Its status and time."""
    posterior = pr.message_passing(model, obs, num_draws=400)
    return {"status": posterior.status_reason, "run_seconds": posterior.tree.attrs["run_seconds"]}


def by_gibbs(model: pr.LayeredModel, obs: pr.Observations) -> dict[str, Any]:
    """Its status and time, and that of a sweep of all chains."""
    few, many = (
        pr.gibbs(jax.random.key(1), model, obs, num_samples=number)
        for number in (FEW_SWEEPS, MANY_SWEEPS)
    )
    seconds = [one.tree.attrs["run_seconds"] for one in (few, many)]
    return {
        "status": many.status_reason,
        "run_seconds": seconds[1],
        "sweep_seconds": (seconds[1] - seconds[0]) / (MANY_SWEEPS - FEW_SWEEPS),
    }


def seconds_of_a_pass(layer: pr.Layer) -> float:
    """W h and Wᵀ r of one chain, the median of several."""
    down = jax.jit(lambda h, weights: (weights @ h) @ weights)
    h = jax.numpy.ones(layer.n_hidden, layer.weights.dtype)
    return medians(lambda: down(h, layer.weights))[0]


def plot(out: Path) -> Path:
    """Prints the table and draws the peaks."""
    data = load(out, "large_weights")
    print_table(data.to_dataframe(), ",.3g")
    names = ("start", "layer", "simulate", "posterior")
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    axes.bar(names, [data[f"{name}_peak_over_weights"].item() for name in names])
    axes.set_ylabel("peak memory / W")
    figure.savefig(out / "large_weights.png", dpi=150)
    return out / "large_weights.png"


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
