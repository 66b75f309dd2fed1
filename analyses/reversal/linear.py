"""Reversal without r on the way down, x~ = W h: nets that others made beside Gaussian weights.

    uv run python -m analyses.reversal.linear compute runs/linear-reversal --size full
    uv run python -m analyses.reversal.linear plot runs/linear-reversal

h = r(W^T x + b) of every layer goes down and up again, h^ = r(W^T W h + b): the way down of the
theory's baby theorem, with nothing dropped and nothing to set. tiara's nets (first stage) read
their own DNA. inaSpeechSegmenter ships no audio, so the dense layers above its convolutions get
half-normal x of which a tenth is not 0. Gaussian weights of the same shape and standard deviation,
without bias, stand beside each layer, on the same x. `reversal` is reversal as the generative
model has it, with r and dropout.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure

import probrev as pr
from analyses.figure import show
from analyses.reversal.dna import read_fragments, weigh_kmers
from analyses.reversal.real_nets import RealNet, read_tiara, split_readout
from analyses.script import load, run, save
from analyses.table import print_table, to_dataset
from analyses.third_party import find
from probrev.nets.similarity import measure_similarity
from probrev.report.plots.canvas import COLORS, MARKERS

NAME = "linear_reversal"
TRAINED, GAUSSIAN = "trained", "gaussian"
INA_NAMES = ("speech_music_noise", "speech_music", "male_female")
INA_ACTIVE_SHARE = 0.1


def load_ina(name: str, num_inputs: int) -> RealNet:
    """The dense layers of one of inaSpeechSegmenter's nets, with batch normalisation."""
    layers = pr.read_layers(find("inaSpeechSegmenter", f"keras_{name}_cnn.hdf5"))
    dense = [layer for layer in layers if layer.kernel_size == 1]
    rng = np.random.default_rng(0)
    shape = num_inputs, dense[0].n_visible
    x = np.abs(rng.normal(size=shape)) * (rng.random(shape) < INA_ACTIVE_SHARE)
    hidden, readout = split_readout(dense)
    return RealNet(name, *hidden, readout, x[:0], x, np.empty(0, int))


def load_tiara(k: int, num_fragments: int) -> RealNet:
    """A net of tiara's first stage, on the first fragments of each of its files of DNA."""
    hidden, readout = read_tiara(k)
    fragments, labels = read_fragments(num_fragments)
    x = weigh_kmers(fragments, k)
    return RealNet(f"tiara-{k}", *hidden, readout, x[:0], x, labels)


def list_loaders(num_inputs: int, num_fragments: int) -> dict[str, Callable[[], RealNet]]:
    """What loads each net, by its name."""
    ina = {
        f"ina {name.replace('_', '-')}": partial(load_ina, name, num_inputs) for name in INA_NAMES
    }
    return ina | {f"tiara-{k}": partial(load_tiara, k, num_fragments) for k in (4, 5, 6)}


# Fragments a file, where there are so many: with 416 to 421 accuracies, units that never fire and
# cosines of tiara's nets are, to the digit, those that were measured before us.
SIZES = {
    "quick": {"num_inputs": 200, "num_fragments": 40},
    "full": {"num_inputs": 2000, "num_fragments": 420},
}


def compute(out: Path, *, num_inputs: int, num_fragments: int) -> None:
    """Measures every layer of every net and writes what was found.

    Args:
        out: folder to write in.
        num_inputs: made for each of inaSpeechSegmenter's nets.
        num_fragments: of DNA from each file, at most, for tiara's.
    """
    rows = []
    for index, (name, load_one) in enumerate(list_loaders(num_inputs, num_fragments).items()):
        net = load_one()
        found = measure(jax.random.fold_in(jax.random.key(0), index), net)
        known = {"net": name, "accuracy": net.accuracy, "num_inputs": len(net.x)}
        rows += [row | known for row in found.to_dict("records")]
        print(f"{name}: {len(net.weights)} layers", flush=True)
    save(out, NAME, to_dataset(rows))


def measure(key: PRNGKeyArray, net: RealNet) -> pd.DataFrame:
    """Cosine of h and h^ over the units that ever fire, of every layer and of Gaussian weights.

    Args:
        key: random key of the Gaussian weights.
        net: with its inputs.

    Returns:
        A row for each layer (`top`) and kind of `weights`: `cosine`, `cosine_std_error`, and
        `live_share`, the share of units that ever fire.
    """
    below = map(np.asarray, net.stack(1.0).activations(net.x)[:-1])
    rows = []
    for top, (x, W, b) in enumerate(zip(below, net.weights, net.biases, strict=True), start=1):
        random = pr.gaussian_control(jax.random.fold_in(key, top), W - W.mean())
        for kind, matrix, bias in ((TRAINED, W, b), (GAUSSIAN, random, np.zeros(len(b)))):
            h = np.maximum(x @ matrix + bias, 0)
            back = np.maximum(h @ matrix.T @ matrix + bias, 0)
            live = (h > 0).any(0)
            found = measure_similarity(back[:, live], h[:, live]).summary
            row = {name: found[name] for name in ("cosine", "cosine_std_error")}
            rows.append({"top": top, "weights": kind, "live_share": live.mean()} | row)
    return pd.DataFrame(rows)


def plot(out: Path) -> Path:
    """Draws the cosine of every layer, prints the table and the finding."""
    table = load(out, NAME).to_dataframe()
    print_table(table, ".4f")
    nets = list(dict.fromkeys(table["net"]))
    figure = Figure(figsize=(2.2 * len(nets), 3.6), layout="constrained")
    for axes, name in zip(
        figure.subplots(1, len(nets), sharey=True, squeeze=False)[0], nets, strict=True
    ):
        for kind, color, marker in zip((TRAINED, GAUSSIAN), COLORS, MARKERS, strict=False):
            rows = table.query("net == @name and weights == @kind")
            axes.plot(rows["top"], rows["cosine"], color=color, marker=marker, ms=5, label=kind)
        axes.set_title(name, fontsize="small")
        axes.set(xlabel="layer", xticks=sorted({*table.query("net == @name")["top"]}), ylim=(0, 1))
    figure.axes[0].set_ylabel("cosine of h and ĥ")
    figure.axes[0].legend(frameon=False, fontsize="x-small", loc="lower left")
    return show(figure, find_words(table), out / f"{NAME}.png")


def find_words(table: pd.DataFrame) -> str:
    """What was found, in words: each layer of each net, trained weights and Gaussian ones."""
    said = []
    for name in dict.fromkeys(table["net"]):
        own = table.query("net == @name")
        trained, gaussian = (
            ", ".join(f"{cosine:.2f}" for cosine in own.query("weights == @kind")["cosine"])
            for kind in (TRAINED, GAUSSIAN)
        )
        words = f"{name} {trained} (Gaussian {gaussian})"
        if (accuracy := own["accuracy"].iloc[0]) == accuracy:
            words += f", accuracy {accuracy:.3f}"
        said.append(words)
    return f"Cosine of h and what W h brings back, layer by layer: {'; '.join(said)}."


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
