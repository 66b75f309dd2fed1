"""Convolutions of a Keras model, against SciPy's and plain loops, batch normalisation apart."""

import json

import h5py
import numpy as np
import pytest
from scipy.signal import correlate

from analyses.reversal.convolutions import convolve, read_keras

RNG = np.random.default_rng(0)


def convolution(name, padding):
    return {"class_name": "Conv2D", "config": {
        "name": name, "padding": padding, "activation": "linear"}}  # fmt: skip


def norm(name):
    return {"class_name": "BatchNormalization", "config": {"name": name, "epsilon": 1e-3}}


def relu(name):
    return {"class_name": "Activation", "config": {"name": name, "activation": "relu"}}


POOL = {"name": "pool", "pool_size": [4, 2], "padding": "same"}
LAYERS = [
    convolution("conv_1", "valid"), norm("norm_1"), relu("relu_1"),
    {"class_name": "MaxPooling2D", "config": POOL},
    convolution("conv_2", "same"), norm("norm_2"), relu("relu_2"),
    {"class_name": "Dense", "config": {"name": "dense", "activation": "softmax"}},
]  # fmt: skip
KERNELS = {"conv_1": (3, 2, 2, 3), "conv_2": (3, 3, 3, 4), "dense": (48, 5)}


@pytest.fixture
def model(tmp_path):
    """The file of a Keras model, and its tensors by layer."""
    tensors = {
        name: {"kernel": RNG.normal(size=shape), "bias": RNG.normal(size=shape[-1])}
        for name, shape in KERNELS.items()
    }
    for name, width in (("norm_1", 3), ("norm_2", 4)):
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        tensors[name] = {part: RNG.uniform(0.5, 2, width) for part in parts}
    path = tmp_path / "model.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": {"layers": LAYERS}}
        )
        group = file.create_group("model_weights")
        names = [*tensors]
        group.attrs["layer_names"] = names
        for name in names:
            paths = [f"{name}/{part}:0" for part in tensors[name]]
            group.create_group(name).attrs["weight_names"] = paths
            for part, tensor in tensors[name].items():
                group[name][f"{name}/{part}:0"] = tensor
    return path, tensors


def plain_block(maps, layer, scale):
    """Convolution, batch normalisation and r, as three steps."""
    channels = np.moveaxis(layer["kernel"], -1, 0)
    out = np.stack([correlate(maps, kernel, "valid")[..., 0] for kernel in channels], axis=-1)
    out = (out + layer["bias"] - scale["moving_mean"]) / np.sqrt(scale["moving_variance"] + 1e-3)
    return np.maximum(out * scale["gamma"] + scale["beta"], 0)


def test_against_plain_steps(model):
    path, tensors = model
    patches = RNG.normal(size=(3, 12, 9, 2))
    found = np.asarray(convolve(patches, read_keras(path)))
    assert found.shape == (3, 3, 4, 4)
    for patch, out in zip(patches, found, strict=True):
        first = plain_block(patch, tensors["conv_1"], tensors["norm_1"])  # 10 x 8
        # "same": 10 rows make 3 windows of 4, of which 1 row is missing above and 1 below.
        rows = ((0, 3), (3, 7), (7, 10))
        pooled = np.array(
            [[first[i:j, 2 * c : 2 * c + 2].max((0, 1)) for c in range(4)] for i, j in rows]
        )
        padded = np.pad(pooled, ((1, 1), (1, 1), (0, 0)))
        expected = plain_block(padded, tensors["conv_2"], tensors["norm_2"])
        np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-9)
