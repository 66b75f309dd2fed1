"""Trained nets on real inputs: our own, digit-recognizer's and inaSpeechSegmenter's, tiara's.

Each loader reads a net's file and makes its inputs as the net's own code does (but for repeats in
DNA, see `dna.py`, and for which sounds are kept, see `sound.py`); `accuracy` tells whether that is
so. Nothing of a package is imported, its files are only read.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

import probrev as pr
from analyses.datasets import load_images
from analyses.reversal.convolutions import Convolution, convolve, read_keras
from analyses.reversal.dna import read_fragments, weigh_kmers
from analyses.reversal.sound import load_patches
from analyses.third_party import find
from analyses.train_nets import NET_NAMES, OWN_NETS, find_images, find_net

# digit-recognizer: mean and standard deviation of its pixels; its convolutions.
MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
CONVOLUTIONS = ("conv_layers.0", "conv_layers.3", "conv_layers.6")
# Of tiara's fragments, from each of its files so many, the first.
FRAGMENTS_A_FILE = 400
# Weights and biases of ReLU layers, next to x first; weights and bias of the scores above them.
Layers = tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]
Readout = tuple[np.ndarray, np.ndarray]


class RealNet(NamedTuple):
    """A trained net and its inputs, two sets of them.

    Attributes:
        name: of the net.
        weights: of the ReLU layers, next to x first, each (n_in, n_out).
        biases: of the same.
        readout: weights and bias of the scores of the classes, a linear layer above them.
        x_fit: inputs to fit to, nonnegative.
        x: further inputs, from other images, sequences or files of sound, nonnegative.
        labels: classes of x.
        image_shape: of x where it is an image, else None.
    """

    name: str
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    readout: tuple[np.ndarray, np.ndarray]
    x_fit: Float[np.ndarray, "fit visible"]
    x: Float[np.ndarray, "obs visible"]
    labels: Int[np.ndarray, " obs"]
    image_shape: tuple[int, int] | None = None

    def stack(self, keep_prob: float) -> pr.FeedforwardNet:
        """Its ReLU layers, to go up and down through."""
        return pr.FeedforwardNet.from_weights(self.weights, self.biases, layer_keep_prob=keep_prob)

    @property
    def accuracy(self) -> float:
        """Share of x whose class has the highest score."""
        weights, bias = self.readout
        top = np.asarray(self.stack(1.0)(jnp.asarray(self.x)))
        return float(np.mean((top @ weights + bias).argmax(1) == self.labels))


def load_net(name: str, num_inputs: int, own_nets: Path = OWN_NETS) -> RealNet:
    """A net by its name, with inputs drawn at random without repetition.

    Args:
        name: one of our own, "digits-0" (see `train_nets`), "digit-recognizer",
            "ina-speech-music-noise", "ina-speech-music", or "tiara-4", "tiara-5", "tiara-6" (by the
            length of their k-mers).
        num_inputs: to fit to, and as many others beside them, where there are so many.
        own_nets: folder of our own nets.

    Raises:
        FileNotFoundError: the net or its inputs are absent; says what makes or installs them.
        ValueError: there is no net of that name.
    """
    if name not in LOADERS:
        raise ValueError(f"name must be one of {', '.join(LOADERS)}; got {name!r}")
    return LOADERS[name](name, num_inputs, own_nets)


def load_own(name: str, num_inputs: int, own_nets: Path) -> RealNet:
    """One of our own nets, on its images: fitted to those that it was trained on."""
    path = find_net(name, own_nets)
    images = load_images(find_images(name))
    fit = draw_rows(len(images.train), num_inputs)
    rows = draw_rows(len(images.test), num_inputs)
    side = int(np.sqrt(images.train.shape[1]))
    layers, readout = split_readout(pr.read_layers(path))
    return RealNet(
        name, *layers, readout, images.train[fit].astype(float), images.test[rows].astype(float),
        images.test_labels[rows], (side, side),
    )  # fmt: skip


def load_digit_recognizer(name: str, num_inputs: int, own_nets: Path) -> RealNet:
    """Its one hidden dense layer, on its features of the MNIST subset, which it may know."""
    del own_nets
    path = find("digit_recognizer", "models/handwriting_model.pth")
    dense = [layer for layer in pr.read_layers(path) if layer.name.startswith("fc_layers")]
    layers, readout = split_readout(dense)
    images = load_images("mnist")
    pixels = np.concatenate([images.train, images.test])
    labels = np.concatenate([images.train_labels, images.test_labels])
    rows = draw_rows(len(pixels), 2 * num_inputs)
    features = read_digits(pr.read_tensors(path), pixels[rows])
    half = len(rows) // 2
    return RealNet(name, *layers, readout, features[:half], features[half:], labels[rows][half:])


def read_digits(
    tensors: dict[str, np.ndarray], pixels: Float[np.ndarray, "image pixel"]
) -> Float[np.ndarray, "image feature"]:
    """What digit-recognizer's convolutions make of images of 28 x 28, pixels in [0, 1]."""
    convolutions = [
        Convolution(
            tensors[f"{layer}.weight"].transpose(2, 3, 1, 0), tensors[f"{layer}.bias"], "SAME",
            pool=(2, 2),
        )
        for layer in CONVOLUTIONS
    ]  # fmt: skip
    standard = (pixels.reshape(-1, 28, 28, 1) - MNIST_MEAN) / MNIST_STD
    maps = np.asarray(convolve(standard, convolutions), float)
    return maps.transpose(0, 3, 1, 2).reshape(len(maps), -1)


