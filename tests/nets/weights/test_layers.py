import json

import h5py
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from probrev.nets.weights import layers as weights_layers
from probrev.nets.weights.content import Content
from probrev.nets.weights.layers import read_layers
from probrev.nets.weights.trained_layer import FoldedNorm

RNG = np.random.default_rng(8)


def find_layers(tensors):
    return weights_layers.find_layers(Content(tensors))


def relu(x):
    return np.maximum(x, 0)


def normed(z, mean, variance, gamma, beta, epsilon):
    """A batch normalisation at test time, as Keras and torch document it."""
    return gamma * (z - mean) / np.sqrt(variance + epsilon) + beta


def batch_norm(width):
    return {
        "mean": RNG.normal(size=width),
        "variance": RNG.gamma(2.0, size=width),
        "gamma": RNG.normal(1.0, 0.3, size=width),
        "beta": RNG.normal(size=width),
    }


def up(layers, x):
    """The pass that every TrainedLayer promises."""
    for layer in layers:
        x = relu(x @ layer.weights + layer.bias)
    return x


def test_torch_layers_with_batch_norms_are_folded():
    first, second = RNG.normal(size=(5, 4)), RNG.normal(size=(3, 5))
    bias, norm = RNG.normal(size=5), batch_norm(5)
    tensors = {
        "fc1.weight": first,
        "fc1.bias": bias,
        "bn1.weight": norm["gamma"],
        "bn1.bias": norm["beta"],
        "bn1.running_mean": norm["mean"],
        "bn1.running_var": norm["variance"],
        "bn1.num_batches_tracked": np.array(7),
        "fc2.weight": second,
    }
    layers = find_layers(tensors)
    assert [layer.name for layer in layers] == ["fc1.weight", "fc2.weight"]
    assert [(layer.n_visible, layer.n_hidden) for layer in layers] == [(4, 5), (5, 3)]
    x = RNG.normal(size=(6, 4))
    expected = relu(relu(normed(x @ first.T + bias, **norm, epsilon=1e-5)) @ second.T)
    np.testing.assert_allclose(up(layers, x), expected)
    np.testing.assert_array_equal(layers[0].kernel, first.T)


def test_layers_keep_the_numbers_of_their_file(tmp_path):
    """Until their weights are asked for, in float64: all of a net at once may not fit."""
    kernel = RNG.normal(size=(4, 5)).astype(jnp.bfloat16)
    save_file({"0.weight": kernel, "1.weight": -kernel.astype("f2")}, tmp_path / "net.safetensors")
    wide, half = read_layers(tmp_path / "net.safetensors")
    assert (wide.kernel.dtype, half.kernel.dtype) == (np.float32, np.float16)
    assert wide.weights.dtype == half.weights.dtype == np.float64
    np.testing.assert_array_equal(wide.weights, kernel.T.astype(float))
    np.testing.assert_array_equal(half.weights, -kernel.astype("f2").T.astype(float))


def test_norms_on_both_sides_of_a_layer():
    first, bias = RNG.normal(size=(5, 4)), RNG.normal(size=5)
    before, after = batch_norm(4), batch_norm(5)
    names = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
    norms = {
        f"{number}.{names[key]}": value
        for number, norm in ((0, before), (2, after))
        for key, value in norm.items()
    }
    (layer,) = find_layers({"1.weight": first, "1.bias": bias, **norms})
    x = RNG.normal(size=(6, 4))
    hidden = normed(x, **before, epsilon=1e-5) @ first.T + bias
    np.testing.assert_allclose(
        x @ layer.weights + layer.bias, normed(hidden, **after, epsilon=1e-5)
    )
    np.testing.assert_array_equal(layer.kernel, first.T)


def keras_file(path, kernel, norm):
    """A file like those of Keras 2: layers out of alphabetical order, 10 after 9."""
    config = {"class_name": "GlorotUniform", "config": {"seed": None}}
    scaling = {"scale": 2.0, "mode": "fan_in", "distribution": "truncated_normal"}
    layers = [
        {"class_name": "Dense", "config": {"name": "dense_9", "kernel_initializer": config}},
        {
            "class_name": "BatchNormalization",
            "config": {"name": "batch_normalization_1", "epsilon": 2e-3},
        },
        {
            "class_name": "Dense",
            "config": {
                "name": "dense_10",
                "kernel_initializer": {"class_name": "VarianceScaling", "config": scaling},
            },
        },
    ]
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": {"layers": layers}}
        )
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [b"dense_9", b"batch_normalization_1", b"dense_10"]
        names = {
            "dense_9": {"kernel:0": kernel},
            "batch_normalization_1": {
                "gamma:0": norm["gamma"], "beta:0": norm["beta"],
                "moving_mean:0": norm["mean"], "moving_variance:0": norm["variance"],
            },
            "dense_10": {"kernel:0": np.ones((kernel.shape[1], 2)), "bias:0": np.array([1.0, 2])},
        }  # fmt: skip
        for layer, tensors in names.items():
            inner = group.create_group(layer)
            # TensorFlow counts its scopes apart from the layers.
            inner.attrs["weight_names"] = [f"{layer}_1/{name}".encode() for name in tensors]
            for name, tensor in tensors.items():
                inner[f"{layer}_1/{name}"] = tensor
        file["optimizer_weights/m/kernel:0"] = kernel


