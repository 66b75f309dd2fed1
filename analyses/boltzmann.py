"""The net beside Bayes on machines that learned digits: restricted, deep, and the layered ReLU one.

    uv run --extra data python -m analyses.boltzmann compute runs/boltzmann
    uv run --extra data python -m analyses.boltzmann plot runs/boltzmann

`compute` trains a restricted and a deep Boltzmann machine on binarised digits by persistent
contrastive divergence, and measures on held-out digits how much they learned: log p(x), exact,
beside that of independent pixels. Then the risk ratio of every inverse against the posterior, on
the model's own x and on held-out digits, for both machines and for the layered ReLU model `digits`;
and, on the control `dbm`, over the coupling between its hidden layers. `plot` draws all that and
says what was found.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

import probrev as pr
from analyses.datasets import load_images
from analyses.figure import bars, show
from analyses.script import load, run, save
from analyses.table import print_table, to_dataset
from probrev.report.plots.canvas import COLORS, MARKERS, MUTED
from probrev.runs import registry
from probrev.runs.built_model import build_model

# Units of h^1, h^2, ...: few enough of h^1 to enumerate, many of h^2, which are summed out.
WIDTHS = {"RBM": (14,), "DBM": (14, 64)}
LAYERED = "layered ReLU"
NETS = ("calibrated", "as_trained")
OWN, DIGITS = "generated", "digits"
TOP_COUPLINGS = (0.5, 1.0, 2.0, 3.0, 4.0)
NUM_FANTASIES = 8
SIZES = {
    "quick": {"num_steps": 1500, "num_obs": 200, "num_layered": 16},
    "full": {"num_steps": 12_000, "num_obs": 2000, "num_layered": 64},
}


def compute(
    out: Path,
    *,
    num_steps: int,
    num_obs: int,
    num_layered: int,
    widths: Mapping[str, Sequence[int]] = WIDTHS,
    top_couplings: Sequence[float] = TOP_COUPLINGS,
    num_samples: int = 4000,
) -> None:
    """Trains both machines and measures all gaps.

    Args:
        out: folder to write in.
        num_steps: steps of training.
        num_obs: observations of each machine, and at most so many held-out digits.
        num_layered: observations of the layered model, which Gibbs samples.
        widths: units of the hidden layers of each machine.
        top_couplings: settings of the control.
        num_samples: draws of Gibbs, each of four chains.
    """
    train, test = binarised_digits()
    test = test[:num_obs]
    keys = jax.random.split(jax.random.key(0), 4)
    evidence = {"independent": log_prob_independent(train, test)}
    gaps, pictures = [], {DIGITS: test[:NUM_FANTASIES]}
    for index, (name, units) in enumerate(widths.items()):
        key_train, key_obs = jax.random.split(jax.random.fold_in(keys[0], index))
        machine = pr.train_machine(key_train, train, units, num_steps=num_steps)
        held_out = pr.Observations(test)
        learned = pr.exact(machine, held_out, num_draws=400)
        evidence[name] = learned.tree["exact/log_evidence"].to_numpy()
        own = machine.simulate(key_obs, num_obs)
        ladder = pr.build_ladder(keys[1], machine)
        exact = pr.exact(machine, own, num_draws=400)
        gaps += measure_gaps(name, OWN, pr.compare(machine, own, ladder, {"exact": exact}))
        gaps += measure_gaps(
            name, DIGITS, pr.compare(machine, held_out, ladder, {"exact": learned})
        )
        assert own.h is not None
        pictures[name] = np.asarray(machine.visible_mean(own.h[:NUM_FANTASIES]))
        print(f"{name}: log p(x) {evidence[name].mean():.2f}", flush=True)
    for source, observed_from in ((OWN, "generated"), (DIGITS, "activations")):
        result = compare_layered(keys[2], observed_from, num_layered, num_samples)
        gaps += measure_gaps(LAYERED, source, result)
        print(f"{LAYERED}, {source}: done", flush=True)
    controls = [
        row | {"top_coupling": coupling}
        for coupling in top_couplings
        for row in measure_control(keys[3], coupling, num_obs)
    ]
    save(out, "gaps", to_dataset(gaps))
    save(out, "controls", to_dataset(controls))
    learned = xr.Dataset(
        {
            "log_prob": (("law", "image"), np.stack(list(evidence.values()))),
            "pictures": (("source", "picture", "pixel"), np.stack(list(pictures.values()))),
        },
        coords={"law": list(evidence), "source": list(pictures)},
    )
    save(out, "learned", learned.assign_attrs(num_steps=num_steps, widths=str(dict(widths))))


def binarised_digits() -> tuple[np.ndarray, np.ndarray]:
    """Digits to train on and to test: 1 where a pixel is more than half as bright as it can be."""
    images = load_images("digits")
    train, test = ((pixels > 0.5).astype(float) for pixels in (images.train, images.test))
    return train, test


def log_prob_independent(
    train: Float[np.ndarray, "train pixel"], test: Float[np.ndarray, "test pixel"]
) -> Float[np.ndarray, " test"]:
    """Log p(x) of test images under pixels that are each on as often as in training."""
    often = (train.sum(0) + 0.5) / (len(train) + 1)
    return (test * np.log(often) + (1 - test) * np.log1p(-often)).sum(1)


def compare_layered(key: jax.Array, source: str, num_obs: int, num_samples: int) -> pr.Comparison:
    """The comparison of the layered model `digits`, its nets against Gibbs."""
    built = build_model(registry.load("digits"), {"source": source})
    key_obs, key_nets, key_gibbs = jax.random.split(key, 3)
    obs = built.observe(key_obs, num_obs)
    own = built.own_inverses
    nets = built.inverses(key_nets, [*(name for name in NETS if name not in own), *own])
    posterior = pr.gibbs(key_gibbs, built.model, obs, num_samples=num_samples)
    return pr.compare(built.model, obs, nets, {"gibbs": posterior}, checks=built.checks)


def measure_gaps(model: str, source: str, result: pr.Comparison) -> list[dict]:
    """A row per inverse: its risk ratio, with its interval and the posterior's status."""
    (status,) = (posterior.status for posterior in result.posteriors.values())
    return [
        {
            "model": model,
            "source": source,
            "inverse": verdict.inverse,
            "ratio": verdict.ratio,
            "low": verdict.low,
            "high": verdict.high,
            "word": str(verdict.word),
            "status": str(status),
        }
        for verdict in result.verdicts
    ]


