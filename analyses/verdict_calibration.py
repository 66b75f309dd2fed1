"""Are verdicts right as often as they say? Coverage of R's intervals, and the test that convicts.

    uv run python -m analyses.verdict_calibration compute runs/verdict-calibration --size full
    uv run python -m analyses.verdict_calibration plot runs/verdict-calibration

`compute` makes one large pool of observations of the model `one_layer` with their exact posteriors
and estimates of several rungs. Data sets of 16 to 128 observations drawn from the pool, which is
then the population, give the coverage of both intervals of R. Data sets without a common
observation give the level of the rank test, under the right posterior; posteriors under a noise_std
that is 1.3 times too large, and under a slab 1.2 times too wide, its power. `plot` draws both and
prints them as tables.
"""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import probrev as pr
from analyses.figure import say_range, show
from analyses.script import load, run, save
from probrev.comparison.metrics.case import INTERVAL_PROB, Case
from probrev.comparison.metrics.log_ratio import estimate_ratios
from probrev.comparison.metrics.risk import squared_errors
from probrev.comparison.metrics.truth_rank import truth_rank
from probrev.model.observations import Origin
from probrev.posterior.posterior import Posterior
from probrev.report.plots.canvas import COLORS, MARKERS
from probrev.runs import registry

# The planned three, and two that all but reach Bayes.
PLANNED = ("universal", "calibrated", "trained")
NEAR_BAYES = ("three_steps", "converged")
FORMS = ("without h", "with h")
WRONG = ("noise_std × 1.3", "slab × 1.2")
LEVEL = 1e-3
SIZES = {
    "quick": {"num_pool": 640, "num_sets": 200, "num_right": 20, "num_wrong": 4},
    "full": {"num_pool": 6400, "num_sets": 1000, "num_right": 200, "num_wrong": 10},
}
COVERED = (16, 32, 64, 128)
CONVICTED = (16, 32, 64, 128, 256)
RIGHT_OBS = 32
NUM_DRAWS = 400


def compute(
    out: Path,
    *,
    num_pool: int,
    num_sets: int,
    num_right: int,
    num_wrong: int,
    covered: tuple[int, ...] = COVERED,
    convicted: tuple[int, ...] = CONVICTED,
    **parameters,
) -> None:
    """Measures coverage, level and power.

    Args:
        out: folder to write in.
        num_pool: observations of the pool; at least 32 for each of the right posteriors.
        num_sets: data sets for the coverage at each number of observations.
        num_right: right posteriors that are tested, of 32 observations each.
        num_wrong: at most so many wrong ones at each number of observations.
        covered: numbers of observations of the data sets for the coverage.
        convicted: those of the data sets for the power.
        **parameters: further parameters of the model `one_layer`.
    """
    model = registry.load("one_layer")(**parameters)
    key = jax.random.key(0)
    obs = model.simulate(key, num_pool)
    ladder = pr.build_ladder(key, model, [*PLANNED, *NEAR_BAYES])
    estimates = np.stack([np.asarray(inverse(obs.x)) for inverse in ladder.values()])
    right = make_case(pr.exact(model, obs, num_draws=NUM_DRAWS), obs, estimates, list(ladder))
    coverage = measure_coverage(right, covered, num_sets)
    p_right = rank_sets(right, RIGHT_OBS, num_right)
    most = min(num_pool, num_wrong * max(convicted))
    p_wrong = {}
    for name, wrong in make_wrong(model).items():
        posterior = pr.exact(wrong, obs[:most], num_draws=NUM_DRAWS)
        case = make_case(posterior, obs[:most], estimates[:, :most], list(ladder))
        p_wrong[name] = [rank_sets(case, number, num_wrong) for number in convicted]
    power = [[float((p <= LEVEL).mean()) for p in ps] for ps in p_wrong.values()]
    sets = [len(p) for p in p_wrong[WRONG[0]]]
    data = coverage.assign(
        p_right=("right", p_right),
        power=(("wrong", "convicted"), power),
        num_wrong=("convicted", sets),
    )
    coords = {"wrong": list(WRONG), "convicted": list(convicted)}
    attrs = {"num_sets": num_sets, "parameters": str(parameters)}
    save(out, "verdict_calibration", data.assign_coords(coords).assign_attrs(attrs))


def make_wrong(model: pr.LayeredModel) -> dict[str, pr.LayeredModel]:
    """Models a little beside the one that made x and h, by name."""
    prior, (layer,) = model.prior, model.layers
    assert isinstance(prior, pr.SpikeAndSlab)
    slab = prior.slab
    assert isinstance(slab, pr.FiniteSlab)
    wider = pr.SpikeAndSlab(
        prior.n_hidden, prior.inclusion_prob, pr.FiniteSlab(1.2 * slab.values, slab.probs),
        prior.max_active,
    )  # fmt: skip
    noisier = replace(layer, noise_std=1.3 * layer.noise_std)
    models = pr.LayeredModel(prior, [noisier]), pr.LayeredModel(wider, [layer])
    return dict(zip(WRONG, models, strict=True))