def test_keras_layers_in_their_own_order_with_initialisers(tmp_path):
    kernel, norm = RNG.normal(size=(4, 6)), batch_norm(6)
    keras_file(tmp_path / "net.h5", kernel, norm)
    layers = read_layers(tmp_path / "net.h5")
    names = [f"model_weights/dense_{n}/dense_{n}_1/kernel:0" for n in (9, 10)]
    assert [layer.name for layer in layers] == names
    x = RNG.normal(size=(7, 4))
    hidden = relu(normed(x @ kernel, **norm, epsilon=2e-3))
    np.testing.assert_allclose(
        up(layers, x), relu(hidden.sum(1, keepdims=True) + np.array([[1, 2]]))
    )
    assert [layer.initializer for layer in layers] == ["glorot_uniform", "he_normal"]
    assert [layer.init_var for layer in layers] == [2 / (4 + 6), 2 / 6]
    assert layers[0].norms == (FoldedNorm("batch_normalization_1", 2e-3, False),)


def test_a_batch_norm_elsewhere_is_not_folded():
    norm = {"bn.running_mean": np.ones(3), "bn.running_var": np.ones(3)}
    dense = {"a.weight": RNG.normal(size=(3, 4)), "b.weight": RNG.normal(size=(2, 3))}
    for tensors in ({**norm, **dense}, {**dense, **norm}):
        for layer in find_layers(tensors):
            np.testing.assert_array_equal(layer.weights, layer.kernel)


def test_convolutions_become_matrices():
    """Both layouts, against a convolution at one position written as sums."""
    patch = RNG.normal(size=(3, 3, 2))
    kernel = RNG.normal(size=(3, 3, 2, 5))
    expected = np.array([(patch * kernel[..., out]).sum() for out in range(5)])
    (keras,) = find_layers({"conv/kernel:0": kernel})
    np.testing.assert_allclose(patch.ravel() @ keras.weights, expected)
    (torch,) = find_layers({"conv.weight": kernel.transpose(3, 2, 0, 1)})
    np.testing.assert_allclose(patch.transpose(2, 0, 1).ravel() @ torch.weights, expected)
    assert keras.kernel_size == torch.kernel_size == 9


def test_fans_of_a_convolution_count_its_window(tmp_path):
    np.savez(tmp_path / "net.npz", **{"conv.kernel": RNG.normal(size=(3, 5, 2, 4))})
    layer = read_layers(tmp_path / "net.npz", initializer="glorot_normal")[0]
    assert layer.init_var == 2 / (3 * 5 * 2 + 3 * 5 * 4)
    layer = read_layers(tmp_path / "net.npz", initializer="torch")[0]
    assert layer.init_var == pytest.approx(1 / (3 * 30))


def test_own_and_plain_matrices_are_taken_as_they_are():
    own, plain = RNG.normal(size=(4, 3)), RNG.normal(size=(2, 6))
    tensors = {"layers.0.weights": own, "layers.0.bias": np.arange(3.0), "w": plain}
    first, second = find_layers({**tensors, "steps": np.arange(4), "history": np.ones((2, 3, 4))})
    np.testing.assert_array_equal(first.weights, own)
    np.testing.assert_array_equal(first.bias, [0, 1, 2])
    np.testing.assert_array_equal(second.weights, plain)
    np.testing.assert_array_equal(second.bias, np.zeros(6))


@pytest.fixture
def two(tmp_path):
    arrays = {"a.weight": np.ones((2, 3)), "b.weight": np.ones((4, 2)), "b.bias": np.ones(4)}
    np.savez(tmp_path / "net.npz", **arrays)
    return tmp_path / "net.npz"


def test_one_tensor_can_be_chosen(two):
    assert [layer.name for layer in read_layers(two)] == ["a.weight", "b.weight"]
    assert [layer.name for layer in read_layers(two, "b.weight")] == ["b.weight"]
    with pytest.raises(ValueError, match=r"no layer 'c'; its layers: a.weight, b.weight"):
        read_layers(two, "c")
    with pytest.raises(ValueError, match=r"2 layers end in 'weight'; its layers: a.weight, b"):
        read_layers(two, "weight")


def test_a_matrix_that_is_no_layer_by_its_name_can_be_chosen(tmp_path):
    table = RNG.normal(size=(3, 4))
    arrays = {"fc.weight": np.ones((2, 3)), "table": table, "wte.weight": np.ones((9, 3))}
    np.savez(tmp_path / "net.npz", **arrays)
    (layer,) = chosen = read_layers(tmp_path / "net.npz", "table")
    np.testing.assert_array_equal(layer.weights, table)
    assert (chosen.left_out, chosen.doubts, len(layer.assumed)) == ({}, (), 1)
    with pytest.raises(ValueError, match=r"wte.weight is no layer: an embedding"):
        read_layers(tmp_path / "net.npz", "wte")


def test_files_without_layers_and_unsound_ones_are_refused(tmp_path, two):
    np.savez(tmp_path / "vector.npz", a=np.ones(3))
    with pytest.raises(
        ValueError, match=r"vector.npz: expected layers, weights of two axes or more; got none: a: "
    ):
        read_layers(tmp_path / "vector.npz")
    np.savez(tmp_path / "nan.npz", a=np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match="a: weights must be finite; got NaN"):
        read_layers(tmp_path / "nan.npz")
    with pytest.raises(ValueError, match=r"initializer must be one of glorot_uniform, .*'gloro'"):
        read_layers(two, initializer="gloro")