def measure_control(key: jax.Array, top_coupling: float, num_obs: int) -> list[dict]:
    """Risk ratio of every inverse of the control, and how far it is from the posterior mean."""
    machine = registry.load("dbm")(top_coupling=top_coupling)
    obs = machine.simulate(key, num_obs)
    exact = pr.exact(machine, obs, num_draws=100)
    result = pr.compare(machine, obs, pr.build_ladder(key, machine), {"exact": exact})
    rows = measure_gaps("dbm", OWN, result)
    table = result.table().query("metric == 'excess_risk'").set_index("subject")
    return [
        row | {"excess_risk": table.loc[row["inverse"], "value"],
               "excess_std_error": table.loc[row["inverse"], "std_error"]}
        for row in rows
    ]  # fmt: skip


def plot(out: Path) -> Path:
    """Draws what was learned, the gaps of all three models, and the control over its coupling."""
    learned, gaps, controls = (load(out, name) for name in ("learned", "gaps", "controls"))
    gaps, controls = gaps.to_dataframe(), controls.to_dataframe()
    figure = Figure(figsize=(13, 6.2), layout="constrained")
    axes = figure.subplot_mosaic(
        [["pictures", "gaps", "gaps", "control"], ["learned", "gaps", "gaps", "control"]],
        width_ratios=(1.3, 1, 1, 1.25),
    )
    draw_pictures(axes["pictures"], learned)
    draw_learned(axes["learned"], learned)
    draw_gaps(axes["gaps"], gaps)
    draw_control(axes["control"], controls)
    print_table(gaps)
    print_table(controls)
    return show(figure, find(learned, gaps, controls), out / "boltzmann.png")


def draw_pictures(axes: Axes, learned: xr.Dataset) -> None:
    """Held-out digits, and what each machine makes: a row each."""
    pictures = learned["pictures"].to_numpy()
    side = int(np.sqrt(pictures.shape[-1]))
    framed = np.pad(
        pictures.reshape(*pictures.shape[:2], side, side), ((0, 0), (0, 0), (1, 1), (1, 1)),
        constant_values=0.5,
    )  # fmt: skip
    axes.imshow(np.vstack([np.hstack(row) for row in framed]), cmap="gray_r", vmin=0, vmax=1)
    middles = (np.arange(len(framed)) + 0.5) * framed.shape[-1]
    axes.set_yticks(middles, learned["source"].to_numpy(), fontsize="small")
    axes.set_xticks([])
    axes.set_title("held-out digits, and E[x | h] of machines' own h", fontsize="small")


