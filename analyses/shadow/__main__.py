"""Does training on what the net draws itself (SHADOW) lower its error? Labels few and many.

    uv run --extra data python -m analyses.shadow compute runs/shadow-training --size full
    uv run python -m analyses.shadow plot runs/shadow-training

Arms: a ReLU net with dropout; the same with SHADOW end to end and per layer, each with the best of
three weights on validation images, chosen once for a data set among the training images; and the
plain net with three times the steps, since a step with SHADOW has up to three times the products.
Every arm has the same seeds, each with labels, start, batches and dropout of its own, and but for
the last the same number of gradient steps.

`compute` writes a file for each case and arm as soon as it is done, and one for each choice of a
weight. Killed and run again it goes on, within a run too, and ends with the same numbers (but the
seconds, which are at the rate since the last start). `plot` draws paired differences in test error
and learning curves, and prints a table.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

import probrev as pr
from analyses.datasets import Images, load_images
from analyses.figure import show
from analyses.script import find_saved, load, run, save
from analyses.shadow.cases import (
    BASELINE,
    LONG,
    MODES,
    SIZES,
    TIMES_LONGER,
    WEIGHTS,
    Case,
    Sample,
    draw_choice,
    draw_sample,
)
from analyses.shadow.effects import list_effects, say_effects
from analyses.shadow.figure import draw_cases
from analyses.stopwatch import stopwatch
from analyses.table import print_table

NAME = "shadow_training"
PRINTED = [
    "case", "arm", "weight", "seeds", "steps", "error", "change", "change_low", "change_high",
    "calibration_error", "calibration_change_low", "calibration_change_high", "seconds",
]  # fmt: skip
# Images that the statistics of reversal are measured on.
NUM_REVERSED = 500


def compute(out: Path, *, cases: tuple[Case, ...], weights: tuple[float, ...] = WEIGHTS) -> None:
    """Trains every arm of every case, and writes each as soon as it is done.

    Args:
        out: folder to write in; what it holds already is not done again.
        cases: what to train on; the weight is chosen at a data set's first case.
        weights: of the drawn inputs, to choose from.
    """
    chosen: dict[str, dict[str, float]] = {}
    for number, case in enumerate(cases, 1):
        images = load_images(case.images)
        begun = time.monotonic()
        if case.images not in chosen:
            chosen[case.images] = choose_weights(out, case, images, weights)
        for arm in case.arms:
            train_arm(out, case, arm, images, chosen[case.images].get(arm))
        print(f"{case.name}: case {number} of {len(cases)}, {time.monotonic() - begun:.0f} s")
        save(out, NAME, xr.Dataset(attrs={"cases": [one.name for one in cases[:number]]}))


def train_arm(
    out: Path, case: Case, arm: str, images: Images, weight: float | None = None
) -> xr.Dataset:
    """One arm of one case: what its file holds, or trains it and writes that.

    Variables: `wrong`, (seed, image), of the test images at the end; the curve, (check, seed), with
    `num_steps`; `energy_ratio` and `cosine`, (seed,), of `measure_reversal`. Attributes: seconds
    without compilation, weight, plan.

    Raises:
        OtherRunError: the folder holds this arm with another recipe, weight or number of seeds.
    """
    shadow, recipe = MODES.get(arm), case.recipe
    if shadow is not None:
        shadow = replace(shadow, weight=weight)
    if arm == LONG:
        recipe = recipe.lengthen(TIMES_LONGER)
    name = file_name(case.name, arm)
    plan = f"{recipe} {shadow} {case.num_seeds} seeds"
    if (saved := find_saved(out, name, plan)) is not None:
        return saved
    sample = draw_sample(case, images)
    test = images.test, images.test_labels
    trained, seconds = _train(out, name, images, sample, test, recipe, shadow)
    wrong = _map_nets(lambda net: net(test[0]) != test[1], trained.net)
    reversal = measure_reversal(trained.net, test[0][:NUM_REVERSED])
    data = _list_curve(trained).assign(
        {"wrong": (("seed", "image"), wrong)}
        | {key: ("seed", one) for key, one in reversal.items()}
    )
    attrs = {"plan": plan, "seconds": seconds, "weight": np.nan if weight is None else weight}
    _keep(out, name, data.assign_attrs(attrs))
    print(f"{name}: test error {float(data['error'][-1].mean()):.4f}, {seconds:.0f} s", flush=True)
    return data


def choose_weights(
    out: Path, case: Case, images: Images, weights: tuple[float, ...]
) -> dict[str, float]:
    """For each mode, the weight with the least mean error on validation images.

    They are training images: the test images have no part in it.
    """
    sample, rows = draw_choice(case, images)
    held_out = images.train[rows], images.train_labels[rows]
    chosen = {}
    for mode, shadow in MODES.items():
        name, plan = f"{file_name(case.name, mode)}-choice", f"{case.recipe} {shadow} {weights}"
        data = find_saved(out, name, plan)
        if data is None:
            curves = []
            for weight in weights:
                one, step = replace(shadow, weight=weight), f"{name}-{weight:g}"
                trained, _ = _train(out, step, images, sample, held_out, case.recipe, one)
                curves.append(_list_curve(trained))
            axis = xr.DataArray(list(weights), dims="weight", name="weight")
            data = xr.concat(curves, axis, coords="minimal", compat="override")
            _keep(out, name, data.assign_attrs(plan=plan))
        error = data["error"].isel(check=-1).mean("seed").to_numpy()
        chosen[mode] = float(weights[int(error.argmin())])
        print(f"{name}: validation errors {error.round(4)} at weights {weights}", flush=True)
    return chosen


def measure_reversal(net: pr.Classifier, x: np.ndarray) -> dict[str, np.ndarray]:
    """How an input that is drawn end to end differs from the real one, for every seed's net.

    `energy_ratio`: ||x~||^2 / ||x||^2, summed over x, at theory's gain, which "energy" makes 1.
    `cosine`: between the top hidden layer of x and of x~ at energy's gain, mean over x.
    """

    def measure(net: pr.Classifier) -> tuple[jax.Array, jax.Array]:
        key, h = jax.random.key(0), net.hidden(x)[-1]
        ((_, at_theory),) = pr.draw_shadow(key, net, x, pr.Shadow(gain="readout"))
        ((_, at_energy),) = pr.draw_shadow(key, net, x, pr.Shadow())
        again = net.hidden(at_energy)[-1]
        norms = jax.numpy.linalg.norm(h, axis=1) * jax.numpy.linalg.norm(again, axis=1)
        ratio = (at_theory**2).sum() / (x**2).sum()
        return ratio, ((h * again).sum(1) / jax.numpy.maximum(norms, 1e-12)).mean()

    ratio, cosine = _map_nets(measure, net)
    return {"energy_ratio": ratio, "cosine": cosine}


def plot(out: Path) -> Path:
    """Draws differences and learning curves, and prints a table and the finding."""
    names = sorted(np.atleast_1d(load(out, NAME).attrs["cases"]), key=_order)
    cases = {name: _load_case(out, name) for name in names}
    effects = list_effects(cases)
    print_table(effects.filter(PRINTED), ".4f")
    return show(draw_cases(cases, effects), say_effects(effects), out / f"{NAME}.png")


def file_name(case: str, arm: str) -> str:
    """Of an arm's file, without the ending."""
    word = "long" if arm == LONG else arm.removeprefix("SHADOW, ").replace(" ", "_")
    return f"{case}-{word}"


