"""Does a trained net reverse its own generative direction? Real activations down and up again.

    uv run --extra data python -m analyses.reversal compute runs/reversal --size full
    uv run --extra data python -m analyses.reversal plot runs/reversal

`compute` sends the real h of each layer, h = r(W^T x + b), down to x~ = alpha r(W h), alpha by
least squares to the real x, and up again, with half of x~ dropped and without, for our own nets and
others (`real_nets`), beside two controls with their own h: Gaussian weights, and the same singular
values with random singular vectors. It profiles the activations as theory's D_h. `plot` draws it
all and, for nets of images, what they generate. `analyses.fitted_nets` fits the same layers.
"""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import probrev as pr
from analyses.figure import show
from analyses.reversal.figure import draw, say
from analyses.reversal.images import draw_images, generate_images
from analyses.reversal.layer_table import tabulate_layers
from analyses.reversal.real_nets import LOADERS as NETS
from analyses.reversal.real_nets import RealNet, load_net
from analyses.script import load, run, save
from analyses.table import Row, print_table, to_dataset, to_rows
from analyses.train_nets import OWN_NETS

KEEP_PROBS = (0.5, 1.0)
# The table of a net that is written last.
LAST = "profile"
# What draws other weights in place of a layer's.
CONTROLS: dict[str, Callable] = {
    "gaussian": lambda key, W: pr.gaussian_control(key, W - W.mean()),
    "spectral": pr.spectral_control,
}
SIZES = {
    "quick": {"num_inputs": 500, "nets": ("digits-keep.5-0", "digit-recognizer")},
    "full": {"num_inputs": 1000, "nets": tuple(NETS)},
}


def compute(
    out: Path,
    *,
    num_inputs: int,
    nets: tuple[str, ...],
    own_nets: Path = OWN_NETS,
) -> None:
    """Measures reversal, profiles and images of every net, and writes them.

    Killed and started again it goes on with the net that it was at.

    Args:
        out: folder to write in.
        num_inputs: of each net, to fit to, and as many others: see `load_net`.
        nets: their names.
        own_nets: folder of our own nets.
    """
    for name in nets:
        asked = json.dumps({"num_inputs": num_inputs, "own_nets": str(own_nets)})
        if is_done(out, name, asked):
            print(f"{name}: done before")
            continue
        print(f"{name}: {asked}", flush=True)
        net = load_net(name, num_inputs, own_nets)
        tables = {"reversal": measure_net(net)}
        if net.image_shape is not None:
            save(out, f"images-{name}", generate_images(net, KEEP_PROBS[0]))
        tables[LAST] = profile_net(net)
        for table, rows in tables.items():
            data = to_dataset(rows.assign(net=name).to_dict("records"))
            save(out, f"{table}-{name}", data.assign_attrs(asked=asked))


def is_done(out: Path, name: str, asked: str) -> bool:
    """Whether a net was measured before, as it is asked for now; if otherwise, it is done again."""
    path = out / f"{LAST}-{name}.nc"
    return path.exists() and load(out, path.stem).attrs["asked"] == asked


def measure_net(net: RealNet) -> pd.DataFrame:
    """Reversal through each layer of a net and of its controls, with and without dropout.

    x is the layer's real input, of all inputs of the net. A control has weights of its own in place
    of the layer's, no bias, and its own h = r(W^T x). `weights` is "trained" or the control's name.
    """
    x = np.concatenate([net.x_fit, net.x])
    below = map(np.asarray, net.stack(1.0).activations(x)[:-1])
    tables = []
    for layer, (x, W, b) in enumerate(zip(below, net.weights, net.biases, strict=True), start=1):
        key = jax.random.fold_in(jax.random.key(0), layer)
        drawn = {name: (control(key, W), 0 * b) for name, control in CONTROLS.items()}
        for name, (weights, bias) in ({"trained": (W, b)} | drawn).items():
            for keep_prob in KEEP_PROBS:
                one = pr.FeedforwardNet.from_weights([weights], [bias], layer_keep_prob=keep_prob)
                found = pr.measure_reversal(key, one, one.activations(x))
                about = {"layer": layer, "weights": name, "keep_prob": keep_prob}
                tables.append(found.drop(columns=["top", "depth"]).assign(**about))
    return pd.concat(tables, ignore_index=True)


def profile_net(net: RealNet) -> pd.DataFrame:
    """Sparsity and flatness of every hidden layer, and how well the net does."""
    rows = []
    for level, h in enumerate(net.stack(1.0).activations(net.x)[1:], start=1):
        profile = pr.profile_activations(h)
        rows.append(
            {
                "level": level,
                "width": profile.live.size,
                "live_share": profile.live.mean(),
                "active_share": profile.active_share,
                "live_active_share": profile.live_active_share,
                "peak": np.nanmean(profile.peak),
                "constant": np.nanmedian(profile.constant),
                "constant_high": np.nanquantile(profile.constant, 0.95),
                "accuracy": net.accuracy,
                "num_inputs": len(net.x),
            }
        )
    return pd.DataFrame(rows)


def plot(out: Path) -> Path:
    """Draws what `compute` wrote, prints the tables and the finding."""
    tables = {name: gather(out, name) for name in ("reversal", LAST)}
    if not tables[LAST]:
        raise FileNotFoundError(f"no {LAST}-*.nc in {out}: run `compute` first")
    for name, rows in tables.items():
        print_table(tabulate_layers(rows) if name == "reversal" else rows)
    for path in sorted(out.glob("images-*.nc")):
        name = path.stem.removeprefix("images-")
        figure = draw_images(name, load(out, path.stem))
        figure.savefig(out / f"{path.stem}.png", dpi=150)
    figure = Figure(figsize=(15, 10), layout="constrained")
    draw(figure, tables)
    return show(figure, say(tables), out / "reversal.png")


def gather(out: Path, table: str) -> list[Row]:
    """The rows of a table, of all nets, in the order of `NETS`."""
    paths = [out / f"{table}-{name}.nc" for name in NETS]
    return [row for path in paths if path.exists() for row in to_rows(load(out, path.stem))]


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
