"""How often `measure_agreement` tells posteriors apart: perfect ones, and ones that are wrong.

    uv run python -m analyses.agreement_level compute runs/agreement-level
    uv run python -m analyses.agreement_level plot runs/agreement-level

Perfect posteriors are draws that the exact posterior makes anew, and Gibbs; wrong ones are such
draws changed, or exact under a noise that is too large. All are held against the exact posterior of
the model `one_layer`. `compute` writes one file per set of observations and computes none again;
`plot` counts.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import probrev as pr
from analyses.figure import show
from analyses.script import find_saved, load, run, save
from probrev.posterior.agreement import LEVEL
from probrev.posterior.posterior import Posterior, from_draws
from probrev.runs import registry

PERFECT = ("exact", "gibbs")
WRONG = ("3 h + 1", "1.1 h", "h + 0.1", "shuffled apart", "noise × 1.3")
SIZES = {
    "small": {"num_perfect": 3, "num_wrong": 1},
    "full": {"num_perfect": 100, "num_wrong": 20},
}


def compute(
    out: Path,
    *,
    num_perfect: int,
    num_wrong: int,
    num_obs: int = 32,
    num_draws: int = 4000,
    **model,
) -> None:
    """Measures agreement with the exact posterior, on new observations each time.

    Args:
        out: folder to write in.
        num_perfect: sets of observations.
        num_wrong: how many of them are held against wrong posteriors too.
        num_obs: observations in a set.
        num_draws: of every posterior, in 4 chains where it is sampled.
        **model: parameters of the model `one_layer`.
    """
    plan = str({"num_obs": num_obs, "num_draws": num_draws, **model})
    built = registry.load("one_layer")(**model)
    for number in range(num_perfect):
        jobs = {"perfect": perfect} | ({"wrong": spoil} if number < num_wrong else {})
        for job, make in jobs.items():
            name = f"{job}-{number}"
            if find_saved(out, name, plan) is not None:
                continue
            obs = built.simulate(jax.random.key(number), num_obs)
            reference, again = (
                pr.exact(built, obs, num_draws=num_draws, seed=2 * number + each)
                for each in range(2)
            )
            found = measure(dict(make(built, obs, again, number)), reference)
            save(out, name, found.assign_attrs(plan=plan))


def perfect(
    model: pr.LayeredModel, obs: pr.Observations, right: Posterior, number: int
) -> Iterator[tuple[str, Posterior]]:
    """Right posteriors by name."""
    yield "exact", right
    num_samples = right.draws.sizes["chain"] * right.draws.sizes["draw"] // 4
    yield "gibbs", pr.gibbs(jax.random.key(1000 + number), model, obs, num_samples=num_samples)


def spoil(
    model: pr.LayeredModel, obs: pr.Observations, right: Posterior, number: int
) -> Iterator[tuple[str, Posterior]]:
    """Wrong posteriors by name, as draws whose origin is not known."""
    h, rng = right.draws.to_numpy(), np.random.default_rng(number)
    louder = replace(model.layers[0], noise_std=1.3 * model.layers[0].noise_std)
    noisy = pr.exact(
        pr.LayeredModel(model.prior, [louder]), obs, num_draws=h.shape[0] * h.shape[1],
        seed=number,
    )  # fmt: skip
    flat = h.reshape(-1, *h.shape[2:])
    changed = {
        "3 h + 1": np.where(h > 0, 3 * h + 1, 0),
        "1.1 h": 1.1 * h,
        "h + 0.1": np.where(h > 0, h + 0.1, 0),
        # Every unit's draws in an order of its own.
        "shuffled apart": rng.permuted(flat, axis=0).reshape(h.shape),
        "noise × 1.3": noisy.draws.to_numpy(),
    }
    for name, draws in changed.items():
        yield name, from_draws("elsewhere", draws, obs.x, model=model)


def measure(posteriors: dict[str, Posterior], reference: Posterior) -> xr.Dataset:
    """What agreement says of each posterior."""
    found = [pr.measure_agreement(one, reference) for one in posteriors.values()]
    figures = {
        "outcome": [one.outcome.value for one in found],
        "threshold_excess": [float(one.threshold_excess.max()) for one in found],
        "joint_p": [one.joint_p for one in found],
        "num_joint": [int(one.joint_contribution.notnull().sum()) for one in found],
    }
    return xr.Dataset({name: ("kind", values) for name, values in figures.items()}).assign_coords(
        kind=list(posteriors)
    )


def plot(out: Path) -> Path:
    """Counts what was told apart, and draws both tests' figures."""
    paths = sorted(out.glob("*-*.nc"))
    if not paths:
        raise FileNotFoundError(f"no data in {out}: run `compute` first")
    sets = [load(out, path.stem) for path in paths]
    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    words = []
    for kind in (*PERFECT, *WRONG):
        rows = [one.sel(kind=kind) for one in sets if kind in one["kind"]]
        if not rows:
            continue
        excess, p_value, num_joint = (
            np.array([float(row[name]) for row in rows])
            for name in ("threshold_excess", "joint_p", "num_joint")
        )
        outcomes = [str(row["outcome"].item()) for row in rows]
        words.append(
            f"{kind}: {outcomes.count('disagrees')} of {len(rows)} flagged "
            f"({(excess > 1).sum()} by thresholds, {(p_value <= LEVEL).sum()} jointly), "
            f"{outcomes.count('unchecked')} unchecked, at least {num_joint.min():.0f} observations "
            "in the joint test"
        )
        print(words[-1])
        left.plot(np.sort(excess), np.linspace(0, 1, len(rows)), label=kind)
        right.plot(np.sort(p_value), np.linspace(0, 1, len(rows)))
    left.set(
        xscale="log", xlabel="largest divergence in units of its bound", ylabel="share of sets"
    )
    right.set(xscale="log", xlabel="joint p-value")
    left.axvline(1, color="black", linewidth=0.8)
    right.axvline(LEVEL, color="black", linewidth=0.8)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return show(figure, "Told apart from exact: " + "; ".join(
        word.split(" (")[0] for word in words
    ), out / "agreement_level.png")  # fmt: skip


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES, model="one_layer", without=("weights",))
