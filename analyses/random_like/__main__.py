"""Are trained weights like random ones? Own nets, and nets that others trained.

    uv run python -m analyses.random_like compute runs/random-like --size full
    uv run python -m analyses.random_like plot runs/random-like

`compute` holds every layer of the nets below against random weights, as it was trained and with its
batch normalisation folded in, each beside its two controls, and measures two random matrices whose
answer is known. `plot` draws all of them and prints what they say, layer by layer.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import probrev as pr
from analyses.figure import show
from analyses.random_like.figure import CONTROLS, draw, print_table, say
from analyses.script import load, run, save
from analyses.table import to_dataset
from analyses.third_party import find
from analyses.train_nets import find_net
from probrev.nets.weights.layers import label_layers
from probrev.nets.weights.random_like import Measures

SECOND_SHARE = 0.02


class Net(NamedTuple):
    """A file of weights.

    Attributes:
        name: short.
        path: of the file in its package; of an own net its name.
        package: a key of `third_party.COMMANDS`; "" for an own net.
        initializer: what drew the weights; "" where the file says it.
    """

    name: str
    path: str
    package: str = ""
    initializer: str = ""

    def locate(self) -> Path:
        """The file.

        Raises:
            FileNotFoundError: it is not there; the message has the command that makes it.
        """
        return find(self.package, self.path) if self.package else find_net(self.path)


INA = "inaSpeechSegmenter"
# Neither tiara nor digit-recognizer sets an initialiser, so it is torch's own.
SMALL_NETS = (
    Net("digits", "digits-keep.5-0", initializer="he_normal"),
    Net("Fashion-MNIST", "fashion-0", initializer="he_normal"),
    Net("ina male-female", "keras_male_female_cnn.hdf5", INA),
    Net("ina speech-music", "keras_speech_music_cnn.hdf5", INA),
    Net("ina speech-music-noise", "keras_speech_music_noise_cnn.hdf5", INA),
    Net("digit-recognizer", "models/handwriting_model.pth", "digit_recognizer", "torch"),
    *(
        Net(f"tiara 2nd, k={k}", f"models/nnet-models/second_nnet_kmer_{k}.pkl", "tiara", "torch")
        for k in (4, 5, 6, 7)
    ),
)
NETS = (
    *SMALL_NETS,
    *(
        Net(f"tiara 1st, k={k}", f"models/nnet-models/first_nnet_kmer_{k}.pkl", "tiara", "torch")
        for k in (4, 5, 6)
    ),
)
SIZES = {
    "quick": {"nets": SMALL_NETS, "control_shape": (512, 1024)},
    "full": {"nets": NETS, "control_shape": (2048, 4096)},
}


def compute(out: Path, *, nets: Sequence[Net], control_shape: tuple[int, int], seed: int = 0):
    """Measures every layer and writes what was found.

    Args:
        out: folder to write in.
        nets: whose layers.
        control_shape: of the random matrices whose answer is known.
        seed: of the controls.
    """
    paths = [net.locate() for net in nets]
    key_known, *keys = jax.random.split(jax.random.key(seed), len(nets) + 1)
    rows = list(known_rows(key_known, control_shape))
    for key, net, path in zip(keys, nets, paths, strict=True):
        rows += net_rows(key, net, path)
        print(f"{net.name}: {sum(row['net'] == net.name for row in rows)} matrices", flush=True)
    save(out, "random_like", to_dataset(rows, "layer"))


def known_rows(key: jax.Array, shape: tuple[int, int]) -> Iterator[dict[str, Any]]:
    """A Gaussian and a Glorot-uniform matrix."""
    key_gaussian, key_uniform = jax.random.split(key)
    bound = (6 / sum(shape)) ** 0.5
    matrices = {
        "Gaussian": jax.random.normal(key_gaussian, shape),
        "Glorot uniform": jax.random.uniform(key_uniform, shape, minval=-bound, maxval=bound),
    }
    for name, matrix in matrices.items():
        found = pr.random_like(key, matrix)
        yield _row(CONTROLS, f"{name} {shape[0]}×{shape[1]}", False, found)


def net_rows(key: jax.Array, net: Net, path: Path) -> Iterator[dict[str, Any]]:
    """Every layer of a net, and once more with its batch normalisation, if it has one."""
    layers = pr.read_layers(path, initializer=net.initializer)
    for index, (layer, label) in enumerate(zip(layers, label_layers(layers), strict=True)):
        own_key = jax.random.fold_in(key, index)
        found = pr.random_like(own_key, layer.kernel, init_share=layer.init_share)
        yield _row(net.name, label, False, found)
        if not np.array_equal(layer.kernel, layer.weights):
            found = pr.random_like(own_key, layer.weights, init_share=layer.init_share)
            yield _row(net.name, label, True, found)


def _row(net: str, label: str, is_folded: bool, found: pr.RandomLike) -> dict[str, Any]:
    row = {
        "net": net, "label": label, "is_folded": is_folded, "n_visible": found.n_visible,
        "n_hidden": found.n_hidden, "word": found.word, "sentence": found.sentence,
        "init_share": np.nan if found.init_share is None else found.init_share,
    }  # fmt: skip
    row["expected_gram_norm"], row["expected_gram_off_diagonal"] = found.expected_gram
    for which, measures in found.measures.items():
        row |= {f"{which}_{name}": value for name, value in _numbers(measures).items()}
    return row


def _numbers(measures: Measures) -> dict[str, float]:
    values = measures.eigenvalues
    top = max(1, round(SECOND_SHARE * values.size))
    numbers = measures.entries._asdict() | measures.spectrum._asdict()
    return numbers | {"top_2_energy": values[-top:].sum() / values.sum()}


def plot(out: Path) -> Path:
    """Draws every layer, from the saved measures, and says what they come to."""
    data = load(out, "random_like")
    print_table(data)
    return show(draw(data), say(data), out / "random_like.png")


if __name__ == "__main__":
    run(__doc__, compute, plot, SIZES)