def make_case(
    posterior: Posterior, obs: pr.Observations, estimates: np.ndarray, names: list[str]
) -> Case:
    """Posterior, estimates and truth, as metrics take them."""
    coords = {"obs": posterior.obs}
    assert obs.h is not None
    return Case(
        posterior=posterior,
        estimates=xr.DataArray(
            estimates, {"inverse": names, **coords}, ("inverse", "obs", "hidden")
        ),
        truth=xr.DataArray(np.asarray(obs.h), coords, ("obs", "hidden")),
        x=xr.DataArray(np.asarray(obs.x), coords, ("obs", "visible")),
        model=posterior.model,
        seed=0,
        origin=Origin.MODEL,
    )


def measure_coverage(case: Case, covered: tuple[int, ...], num_sets: int) -> xr.Dataset:
    """Share of data sets whose interval holds R of the pool, and R of the pool, by both forms."""
    found = squared_errors(case)
    excess, claimed, own, bayes = (
        found[name].to_numpy()
        for name in ("excess_risk", "claimed_risk", "squared_error", "bayes_squared_error")
    )
    above = np.stack([excess + claimed, own])
    below = np.stack([np.broadcast_to(one, own.shape) for one in (claimed, bayes)])
    truth = above.sum(-1) / below.sum(-1)
    shares = np.empty((*truth.shape, len(covered)))
    for place, number in enumerate(covered):
        hits = np.zeros(truth.shape)
        for index in range(num_sets):
            rng = np.random.default_rng([number, index])
            picked = rng.integers(own.shape[1], size=number)
            top, bottom = (one[..., picked].reshape(-1, number) for one in (above, below))
            for at, ratio in enumerate(estimate_ratios(top, bottom, rng, (INTERVAL_PROB,))):
                low, high = ratio.intervals[0]
                hits.flat[at] += low <= truth.flat[at] <= high
        shares[..., place] = hits / num_sets
    coords = {"form": list(FORMS), "inverse": case.estimates["inverse"], "covered": list(covered)}
    pooled = ("form", "inverse")
    return xr.Dataset(
        {"coverage": ((*pooled, "covered"), shares), "ratio": (pooled, truth)}, coords
    )


def rank_sets(case: Case, number: int, most: int) -> np.ndarray:
    """P-values of the rank test on data sets of so many observations, none in two of them."""
    assert case.truth is not None
    count = min(most, case.estimates.sizes["obs"] // number)
    found = []
    for index in range(count):
        rows = {"obs": slice(index * number, (index + 1) * number)}
        tree = case.posterior.tree.map_over_datasets(
            lambda group, rows=rows: group.isel(rows, missing_dims="ignore")
        )
        tree.attrs = case.posterior.tree.attrs
        one = replace(
            case, posterior=Posterior(tree, case.model), seed=index,
            estimates=case.estimates.isel(rows), truth=case.truth.isel(rows),
        )  # fmt: skip
        found.append(truth_rank(one).rows[0].value)
    return np.array(found)


def plot(out: Path) -> Path:
    """Draws coverage and power, and prints them."""
    data = load(out, "verdict_calibration")
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = [*data["inverse"].to_numpy().astype(str)]
    for form, style in zip(data["form"].to_numpy().astype(str), ("-", "--"), strict=True):
        for index, name in enumerate(names):
            share = data["coverage"].sel(form=form, inverse=name)
            left.plot(
                data["covered"], share, style, color=COLORS[index], marker=MARKERS[index], ms=5,
                label=f"{name}, {form}",
            )  # fmt: skip
            ratio = float(data["ratio"].sel(form=form, inverse=name))
            print(f"{form:10} {name:12} R = {ratio:5.2f}", *(f"{one:.3f}" for one in share.values))
    left.axhline(INTERVAL_PROB, color="0.4", lw=0.9, ls=":")
    left.set(xlabel="observations", ylabel="share of intervals that hold R", ylim=(0.6, 1.0))
    left.set_xscale("log", base=2)
    left.legend(fontsize="x-small", ncols=2)
    for index, name in enumerate(data["wrong"].to_numpy().astype(str)):
        power = data["power"].sel(wrong=name)
        right.plot(data["convicted"], power, marker=MARKERS[index], color=COLORS[index], label=name)
        print(f"convicted, {name}:", *(f"{float(one):.2f}" for one in power))
    right.set(xlabel="observations", ylabel="share convicted at p ≤ .001", ylim=(-0.03, 1.03))
    right.set_xscale("log", base=2)
    right.legend()
    return show(figure, say(data), out / "verdict_calibration.png")


def say(data: xr.Dataset) -> str:
    """The coverage of the planned inverses, of those near Bayes, and the level of the test."""
    names = data["inverse"].to_numpy().astype(str)
    ranges = []
    for group in (PLANNED, NEAR_BAYES):
        share = data["coverage"].sel(inverse=[name for name in names if name in group])
        ranges.append(say_range(share, ".3f"))
    p = data["p_right"].to_numpy()
    return (
        f"{INTERVAL_PROB:.0%} intervals of R hold it in {ranges[0]} of data sets for "
        f"{', '.join(PLANNED)}, and in {ranges[1]} for {', '.join(NEAR_BAYES)}, whose excess is a "
        f"few rare observations. The rank test convicts {int((p <= LEVEL).sum())} of {len(p)} "
        f"right posteriors (smallest p {p.min():.1g})."
    )


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES, model="one_layer")
