"""How far exact posteriors of continuous slabs are from plain integrals, and what they claim.

    uv run python -m analyses.exact_accuracy compute runs/exact_accuracy --size full
    uv run python -m analyses.exact_accuracy plot runs/exact_accuracy

`compute` draws posteriors that strain integrals over supports (`cases`), solves each by `exact` and
by plain `integrals`, and writes errors and claims. A claim is integration_error +
unvisited_mass. An error is the largest of those of the evidence (relative), of every support's
probability, and of every unit's mean and variance. The last two are divided by s_i and s_i^2, with
s_i^2 = E[h_i^2 | x, h_i > 0] of the plain integrals: the unit's own size where it is active. So
columns of W of scale 1e-3 or 1e3 count like others, and a unit that is hardly ever active does not
count by how small its unconditional moments are. Four standard errors of the plain integrals are
taken off first (0 unless three or four units may be active).

`plot` draws errors over claims, and says how many lie outside 3 claims + 2e-4, the worst factor,
the share of claims that are at most 1e-3, and the cost.
"""

import sys
import time
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import probrev as pr
from analyses.exact_accuracy.cases import SHAPES, Case, draw_case, make_model
from analyses.exact_accuracy.integrals import Truth, list_supports, solve
from analyses.figure import show
from analyses.script import find_saved, load, run, save
from analyses.table import to_dataset, to_rows

SIZES = {
    "quick": {"num_two": 12, "num_three": 3, "num_four": 1},
    "full": {"num_two": 500, "num_three": 100, "num_four": 20},
}
CLAIMS, ROOM, STANDARD_ERRORS = 3.0, 2e-4, 4.0
USEFUL_CLAIM = 1e-3
NAME, ROWS_AT_ONCE = "exact_accuracy", 10


def compute(out: Path, *, num_two: int, num_three: int, num_four: int) -> None:
    """Solves every posterior both ways; goes on where it was interrupted.

    Args:
        out: folder to write in.
        num_two: posteriors with at most two active units.
        num_three: posteriors with at most three.
        num_four: posteriors with at most four.
    """
    sizes = {"num_two": num_two, "num_three": num_three, "num_four": num_four}
    cases = [
        (most, seed)
        for most, num in zip(SHAPES, sizes.values(), strict=True)
        for seed in range(num)
    ]
    saved = find_saved(out, NAME, str(sizes))
    rows = [] if saved is None else to_rows(saved)
    for number in range(len(rows), len(cases)):
        rows.append({"max_active": cases[number][0]} | measure(case_of(*cases[number])))
        if len(rows) % ROWS_AT_ONCE == 0 or len(rows) == len(cases):
            data = to_dataset(rows, "posterior")
            save(out, NAME, data.assign_attrs(plan=str(sizes)))
            print(f"{len(rows)} of {len(cases)} posteriors", file=sys.stderr)


def case_of(max_active: int, seed: int) -> Case:
    """The case of a seed, the shapes in turn."""
    shapes = SHAPES[max_active]
    return draw_case(seed, shapes[seed % len(shapes)])


def measure(case: Case) -> dict[str, float]:
    """Error, claim and seconds of one posterior."""
    truth = solve(case)
    model, start = make_model(case), time.perf_counter()
    obs = pr.Observations(case.x[None])
    posterior = pr.exact(model, obs, num_draws=4, num_top=len(list_supports(case)))
    seconds = time.perf_counter() - start
    found = posterior.tree["exact"].to_dataset().isel(obs=0)
    claim = float(found["integration_error"] + found["unvisited_mass"])
    error = float(errors_of(case, truth, found).max())
    return {"error": error, "claim": claim, "factor": factor_of(error, claim), "seconds": seconds}


def factor_of(error: float, claim: float) -> float:
    """The error over what it may be: above 1 it lies outside the claim."""
    return error / (CLAIMS * claim + ROOM)


def errors_of(case: Case, truth: Truth, found: xr.Dataset) -> np.ndarray:
    """Every error, scaled as said above, less four of the plain integrals' standard errors."""
    supports = list_supports(case)
    probs = dict.fromkeys(supports, 0.0)
    for state, log_prob in zip(
        found["top_states"].to_numpy(), found["top_log_prob"].to_numpy(), strict=True
    ):
        if np.isfinite(log_prob):
            probs[tuple(int(unit) for unit in np.flatnonzero(state > 0))] += np.exp(log_prob)
    n_hidden = len(case.scale)
    active = [
        sum(p for p, support in zip(truth.support_probs, supports, strict=True) if unit in support)
        for unit in range(n_hidden)
    ]
    square = np.maximum(truth.second / np.maximum(active, 1e-300), 1e-300)
    scale = np.sqrt(square)
    gaps = [
        np.expm1([float(found["log_evidence"]) - truth.log_evidence]),
        np.array(list(probs.values())) - truth.support_probs,
        (found["mean"].to_numpy() - truth.mean) / scale,
        (found["var"].to_numpy() - (truth.second - truth.mean**2)) / square,
    ]
    evidence, support, mean, second = np.split(
        truth.std_errors, np.cumsum([1, len(supports), n_hidden])
    )
    spread = [evidence, support, mean / scale, (second + 2 * np.abs(truth.mean) * mean) / square]
    return np.abs(np.concatenate(gaps)) - STANDARD_ERRORS * np.concatenate(spread)


def plot(out: Path) -> Path:
    """Draws errors over claims."""
    data = load(out, NAME)
    figure = Figure(figsize=(6.5, 4.8), layout="constrained")
    ax = figure.subplots()
    said = []
    for most, one in data.groupby("max_active"):
        claim, error = one["claim"].to_numpy(), np.maximum(one["error"].to_numpy(), 1e-12)
        ax.plot(claim, error, ".", ms=4, label=f"at most {most} active")
        seconds = one["seconds"].to_numpy()
        said.append(
            f"at most {most} active: {(one['factor'].to_numpy() > 1).sum()} of {len(claim)} lie "
            f"outside 3 claims + 2e-4, worst factor {float(one['factor'].max()):.2g}; claim at "
            f"most 1e-3 in {(claim <= USEFUL_CLAIM).mean():.1%}; {np.median(seconds):.2g} s each "
            f"(median), {seconds.sum():.3g} s in all, compilation included"
        )
    grid = np.geomspace(*(data["claim"].to_numpy().clip(1e-12).min() / 2, 1), 100)
    ax.plot(grid, CLAIMS * grid + ROOM, color="#555555", lw=0.8, label="3 claims + 2e-4")
    ax.set(xscale="log", yscale="log", xlabel="integration_error + unvisited_mass", ylabel="error")
    ax.legend(frameon=False, fontsize=8)
    return show(figure, f"Of random posteriors with {'. With '.join(said)}.", out / "accuracy.png")


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
