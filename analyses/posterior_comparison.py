"""Journey 1 as a script: how close is the net to Bayes, under the default model and a variation.

    uv run python -m analyses.posterior_comparison compute runs/posterior-comparison
    uv run python -m analyses.posterior_comparison plot runs/posterior-comparison

`compute` writes one run per value of keep_prob; `plot` reads them and draws the risk ratio of every
inverse over keep_prob, with its interval.
"""

import json
import shlex
import sys
from pathlib import Path

import jax
from matplotlib.figure import Figure

import probrev as pr
from analyses.figure import bars
from analyses.script import expect, run
from probrev.runs import registry

SIZES = {"default": {"num_obs": 32, "keep_probs": (0.25, 0.5, 1.0)}}


def compute(out: Path, *, num_obs: int, keep_probs: tuple[float, ...], **parameters) -> None:
    """Runs a comparison per keep_prob and saves each.

    Args:
        out: folder to write in; values that are there already are not computed again.
        num_obs: observations per comparison.
        keep_probs: values of keep_prob.
        **parameters: further parameters of the model `one_layer`.
    """
    out.mkdir(parents=True, exist_ok=True)
    build = registry.load("one_layer")
    plan = {"num_obs": num_obs, **registry.arguments(build, parameters)}
    del plan["keep_prob"]  # which the name of a file says
    for path in out.glob("keep_prob-*.nc"):
        attrs = pr.load(path).tree.attrs
        expect(path, {name: json.loads(attrs.get(name, "null")) for name in plan}, plan)
    for keep_prob in keep_probs:
        path = out / f"keep_prob-{keep_prob:g}.nc"
        if path.exists():
            continue
        model = build(keep_prob=keep_prob, **parameters)
        key_obs, key_nets, key_gibbs = jax.random.split(jax.random.key(0), 3)
        obs = model.simulate(key_obs, num_obs)
        result = pr.compare(
            model,
            obs,
            inverses=pr.build_ladder(key_nets, model),
            posteriors={"exact": pr.exact(model, obs), "gibbs": pr.gibbs(key_gibbs, model, obs)},
            provenance={"keep_prob": keep_prob, **plan, "command": shlex.join(sys.argv)},
        )
        result.save(path)
        print(f"keep_prob = {keep_prob:g}: {result.verdicts[0].sentence}")


def plot(out: Path) -> Path:
    """Draws the risk ratio of every inverse over keep_prob, from the saved runs."""
    runs = sorted(out.glob("keep_prob-*.nc"), key=keep_prob_of)
    if not runs:
        raise FileNotFoundError(f"no runs in {out}: run `compute` first")
    rows = {keep_prob_of(path): pr.load(path).verdicts for path in runs}
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(v.inverse for verdicts in rows.values() for v in verdicts):
        found = {
            at: v
            for at, verdicts in rows.items()
            for v in verdicts
            if (v.inverse, v.posterior) == (name, "exact")
        }
        ratio, low, high = zip(*((v.ratio, v.low, v.high) for v in found.values()), strict=True)
        axes.errorbar(list(found), ratio, bars(ratio, low, high), marker="o", capsize=3, label=name)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set(xlabel="keep_prob", ylabel="risk / Bayes risk", yscale="log")
    axes.legend(frameon=False)
    path = out / "risk_ratio.png"
    figure.savefig(path, dpi=150)
    return path


def keep_prob_of(path: Path) -> float:
    """The keep_prob that a run's name says."""
    return float(path.stem.removeprefix("keep_prob-"))


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES, model="one_layer", without=("keep_prob", "weights"))
