"""A trained layer of a net that reads digits, and its real activations; needs the extra data."""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

import probrev as pr

SOURCES = ("generated", "activations")
PRIORS = ("correlated", "independent")
MAX_EPOCHS = 400


class TrainedLayer(NamedTuple):
    """The layer 256 -> 128 of a 64-256-128-10 ReLU net, and what it does on images.

    Attributes:
        weights: W, (256, 128), of h = r(W^T x + b).
        bias: b, (128,).
        accuracy: share of held-out digits that the net reads rightly.
        x_train: activations below the layer on the images that the net was trained on, (898, 256).
        h_train: activations above it, (898, 128).
        x_held_out: below it, on images that it was not trained on, (899, 256).
        h_held_out: above it, (899, 128).
    """

    weights: Float[np.ndarray, "visible hidden"]
    bias: Float[np.ndarray, " hidden"]
    accuracy: float
    x_train: Float[np.ndarray, "train visible"]
    h_train: Float[np.ndarray, "train hidden"]
    x_held_out: Float[np.ndarray, "held_out visible"]
    h_held_out: Float[np.ndarray, "held_out hidden"]


def build(
    keep_prob: float | None = None,
    relative_noise: float | None = None,
    prior: Literal["correlated", "independent"] = "correlated",
    source: Literal["generated", "activations"] = "generated",
    train_seed: int = 0,
) -> pr.LayeredModel:
    """Builds x = gain r(W h + bias + noise) * dropout with trained W, fitted to real x and h.

    The net reads 97 % of the held-out half of scikit-learn's 1797 digits. Layer and prior are
    fitted to what it does on the other half; what they say of the held-out half is in `checks`, and
    `inverses` adds the net as it was trained, with its own bias.

    Args:
        keep_prob: probability that a visible unit survives dropout; by default fitted.
        relative_noise: noise_std over the root mean square of W h, h real; by default fitted.
        prior: of h: "correlated" units, a rectified Gaussian, or "independent" ones.
        source: what `observe` makes x of: "generated" from real h by this model, or "activations",
            the net's own x, which this model did not make.
        train_seed: seed of the net's training and of the split of the images.
    """
    if source not in SOURCES:
        raise ValueError(f"source must be one of {', '.join(SOURCES)}; got {source!r}")
    if prior not in PRIORS:
        raise ValueError(f"prior must be one of {', '.join(PRIORS)}; got {prior!r}")
    trained = train_layer(train_seed)
    fitted = fit(train_seed, keep_prob, relative_noise)
    if prior == "independent":
        return pr.LayeredModel(pr.fit_prior(trained.h_train), [fitted.layer])
    v = trained.x_train @ trained.weights + trained.bias
    law = pr.fit_prior(trained.h_train, "correlated", pre_activations=v)
    return pr.LayeredModel(law, [fitted.layer])


def checks(
    model: pr.LayeredModel,
    keep_prob: float | None = None,
    relative_noise: float | None = None,
    train_seed: int = 0,
) -> tuple[pr.Check, ...]:
    """How well the layer fits activations that it was not fitted to.

    Args:
        model: what `build` returned.
        keep_prob: as in `build`.
        relative_noise: as in `build`.
        train_seed: as in `build`.
    """
    return fit(train_seed, keep_prob, relative_noise).checks


@cache
def fit(train_seed: int, keep_prob: float | None, relative_noise: float | None) -> pr.LayerFit:
    """Fits the generative layer; takes some ten seconds."""
    trained, noise_std = train_layer(train_seed), None
    if relative_noise is not None:
        spread = np.sqrt(np.mean(np.square(trained.h_train @ trained.weights.T)))
        noise_std = relative_noise * float(spread)
    _, fitted = pr.fit_layer(
        trained.weights, trained.x_train, trained.h_train,
        held_out=(trained.x_held_out, trained.h_held_out),
        keep_prob=keep_prob, noise_std=noise_std,
    )  # fmt: skip
    return fitted


def observe(
    key: PRNGKeyArray,
    model: pr.LayeredModel,
    num_obs: int,
    source: Literal["generated", "activations"] = "generated",
    train_seed: int = 0,
) -> pr.Observations:
    """Makes observations from held-out images, drawn at random without repetition.

    Args:
        key: random key.
        model: what `build` returned.
        num_obs: number of images, at most 899.
        source: "generated": x drawn from the model given the real h of an image, which is then the
            truth; "activations": the real x of an image, which no h made: there is no truth.
        train_seed: as in `build`.

    Raises:
        ValueError: more observations than held-out images.
    """
    trained = train_layer(train_seed)
    num_images = len(trained.h_held_out)
    if num_obs > num_images:
        raise ValueError(
            f"num_obs must be at most {num_images}, the number of held-out images; got {num_obs}"
        )
    key_images, key_x = jax.random.split(key)
    images = np.asarray(jax.random.permutation(key_images, num_images)[:num_obs])
    if source == "activations":
        return pr.Observations(trained.x_held_out[images])
    h = jnp.asarray(trained.h_held_out[images])
    return model.observe_from(key_x, h)


def inverses(model: pr.LayeredModel, train_seed: int = 0) -> dict[str, Callable]:
    """The net as it was trained, with the bias that it learned.

    Args:
        model: what `build` returned.
        train_seed: as in `build`.
    """
    trained = train_layer(train_seed)
    return {"as_trained": lambda x: jax.nn.relu(x @ trained.weights + trained.bias[None, :])}


@cache
def train_layer(seed: int) -> TrainedLayer:
    """Trains the net on half of the digits and reads its middle layer off; takes a second or two.

    Args:
        seed: of the split and the training.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
        from sklearn.neural_network import MLPClassifier
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise ImportError(
            "digits needs scikit-learn, the extra data: uv run --extra data probrev compare "
            "digits, or pip install 'probrev[data]'"
        ) from error

    pixels, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    train, held_out = train_test_split(
        np.arange(len(labels)), test_size=0.5, random_state=seed, stratify=labels
    )
    pixels = pixels / pixels.max()
    net = MLPClassifier((256, 128), max_iter=MAX_EPOCHS, random_state=seed)
    # The products are so small that threads would wait for each other most of the time.
    with threadpool_limits(1):
        net.fit(pixels[train], labels[train])
    accuracy = float(net.score(pixels[held_out], labels[held_out]))
    x_train, h_train = _activations(net, pixels[train])
    x_held_out, h_held_out = _activations(net, pixels[held_out])
    return TrainedLayer(
        net.coefs_[1], net.intercepts_[1], accuracy, x_train, h_train, x_held_out, h_held_out
    )


def _activations(net: Any, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Activations below and above the middle layer."""
    x = np.maximum(pixels @ net.coefs_[0] + net.intercepts_[0], 0)
    return x, np.maximum(x @ net.coefs_[1] + net.intercepts_[1], 0)
