"""Trains the project's own nets, one for each data set, and writes their weights.

    uv run --extra data python -m analyses.train_nets runs/nets digits fashion

OUT/NAME.npz has `layers.0.weights`, (n_visible, n_hidden), and `layers.0.bias`, from the images up;
the last layer is that of the logits. `analyses.datasets` makes the images, in [0, 1], and says
which ones the net has not seen.
"""

import argparse
import sys
from pathlib import Path

import jax
import numpy as np

import probrev as pr
from analyses.datasets import LOADERS, load_images
from analyses.stopwatch import stopwatch
from probrev.plumbing.replacing import replacing

RECIPES = {
    "digits": pr.Recipe((256, 128), num_epochs=100, batch_size=50),
    "mnist": pr.Recipe((512, 256), num_epochs=60),
    "fashion": pr.Recipe((512, 256), num_epochs=20, batch_size=128, hidden_keep_prob=0.8),
}


def train(out: Path, name: str, recipe: pr.Recipe, seed: int = 0) -> float:
    """Trains a net on the training images and writes it; returns its accuracy on the test images.

    Args:
        out: folder to write in.
        name: of the data set.
        recipe: how to train.
        seed: of the start, the batches and the dropout.
    """
    images = load_images(name)
    trained = pr.train_classifier(
        jax.random.key(seed), images.train, images.train_labels, recipe,
        held_out=(images.test, images.test_labels), progress=stopwatch(name),
    )  # fmt: skip
    if not trained.finite:
        raise RuntimeError(f"training on {name} has diverged: lower the learning rate")
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


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the nets")
    parser.add_argument("names", nargs="+", choices=tuple(LOADERS))
    arguments = parser.parse_args()
    for name in arguments.names:
        try:
            accuracy = train(arguments.out, name, RECIPES[name])
        except FileNotFoundError as error:
            sys.exit(f"{parser.prog}: {error}")
        print(f"{name}: {accuracy:.4f} of the test images read rightly")


if __name__ == "__main__":
    main()
