"""Does the generative model fit layers of real nets, and is the net near Bayes where it does?

    uv run --extra data python -m analyses.fitted_nets compute runs/fitted --size full
    uv run --extra data python -m analyses.fitted_nets plot runs/fitted

`compute` fits every hidden layer of each net (`pr.fit_net`, on activations of inputs that
`analyses.reversal.real_nets` makes), and where its gates hold judges the net as trained on x made
from held-out h, under the likelier prior. Units that never fire on the inputs of the fit are left
out, and so are rows. Untrained nets are controls; Gaussian weights and shuffled h are controls of
every layer. A layer that is done is a file, and is not done again. `plot` prints the table and what
it says.
"""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import probrev as pr
from analyses.figure import show
from analyses.fitted_nets.figure import draw
from analyses.fitted_nets.finding import say
from analyses.reversal.real_nets import LOADERS, load_net
from analyses.script import run
from analyses.table import Row, print_table
from analyses.train_nets import RECIPES, SEEDS
from models.digits import train_layer
from probrev.plumbing.replacing import replacing

SKLEARN, UNTRAINED = "digits-sklearn", "untrained"
OWN = tuple(f"{name}-{seed}" for name in RECIPES for seed in SEEDS)
CONTROLS = tuple(f"{UNTRAINED}-{name}-{seed}" for name in ("digits", "mnist") for seed in SEEDS)
OTHERS = tuple(name for name in LOADERS if name not in OWN)
SIZES = {
    "quick": {"names": ("digits-0",), "num_obs": 32},
    "full": {"names": (SKLEARN, *OWN, *CONTROLS, *OTHERS), "num_obs": 32},
}
# Trajectories of wider layers take hours: they are fitted, and not judged.
WIDEST = 512


def compute(out: Path, *, names: tuple[str, ...], num_obs: int, num_inputs: int = 1000) -> None:
    """Fits and judges.

    Args:
        out: folder to write in.
        names: of nets; see `load_net`, and "digits-sklearn" and "untrained-NAME".
        num_obs: observations of each verdict.
        num_inputs: inputs to fit to, and as many held out, where there are so many.
    """
    for name in names:
        weights, biases, x, held_out = load(name, num_inputs)
        for level in range(len(weights)):
            path = out / f"{name}-layer{level + 1}.json"
            layer = weights[level], biases[level]
            if not path.exists():
                start = time.perf_counter()
                row = {"net": name, "layer": level + 1, **study(*layer, x, held_out, num_obs)}
                row["seconds"] = time.perf_counter() - start
                with replacing(path) as partial:
                    partial.write_text(json.dumps(row))
                print(f"{name}, layer {level + 1}: {row['verdict']}", flush=True)
            x, held_out = (np.maximum(one @ layer[0] + layer[1], 0) for one in (x, held_out))


def load(name: str, num_inputs: int) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """Weights and biases of the hidden layers, and both sets of inputs."""
    if name == SKLEARN:
        trained = train_layer(0)
        return (trained.weights,), (trained.bias,), trained.x_train, trained.x_held_out
    net = load_net(name.removeprefix(f"{UNTRAINED}-"), num_inputs)
    weights, biases = net.weights, net.biases
    if name.startswith(UNTRAINED):
        rng = np.random.default_rng(int(name[-1]))
        weights = [rng.normal(size=w.shape) * np.sqrt(2 / len(w)) for w in weights]
        biases = [np.zeros_like(bias) for bias in biases]
    return weights, biases, net.x_fit, net.x