def load_ina(name: str, num_inputs: int, own_nets: Path) -> RealNet:
    """The dense layers of one of inaSpeechSegmenter's nets, on its features of words and music."""
    del own_nets
    title = name.removeprefix("ina-").replace("-", "_")
    path = find("inaSpeechSegmenter", f"keras_{title}_cnn.hdf5")
    dense = [layer for layer in pr.read_layers(path) if layer.kernel_size == 1]
    layers, readout = split_readout(dense)
    patches = load_patches()
    fit, rows = split_groups(patches.labels, patches.files, num_inputs)
    maps = np.asarray(convolve(patches.mels[..., None], read_keras(path)), float)
    x = maps.reshape(len(maps), -1)
    return RealNet(name, *layers, readout, x[fit], x[rows], patches.labels[rows])


def load_tiara(name: str, num_inputs: int, own_nets: Path) -> RealNet:
    """The net of its first stage for k-mers of one length, on its own fragments of DNA."""
    del own_nets
    k = int(name.rpartition("-")[2])
    layers, readout = split_readout(
        pr.read_layers(find("tiara", f"models/nnet-models/first_nnet_kmer_{k}.pkl"))
    )
    fragments = read_fragments(FRAGMENTS_A_FILE)
    fit, rows = split_groups(fragments.labels, fragments.sequences, num_inputs)
    x_fit, x = (weigh_kmers(fragments.bases[side], k) for side in (fit, rows))
    return RealNet(name, *layers, readout, x_fit, x, fragments.labels[rows])


def split_readout(layers: Sequence[pr.TrainedLayer]) -> tuple[Layers, Readout]:
    """Weights and biases of the ReLU layers, and of the last one, which is linear."""
    *hidden, last = layers
    weights = tuple(np.asarray(layer.weights, float) for layer in hidden)
    biases = tuple(np.asarray(layer.bias, float) for layer in hidden)
    return (weights, biases), (last.weights, last.bias)


def draw_rows(size: int, wanted: int) -> Int[np.ndarray, " row"]:
    """Numbers of inputs drawn without repetition, the same ones every time."""
    return np.random.default_rng(0).permutation(size)[:wanted]


def split_groups(
    labels: Int[np.ndarray, " obs"], groups: Int[np.ndarray, " obs"], num_inputs: int
) -> tuple[Int[np.ndarray, " fit"], Int[np.ndarray, " row"]]:
    """Two sets of inputs that share no group, drawn at random, the same ones every time.

    Args:
        labels: of the inputs; each one's groups go to the two sets in turn.
        groups: numbers of what the inputs are cut from; all of a group have one label.
        num_inputs: of each set, at most.
    """
    rng = np.random.default_rng(0)
    fit = np.zeros(len(groups), bool)
    for label in np.unique(labels):
        members = rng.permutation(np.unique(groups[labels == label]))
        fit |= np.isin(groups, members[::2])
    first, second = (rng.permutation(np.flatnonzero(side))[:num_inputs] for side in (fit, ~fit))
    return first, second


LOADERS: dict[str, Callable[[str, int, Path], RealNet]] = {
    **dict.fromkeys(NET_NAMES, load_own),
    "digit-recognizer": load_digit_recognizer,
    **dict.fromkeys(("ina-speech-music-noise", "ina-speech-music"), load_ina),
    **dict.fromkeys(("tiara-4", "tiara-5", "tiara-6"), load_tiara),
}
