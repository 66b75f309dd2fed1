"""Trained nets on real inputs: our own, digit-recognizer's layer of MNIST features, tiara's of DNA.

Each loader reads a net's file and makes its inputs as the net's own code does (but for repeats in
DNA, see `dna.py`); `accuracy` tells whether that is so. Nothing of a package is imported, its files
are only read.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

import probrev as pr
from analyses.datasets import load_images
from analyses.reversal.dna import read_fragments, weigh_kmers
from analyses.third_party import find
from analyses.train_nets import OWN_NETS, find_net

# digit-recognizer: mean and standard deviation of its pixels; its convolutions.
MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
CONVOLUTIONS = ("conv_layers.0", "conv_layers.3", "conv_layers.6")
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
        x_fit: inputs that priors are fitted to, nonnegative.
        x: further inputs, which everything else is measured on.
        labels: classes of x; empty where it has none.
        image_shape: of x where it is an image, else None.
    """

    name: str
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    readout: tuple[np.ndarray, np.ndarray]
    x_fit: Float[np.ndarray, "fit visible"]
    x: Float[np.ndarray, "obs visible"]
    labels: Int[np.ndarray, " labelled"]
    image_shape: tuple[int, int] | None = None

    def stack(self, keep_prob: float) -> pr.FeedforwardNet:
        """Its ReLU layers, to go up and down through."""
        return pr.FeedforwardNet.from_weights(self.weights, self.biases, layer_keep_prob=keep_prob)

    def prune(self, activations: Sequence[Float[ArrayLike, "obs _"]]) -> "RealNet":
        """The net without the units that never fire on x, and without inputs that are always 0.

        On x it is the same function; downwards it is another model, with fewer rows.

        Args:
            activations: of x, x itself first.
        """
        live = [(np.asarray(level) > 0).any(0) for level in activations]
        weights = tuple(
            matrix[np.ix_(below, above)]
            for matrix, below, above in zip(self.weights, live, live[1:], strict=False)
        )
        biases = tuple(bias[above] for bias, above in zip(self.biases, live[1:], strict=True))
        scores, offset = self.readout
        return self._replace(
            weights=weights, biases=biases, readout=(scores[live[-1]], offset),
            x_fit=self.x_fit[:, live[0]], x=self.x[:, live[0]], image_shape=None,
        )  # fmt: skip

    @property
    def accuracy(self) -> float:
        """Share of x whose class has the highest score; NaN without classes."""
        if not self.labels.size:
            return np.nan
        weights, bias = self.readout
        top = np.asarray(self.stack(1.0)(jnp.asarray(self.x)))
        return float(np.mean((top @ weights + bias).argmax(1) == self.labels))


def load_net(name: str, num_inputs: int, own_nets: Path = OWN_NETS) -> RealNet:
    """A net by its name, with inputs drawn at random without repetition.

    Args:
        name: "digits", "mnist" or "fashion" (our own), "digit-recognizer", or "tiara-4", "tiara-5",
            "tiara-6" (by the length of their k-mers).
        num_inputs: inputs to measure on, and as many to fit to, where there are so many.
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
    images = load_images(name)
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
    tensors = pr.read_tensors(path)
    dense = [layer for layer in pr.read_layers(path) if layer.name.startswith("fc_layers")]
    layers, readout = split_readout(dense)
    images = load_images("mnist")
    pixels = np.concatenate([images.train, images.test])
    labels = np.concatenate([images.train_labels, images.test_labels])
    rows = draw_rows(len(pixels), 2 * num_inputs)
    features = convolve(tensors, (pixels[rows] - MNIST_MEAN) / MNIST_STD)
    half = len(rows) // 2
    return RealNet(name, *layers, readout, features[:half], features[half:], labels[rows][half:])


def load_tiara(name: str, num_inputs: int, own_nets: Path) -> RealNet:
    """The net of its first stage for k-mers of one length, on its own fragments of DNA."""
    del own_nets
    k = int(name.rpartition("-")[2])
    layers, readout = read_tiara(k)
    fragments, labels = read_fragments()
    rows = draw_rows(len(fragments), 2 * num_inputs)
    x = weigh_kmers(fragments[rows], k)
    half = len(rows) // 2
    return RealNet(name, *layers, readout, x[:half], x[half:], labels[rows][half:])


def read_tiara(k: int) -> tuple[Layers, Readout]:
    """The net of tiara's first stage for k-mers of one length."""
    return split_readout(
        pr.read_layers(find("tiara", f"models/nnet-models/first_nnet_kmer_{k}.pkl"))
    )


def split_readout(layers: list[pr.TrainedLayer]) -> tuple[Layers, Readout]:
    """Weights and biases of the ReLU layers, and of the last one, which is linear."""
    *hidden, last = layers
    weights = tuple(np.asarray(layer.weights, float) for layer in hidden)
    biases = tuple(np.asarray(layer.bias, float) for layer in hidden)
    return (weights, biases), (last.weights, last.bias)


def draw_rows(size: int, wanted: int) -> Int[np.ndarray, " row"]:
    """Numbers of inputs drawn without repetition, the same ones every time."""
    return np.random.default_rng(0).permutation(size)[:wanted]


@jax.jit
def convolve(
    tensors: dict[str, Array], pixels: Float[Array, "image pixel"]
) -> Float[Array, "image feature"]:
    """Three times a convolution of 3 x 3, r, and the largest of every 2 x 2, then all channels.

    Args:
        tensors: digit-recognizer's.
        pixels: images of 28 x 28, standardised.
    """
    maps = jnp.asarray(pixels, float).reshape(-1, 1, 28, 28)
    for layer in CONVOLUTIONS:
        kernel, bias = (
            jnp.asarray(tensors[f"{layer}.{part}"], float) for part in ("weight", "bias")
        )
        maps = jax.lax.conv(maps, kernel, (1, 1), "SAME") + bias[None, :, None, None]
        maps = jax.lax.reduce_window(
            jax.nn.relu(maps), -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID"
        )
    return maps.reshape(len(maps), -1)


LOADERS: dict[str, Callable[[str, int, Path], RealNet]] = {
    **dict.fromkeys(("digits", "mnist", "fashion"), load_own),
    "digit-recognizer": load_digit_recognizer,
    **dict.fromkeys(("tiara-4", "tiara-5", "tiara-6"), load_tiara),
}
