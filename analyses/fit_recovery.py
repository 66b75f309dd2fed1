"""Whether fitted layers have the parameters that made x, within the errors that they claim.

    uv run python -m analyses.fit_recovery compute runs/fit-recovery --size full
    uv run python -m analyses.fit_recovery plot runs/fit-recovery

Every data set has weights, bias and h of its own. `pairs`: keep_prob, noise_std, gain and bias from
x and h. `correlated`: the same where the noise of all rows of an observation has a correlation;
each row's noise is N(0, 1) all the same, so that the parameters which are likeliest in the long run
are still those that made x. `alone`: from x alone, with the gain given and the prior fitted along.
`compute` writes standard errors between estimate and truth; `plot` counts.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import numpyro.distributions as dist
import xarray as xr
from matplotlib.figure import Figure
from scipy.stats import norm

import probrev as pr
from analyses.figure import show
from analyses.script import load, run, save
from analyses.table import print_table
from probrev.model.activations import as_activation
from probrev.nets.fitting.likelihood import read_pairs
from probrev.nets.fitting.maximum import Held, maximise, standard_errors

KEEP_PROB, NOISE_STD, GAIN, INCLUSION_PROB, SLAB_SCALE = 0.8, 0.7, 0.4, 0.25, 1.5
CORRELATION = 0.5
PARTS = ("pairs", "correlated", "alone")
SIZES = {
    "small": {"num_pairs": 20, "num_correlated": 50, "num_alone": 2},
    "full": {"num_pairs": 100, "num_correlated": 1000, "num_alone": 20},
}


class DataSet(NamedTuple):
    """What was drawn."""

    weights: np.ndarray
    bias: np.ndarray
    h: np.ndarray
    x: np.ndarray


def compute(
    out: Path,
    *,
    num_pairs: int,
    num_correlated: int,
    num_alone: int,
    n_visible: int = 40,
    n_hidden: int = 8,
    num_obs: int = 400,
    num_warmup: int = 300,
    num_samples: int = 700,
) -> None:
    """Draws data sets, fits them, and holds estimates against what made them.

    Args:
        out: folder to write in.
        num_pairs: data sets of x and h.
        num_correlated: data sets of x and h whose rows err together.
        num_alone: data sets of x.
        n_visible: rows of each.
        n_hidden: units of each.
        num_obs: observations in each.
        num_warmup: sweeps of a fit to x alone that go towards the maximum.
        num_samples: sweeps of it that are averaged.
    """
    shape = n_visible, n_hidden, num_obs

    def alone(seed: int, data: DataSet) -> dict[str, np.ndarray]:
        return fit_alone(seed, data, num_warmup, num_samples)

    jobs: dict[str, tuple[int, float, Callable[[int, DataSet], dict[str, np.ndarray]]]] = {
        "pairs": (num_pairs, 0.0, fit_pairs),
        "correlated": (num_correlated, CORRELATION, fit_pairs),
        "alone": (num_alone, 0.0, alone),
    }
    for part, (count, correlation, fit) in jobs.items():
        found, seconds = [], []
        for seed in range(count):
            data = draw(PARTS.index(part) * 10_000 + seed, *shape, correlation)
            start = time.perf_counter()
            found.append(fit(seed, data))
            seconds.append(time.perf_counter() - start)
        values = {
            name: (("set", "row")[: np.ndim(found[0][name]) + 1], [one[name] for one in found])
            for name in found[0]
        }
        save(out, part, xr.Dataset({**values, "seconds": ("set", seconds)}))


def draw(seed: int, n_visible: int, n_hidden: int, num_obs: int, correlation: float) -> DataSet:
    """A data set, in plain NumPy."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(n_visible, n_hidden))
    bias = rng.normal(0, 0.5, n_visible)
    active = rng.random((num_obs, n_hidden)) < INCLUSION_PROB
    h = SLAB_SCALE * np.abs(rng.normal(size=active.shape)) * active
    common, own = rng.normal(size=(num_obs, 1)), rng.normal(size=(num_obs, n_visible))
    noise = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own
    v = h @ weights.T + bias + NOISE_STD * noise
    return DataSet(weights, bias, h, GAIN * np.maximum(v, 0) * (rng.random(v.shape) < KEEP_PROB))


