"""Reversal of nets that come without inputs: half-normal x, up through the net, then h down and up.

    uv run python analyses/synthetic_reversal.py compute runs/synthetic-reversal
    uv run python analyses/synthetic_reversal.py plot runs/synthetic-reversal

The dense stacks of inaSpeechSegmenter's nets, which ship no audio (weights as trained, before batch
normalisation, no bias), and of the first stage of tiara's (with their bias), beside Gaussian
weights of the same shapes through their own activations. What a net makes of noise is not what it
makes of data: `reversal.py` is that, where there are data.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import PRNGKeyArray
from matplotlib.figure import Figure
from script import load, run, save, show
from third_party import find

import probrev as pr
from probrev.plots.canvas import COLORS, MARKERS

NAME = "synthetic_reversal"
KEEP_PROBS = (1.0, 0.5)
TRAINED, GAUSSIAN = "trained", "gaussian"
# The first layer that counts as deeper.
DEEP = 3
Stack = tuple[Sequence[np.ndarray], Sequence[np.ndarray]]


def read_ina(name: str) -> Stack:
    """The hidden dense layers of one of inaSpeechSegmenter's nets, as trained, without bias."""
    layers = pr.read_layers(find("inaSpeechSegmenter", f"keras_{name}_cnn.hdf5"))
    dense = [layer for layer in layers if layer.kernel_size == 1][:-1]
    return [layer.kernel for layer in dense], [np.zeros(layer.n_hidden) for layer in dense]


def read_tiara(k: int) -> Stack:
    """The hidden layers of tiara's first stage for k-mers of one length."""
    layers = pr.read_layers(find("tiara", f"models/nnet-models/first_nnet_kmer_{k}.pkl"))[:-1]
    return [layer.weights for layer in layers], [layer.bias for layer in layers]


STACKS: dict[str, Callable[[], Stack]] = {
    "ina speech-music-noise": partial(read_ina, "speech_music_noise"),
    "ina speech-music": partial(read_ina, "speech_music"),
    "ina male-female": partial(read_ina, "male_female"),
    **{f"tiara-{k}": partial(read_tiara, k) for k in (4, 5, 6)},
}
SIZES = {"quick": {"num_inputs": 200}, "full": {"num_inputs": 2000}}


def compute(out: Path, *, num_inputs: int, stacks: dict[str, Callable[[], Stack]] = STACKS) -> None:
    """Measures one-layer reversal at every layer of every stack.

    Args:
        out: folder to write in.
        num_inputs: half-normal inputs of each net.
        stacks: what reads weights and biases, by name.
    """
    rows = []
    for index, (name, read) in enumerate(stacks.items()):
        weights, biases = read()
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), index), 3)
        random = [
            pr.gaussian_control(jax.random.fold_in(keys[0], level), matrix - matrix.mean())
            for level, matrix in enumerate(weights)
        ]
        nothing = [np.zeros(len(bias)) for bias in biases]
        for kind, stack in ((TRAINED, (weights, biases)), (GAUSSIAN, (random, nothing))):
            found = measure(keys[1], stack, num_inputs)
            rows.append(found.assign(net=name, weights=kind))
    save(out, NAME, xr.Dataset.from_dataframe(pd.concat(rows).reset_index(drop=True)))


def measure(key: PRNGKeyArray, stack: Stack, num_inputs: int) -> pd.DataFrame:
    """Cosine of h and what comes back, layer by layer, all units, for each keep_prob."""
    weights, biases = stack
    key_x, key_down = jax.random.split(key)
    x = np.abs(np.asarray(jax.random.normal(key_x, (num_inputs, len(weights[0])))))
    found = []
    for keep_prob in KEEP_PROBS:
        net = pr.FeedforwardNet.from_weights(weights, biases, layer_keep_prob=keep_prob)
        table = pr.measure_reversal(key_down, net, net.activations(x))
        chosen = table.query("depth == 1 and compared == 'h' and units == 'all'")
        chosen = chosen.query("pairs == 'matched'")[["top", "cosine", "cosine_std_error"]]
        found.append(chosen.assign(keep_prob=keep_prob))
    return pd.concat(found)


def plot(out: Path) -> Path:
    """Draws the cosine of every layer, and says its range.

    Args:
        out: folder that `compute` wrote in.
    """
    table = load(out, NAME).to_dataframe()
    print(
        table.pivot_table(
            index=["net", "top"], columns=["weights", "keep_prob"], values="cosine"
        ).to_string(float_format=lambda value: f"{value:.3f}")
    )
    nets = list(dict.fromkeys(table["net"]))
    figure = Figure(figsize=(2.2 * len(nets), 3.6), layout="constrained")
    for axes, name in zip(
        figure.subplots(1, len(nets), sharey=True, squeeze=False)[0], nets, strict=True
    ):
        for index, kind in enumerate((TRAINED, GAUSSIAN)):
            for keep_prob, style in zip(KEEP_PROBS, ("-", "--"), strict=True):
                rows = table.query("net == @name and weights == @kind and keep_prob == @keep_prob")
                axes.plot(
                    rows["top"], rows["cosine"], style, color=COLORS[index], marker=MARKERS[index],
                    ms=5, label=f"{kind}, keep_prob {keep_prob:g}",
                )  # fmt: skip
        axes.set_title(name, fontsize="small")
        axes.set(xlabel="layer", xticks=sorted({*table.query("net == @name")["top"]}), ylim=(0, 1))
    figure.axes[0].set_ylabel("cosine of h and ĥ")
    figure.axes[0].legend(frameon=False, fontsize="x-small", loc="lower left")
    return show(figure, find_words(table), out / f"{NAME}.png")


def find_words(table: pd.DataFrame) -> str:
    """What was found, in words."""
    trained = table.query("weights == @TRAINED")
    said = []
    for name in dict.fromkeys(table["net"]):
        own = trained.query("net == @name")
        deep = own.query("top >= @DEEP")
        words = f"{name} {own['cosine'].min():.2f} to {own['cosine'].max():.2f}"
        if len(deep):
            words += f" (layers from {DEEP} on {deep['cosine'].min():.2f} to "
            words += f"{deep['cosine'].max():.2f})"
        said.append(words)
    parts = [
        f"{rows['cosine'].min():.2f} to {rows['cosine'].max():.2f} at keep_prob {keep_prob:g}"
        for keep_prob, rows in table.query("weights == @GAUSSIAN").groupby("keep_prob")
    ]
    return (
        f"On half-normal inputs h comes back from one layer, with keep_prob "
        f"{' and '.join(f'{one:g}' for one in KEEP_PROBS)}, at a cosine of {'; '.join(said)}. "
        f"Gaussian weights of the same shapes: {', '.join(parts)}."
    )


if __name__ == "__main__":
    run(__doc__ or "", compute, plot, SIZES)
