"""Trains the project's own nets, some for each data set, and writes their weights.

    uv run --extra data python -m analyses.train_nets compute runs/nets --size full
    uv run --extra data python -m analyses.train_nets compute runs/nets --set names=fashion

OUT/NAME-SEED.npz has `layers.0.weights`, (n_visible, n_hidden), and `layers.0.bias`, from the
images up; the last layer is that of the logits. `analyses.datasets` makes the images, in [0, 1],
and says which ones the net has not seen. A name begins with that of the data set; the nets of
digits differ in the dropout that they were trained with, see `RECIPES`.
"""

from pathlib import Path
from typing import Literal

import jax
import numpy as np

import probrev as pr
from analyses.datasets import load_images
from analyses.script import run
from analyses.stopwatch import stopwatch
from probrev.plumbing.replacing import replacing

Name = Literal["digits", "digits-keep.8", "digits-keep.5", "mnist", "fashion"]


def recipe_of_digits(**keep_probs: float) -> pr.Recipe:
    """What the nets of digits have in common."""
    return pr.Recipe((256, 128), num_epochs=100, batch_size=50, **keep_probs)


RECIPES: dict[Name, pr.Recipe] = {
    "digits": recipe_of_digits(input_keep_prob=1.0, hidden_keep_prob=1.0),
    "digits-keep.8": recipe_of_digits(hidden_keep_prob=0.8),
    "digits-keep.5": recipe_of_digits(hidden_keep_prob=0.5),
    "mnist": pr.Recipe((512, 256), num_epochs=60),
    "fashion": pr.Recipe((512, 256), num_epochs=20, batch_size=128, hidden_keep_prob=0.8),
}
SEEDS = (0, 1, 2)
NET_NAMES = tuple(f"{name}-{seed}" for name in RECIPES for seed in SEEDS)
OWN_NETS = Path("runs/nets")
SIZES = {
    "quick": {"names": ("digits",), "seeds": (0,)},
    "full": {"names": tuple(RECIPES), "seeds": SEEDS},
}


def compute(out: Path, *, names: tuple[Name, ...], seeds: tuple[int, ...]) -> None:
    """Trains the nets, and prints their accuracies.

    Args:
        out: folder to write in.
        names: of the recipes.
        seeds: of the start, the batches and the dropout, a net each.
    """
    for name in names:
        for seed in seeds:
            accuracy = train(out, f"{name}-{seed}", RECIPES[name], seed)
            print(f"{name}-{seed}: {accuracy:.4f} of the test images read rightly", flush=True)


def find_images(name: str) -> str:
    """The data set of a net."""
    return name.partition("-")[0]


def find_net(name: str, folder: Path = OWN_NETS) -> Path:
    """The file of a net, NAME-SEED.

    Raises:
        FileNotFoundError: it is not there; the message has the command that makes it.
    """
    path = folder / f"{name}.npz"
    if not path.is_file():
        recipe, _, seed = name.rpartition("-")
        raise FileNotFoundError(
            f"no file {path}; to make it: uv run --extra data python -m analyses.train_nets "
            f"compute {folder} --set names={recipe} --set seeds={seed}"
        )
    return path


def train(out: Path, name: str, recipe: pr.Recipe, seed: int) -> float:
    """Trains a net on the training images and writes it; returns its accuracy on the test images.

    Args:
        out: folder to write in.
        name: of the net.
        recipe: how to train.
        seed: of the start, the batches and the dropout.
    """
    images = load_images(find_images(name))
    trained = pr.train_classifier(
        jax.random.key(seed), images.train, images.train_labels, recipe,
        held_out=(images.test, images.test_labels), progress=stopwatch(name),
    )  # fmt: skip
    if not trained.finite:
        raise RuntimeError(f"training of {name} has diverged: lower the learning rate")
    accuracy = 1 - float(trained.curve.error[-1])
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / f"{name}.npz") as partial, partial.open("wb") as file:
        np.savez(file, accuracy=accuracy, **list_tensors(trained.net))  # pyright: ignore[reportArgumentType]
    return accuracy


def list_tensors(net: pr.Classifier) -> dict[str, np.ndarray]:
    """Weights and biases by the names that a file has them under."""
    tensors = {}
    for layer, (weights, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
        tensors[f"layers.{layer}.weights"] = np.asarray(weights)
        tensors[f"layers.{layer}.bias"] = np.asarray(bias)
    return tensors


if __name__ == "__main__":
    run(__doc__, compute, None, SIZES)