def _order(case: str) -> tuple[str, float]:
    """By data set, then by the number of labels."""
    images, size = case.split("-")
    return images, np.inf if size == "whole" else int(size)


def _load_case(out: Path, name: str) -> dict[str, xr.Dataset]:
    """Every arm of a case that there is."""
    return {
        arm: load(out, file_name(name, arm))
        for arm in (BASELINE, *MODES, LONG)
        if (out / f"{file_name(name, arm)}.nc").exists()
    }


def _train(
    out: Path,
    name: str,
    images: Images,
    sample: Sample,
    held_out: tuple[np.ndarray, np.ndarray],
    recipe: pr.Recipe,
    shadow: pr.Shadow | None,
) -> tuple[pr.Training, float]:
    """Trains, and the seconds that it took without compilation: NaN if it was done already."""
    told, times = stopwatch(name), []

    def progress(done: int, total: int) -> None:
        times.append((done, time.monotonic()))
        told(done, total)

    trained = pr.train_classifier(
        sample.keys, images.train, images.train_labels, recipe, shadow=shadow,
        subsets=sample.subsets, held_out=held_out, checkpoint=out / f".{name}.npz",
        progress=progress,
    )  # fmt: skip
    if not trained.finite.all():
        print(f"{name}: {int((~trained.finite).sum())} seeds have diverged; they stay in")
    if len(times) < 2:
        return trained, float("nan")
    # The first check waits for the compiler.
    (first, begun), (last, ended) = times[0], times[-1]
    return trained, (ended - begun) * last / (last - first)


def _keep(out: Path, name: str, data: xr.Dataset) -> None:
    """Writes what was trained, and only then deletes its checkpoints."""
    save(out, name, data)
    for checkpoint in out.glob(f".{name}*.npz"):
        checkpoint.unlink()


def _map_nets(measure, net: pr.Classifier) -> Any:
    """Measures the net of every seed, one after the other."""
    return jax.tree.map(np.asarray, jax.lax.map(measure, net))


def _list_curve(trained: pr.Training) -> xr.Dataset:
    curve = trained.curve._asdict()
    steps = curve.pop("num_steps")
    measured = {name: (("check", "seed"), values) for name, values in curve.items()}
    return xr.Dataset(
        measured | {"finite": ("seed", trained.finite)}, {"num_steps": ("check", steps)}
    )


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
