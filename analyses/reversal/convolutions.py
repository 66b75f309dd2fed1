"""Convolutions below a real net's dense layers, as its own code has them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

import probrev as pr


class Convolution(NamedTuple):
    """A convolution, r, and the largest of every rectangle.

    Attributes:
        kernel: batch normalisation folded in.
        bias: of each channel.
        padding: "SAME" or "VALID", of the convolution.
        pool: height and width of the rectangles.
        pool_padding: "SAME" or "VALID", of the rectangles.
    """

    kernel: Float[np.ndarray, "height width below above"]
    bias: Float[np.ndarray, " above"]
    padding: str
    pool: tuple[int, int] = (1, 1)
    pool_padding: str = "VALID"


def convolve(
    maps: Float[np.ndarray, "obs row column channel"], convolutions: Sequence[Convolution]
) -> Float[Array, "obs _ _ _"]:
    """Maps of channels through one convolution after another."""
    out = jnp.asarray(maps, float)
    for one in convolutions:
        kernel = jnp.asarray(one.kernel, float)
        out = jax.lax.conv_general_dilated(
            out, kernel, (1, 1), one.padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        out = jax.nn.relu(out + one.bias[None, None, None])
        window = (1, *one.pool, 1)
        out = jax.lax.reduce_window(
            out, -jnp.inf, jax.lax.max, window, window, one.pool_padding
        )  # fmt: skip
    return out


def read_keras(path: Path) -> list[Convolution]:
    """The convolutions of a Keras model, each followed by batch normalisation, r, and maybe a pool.

    Args:
        path: HDF5 file of a sequential model.
    """
    layers = {layer.label: layer for layer in pr.read_layers(path)}
    tensors = pr.read_tensors(path)
    found: list[Convolution] = []
    for about in _list_layers(path):
        one = about["config"]
        if about["class_name"] == "Conv2D":
            layer = layers[one["name"]]
            kernel = layer.weights.reshape(tensors[layer.name].shape)
            found.append(Convolution(kernel, layer.bias, one["padding"].upper()))
        elif about["class_name"] == "MaxPooling2D":
            height, width = one["pool_size"]
            found[-1] = found[-1]._replace(
                pool=(height, width), pool_padding=one["padding"].upper()
            )
    return found


def _list_layers(path: Path) -> list[dict[str, Any]]:
    with h5py.File(path) as file:
        config = json.loads(str(file.attrs["model_config"]))
    return config["config"]["layers"]