def study(
    weights: np.ndarray, bias: np.ndarray, x: np.ndarray, held_out: np.ndarray, num_obs: int
) -> Row:
    """One row of the table: a layer fitted, and judged where its gates hold."""
    rows, units = (x != 0).any(0), (x @ weights + bias > 0).any(0)
    net = pr.FeedforwardNet.from_weights([weights[np.ix_(rows, units)]], [bias[units]])
    level = pr.fit_net(net, x[:, rows], held_out[:, rows]).levels[0]
    fit, told = level.fit, {check.name: check.value for check in level.checks}
    layer = fit.layer
    row = {
        "n_visible": layer.n_visible, "n_hidden": layer.n_hidden, "pairs": fit.num_pairs,
        **{name: fit.per_row(name) for name in fit.log_likelihood},
        "keep_prob": float(layer.keep_prob), "relative_noise": fit.relative_noise,
        "zeros_predicted": fit.zeros[0], "zeros": fit.zeros[1],
        "residual_std": fit.residuals.std, "effective_rows": fit.residuals.effective_rows,
        "tied_share": fit.tied_share, "prior": level.chosen,
        "correlated_above_independent": told["above independent"],
        "failed": [check.name for check in level.checks if not check.holds],
        "kappa": np.nan, "claimed_over_actual": np.nan, "claimed_low": np.nan,
        "claimed_high": np.nan, "ratio": np.nan, "low": np.nan, "high": np.nan,
    }  # fmt: skip
    if row["failed"]:
        return row | {"verdict": f"misfit: {', '.join(row['failed'])}"}
    if layer.n_hidden > WIDEST:
        return row | {"verdict": "not judged: too wide"}
    key_obs, key, key_real = jax.random.split(jax.random.key(0), 3)
    obs = level.observe(key_obs, num_obs)
    found = pr.compare_until(
        key, level.model, level.inverses, {"gibbs": partial(pr.gibbs, num_samples=1000)},
        looks=(num_obs,), observe=lambda key, num_obs: obs, checks=level.checks,
    )  # fmt: skip
    (posterior,) = found.posteriors.values()
    table = found.table().set_index(["metric", "subject"])
    claim, ratio = (
        table.loc[one]
        for one in (("claimed_over_actual", "posterior"), ("risk_ratio", "as_trained"))
    )
    real = np.random.default_rng(0).permutation(len(level.held_out.x))[:num_obs]
    x_real, h_real = level.held_out.x[real], level.held_out.h[real]
    of_real = pr.gibbs(key_real, level.model, pr.Observations(jnp.asarray(x_real)), num_samples=500)
    gap = np.square(of_real.mean.to_numpy() - h_real).sum()
    return row | {
        "kappa": float(gap / of_real.var.to_numpy().sum()),
        "claimed_over_actual": float(claim["value"]), "claimed_low": float(claim["low"]),
        "claimed_high": float(claim["high"]), "ratio": float(ratio["value"]),
        "low": float(ratio["low"]), "high": float(ratio["high"]), "status": str(posterior.status),
        "verdict": str(found.verdicts[0].word), "reason": found.verdicts[0].reason,
    }  # fmt: skip


def read(out: Path) -> list[Row]:
    """The rows that are there, in the order of `SIZES`."""
    order = {name: number for number, name in enumerate(SIZES["full"]["names"])}
    rows: list[Row] = [json.loads(path.read_text()) for path in out.glob("*-layer*.json")]
    if not rows:
        raise FileNotFoundError(f"no layer in {out}: run `compute` first")
    return sorted(rows, key=lambda row: (order.get(row["net"], len(order)), row["layer"]))


def plot(out: Path) -> Path:
    """Prints the table and the finding, and draws net / Bayes and the likelihoods."""
    rows = read(out)
    print_table([{title: row[name] for name, title in COLUMNS.items()} for row in rows])
    return show(draw(rows), say(rows), out / "fitted_nets.png")


COLUMNS = {
    "net": "net", "layer": "layer", "model": "model", "null": "null", "gaussian": "Gaussian",
    "shuffled": "shuffled", "keep_prob": "rho", "relative_noise": "noise", "zeros": "zeros",
    "effective_rows": "eff. rows", "tied_share": "tied", "kappa": "kappa",
    "claimed_over_actual": "claimed", "ratio": "net/Bayes", "low": "low", "high": "high",
    "verdict": "verdict",
}  # fmt: skip

if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