def draw_learned(axes: Axes, learned: xr.Dataset) -> None:
    """Mean log p(x) of held-out digits under each law."""
    laws = learned["law"].to_numpy()
    log_prob = learned["log_prob"]
    error = log_prob.std("image", ddof=1) / np.sqrt(log_prob.sizes["image"])
    axes.barh(laws, -log_prob.mean("image"), xerr=error, color=[MUTED, *COLORS[: len(laws) - 1]])
    axes.invert_yaxis()
    axes.set(xlabel="−log p(x) of held-out digits, nats an image: less is better")


def draw_gaps(axes: Axes, gaps: pd.DataFrame) -> None:
    """Risk ratios of every inverse of every model, on its own x (full) and on digits (hollow)."""
    labels = list(dict.fromkeys(zip(gaps["model"], gaps["inverse"], strict=True)))
    models = list(dict.fromkeys(gaps["model"]))
    rows = {(row["model"], row["source"], row["inverse"]): row for row in gaps.to_dict("records")}
    for source, shift, hollow in ((OWN, -0.12, False), (DIGITS, 0.12, True)):
        for place, (model, inverse) in enumerate(labels):
            one = rows[model, source, inverse]
            color = COLORS[models.index(model)]
            axes.errorbar(
                one["ratio"], place + shift,
                xerr=bars([one["ratio"]], [one["low"]], [one["high"]]),
                fmt=MARKERS[models.index(model)], color=color, ms=5, capsize=2,
                mfc="white" if hollow else color,
            )  # fmt: skip
        axes.plot([], [], "ok", mfc="white" if hollow else "k", label=f"x: {source}")
    axes.axvline(1, color="#555555", lw=0.8)
    axes.set_yticks(
        range(len(labels)), [f"{model}: {inverse}" for model, inverse in labels], fontsize="small"
    )
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="risk / Bayes risk", title="three models of digits")
    show_ratios(axes.xaxis)
    axes.legend(frameon=False, fontsize="small", loc="lower right")


def draw_control(axes: Axes, controls: pd.DataFrame) -> None:
    """Risk ratios of the control over the coupling between its hidden layers."""
    for index, (inverse, rows) in enumerate(controls.groupby("inverse", sort=False)):
        axes.errorbar(
            rows["top_coupling"], rows["ratio"],
            bars(rows["ratio"], rows["low"], rows["high"]),
            marker=MARKERS[index], color=COLORS[index], ms=5, capsize=2, label=inverse,
        )  # fmt: skip
    axes.axhline(1, color="#555555", lw=0.8)
    axes.set(
        xlabel="top_coupling: field of h¹ on a unit of h²", ylabel="risk / Bayes risk",
        yscale="log", title="control dbm, own x",
    )  # fmt: skip
    show_ratios(axes.yaxis)
    axes.legend(frameon=False, fontsize="small")


def show_ratios(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis of ratios."""
    axis.set_major_locator(FixedLocator([1, 1.5, 2, 3, 5, 10, 20, 50]))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def find(learned: xr.Dataset, gaps: pd.DataFrame, controls: pd.DataFrame) -> str:
    """What was found, in words."""
    mean = learned["log_prob"].mean("image")
    laws = [str(law) for law in learned["law"].to_numpy()]
    nats = ", ".join(f"{law} {mean.sel(law=law).item():.1f}" for law in laws[1:])
    own = gaps.query("source == @OWN")
    said = []
    for model, rows in own.groupby("model", sort=False):
        each = ", ".join(
            f"{row['inverse']} {row['ratio']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
            for row in rows.to_dict("records")
        )
        doubt = "" if set(rows["status"]) == {"ok"} else " (posterior not to be trusted)"
        said.append(f"{model}: {each}{doubt}")
    field = controls.query("inverse == 'mean_field'").sort_values("top_coupling")
    first, *_, last = field.to_dict("records")
    grows = bool((np.diff(field["excess_risk"]) > 0).all())
    return (
        f"Held-out digits have a mean log p(x) of {nats} nats where independent pixels have "
        f"{mean.sel(law=laws[0]).item():.1f}. Risk over Bayes risk on own x: {'; '.join(said)}. "
        f"Of the control, mean field's squared distance to the posterior mean "
        f"{'grows' if grows else 'does not grow'} throughout, from {first['excess_risk']:.4f} ± "
        f"{first['excess_std_error']:.4f} at top_coupling {first['top_coupling']:g} to "
        f"{last['excess_risk']:.2f} ± {last['excess_std_error']:.2f} at {last['top_coupling']:g}."
    )


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