def fit_pairs(seed: int, data: DataSet) -> dict[str, np.ndarray]:
    """Standard errors between the fit to x and h and the truth, by parameter."""
    del seed
    held = Held(None, None, None, True)
    pairs = read_pairs(as_activation("relu"), data.weights, data.x, data.h, None)
    at = maximise(pairs, held)
    errors = standard_errors(pairs, at, held)
    truth = {"keep_prob": KEEP_PROB, "noise_std": NOISE_STD, "gain": GAIN, "bias": data.bias}
    return {
        name: (np.asarray(getattr(at, name)) - value) / getattr(errors, name)
        for name, value in truth.items()
    }


def fit_alone(seed: int, data: DataSet, num_warmup: int, num_samples: int) -> dict[str, np.ndarray]:
    """Standard errors between the fit to x alone and the truth, from a start that is off it."""
    prior = pr.SpikeAndSlab(data.weights.shape[1], 0.5, dist.HalfNormal(1.0))
    start = pr.LayeredModel(prior, [pr.Layer(data.weights, 0.6, 1.0, GAIN)])
    fit = pr.fit_marginal(
        jax.random.key(seed), start, data.x, num_warmup=num_warmup, num_samples=num_samples
    )
    truth = {
        "keep_prob": KEEP_PROB, "noise_std": NOISE_STD, "inclusion_prob": INCLUSION_PROB,
        "slab_scale": SLAB_SCALE, "bias": data.bias,
    }  # fmt: skip
    found = {
        name: (fit.values[name] - value) / getattr(fit.std_errors, name)
        for name, value in truth.items()
    }
    return found | {"drift": np.asarray(fit.drift)}


def count(part: str, data: xr.Dataset) -> list[dict]:
    """How often each parameter lies within 3 and within 1.96 standard errors."""
    rows = []
    for name in data.data_vars:
        if name in ("seconds", "drift"):
            continue
        gap = np.abs(data[name].to_numpy())
        worst = (gap < 3).sum(0).min()
        rows.append(
            {
                "part": part,
                "parameter": name,
                "data sets": data.sizes["set"],
                "within 3 errors": int(worst),  # of the bias, that of the worst row
                "share within 3": float((gap < 3).mean()),
                "share within 1.96": float((gap < norm.ppf(0.975)).mean()),
                "rms": float(np.sqrt(np.nanmean(gap**2))),
                "unknown": int(np.isnan(gap).sum()),  # rows that never fire; outside, above
            }
        )
    return rows


def plot(out: Path) -> Path:
    """Counts what is within its errors, and draws how far estimates lie from the truth."""
    parts = {part: load(out, part) for part in PARTS}
    table = [row for part, data in parts.items() for row in count(part, data)]
    print_table(table)
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    quantiles = np.linspace(-3.5, 3.5, 200)
    for axes, (part, data) in zip(figure.subplots(1, len(parts)), parts.items(), strict=True):
        for row in table:
            if row["part"] == part:
                gaps = np.sort(data[row["parameter"]].to_numpy().ravel())
                axes.step(gaps, np.linspace(0, 1, gaps.size), label=row["parameter"], linewidth=1)
        axes.plot(quantiles, norm.cdf(quantiles), color="black", linewidth=0.8)
        axes.set(title=part, xlim=(-3.5, 3.5), xlabel="standard errors from the truth")
        axes.legend(frameon=False, fontsize="x-small")
    words = "; ".join(
        f"{part}: within 3 errors in at least "
        f"{min(row['within 3 errors'] for row in table if row['part'] == part)} of "
        f"{data.sizes['set']} data sets, {float(data['seconds'].mean()):.2g} s each"
        for part, data in parts.items()
    )
    low, high = (
        end(row["share within 1.96"] for row in table if row["part"] == "correlated")
        for end in (min, max)
    )
    finding = f"{words}; 95 % intervals where rows err together hold {low:.3f} to {high:.3f}"
    return show(figure, finding, out / "fit_recovery.png")


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
