"""How the inputs of real nets are made, against plain loops; and what is said of absent files."""

from itertools import pairwise

import numpy as np
import pytest

from analyses.reversal import real_nets


def test_convolutions_against_plain_loops():
    rng = np.random.default_rng(0)
    channels, tensors = (1, 3, 2, 4), {}
    for layer, c_in, c_out in zip(real_nets.CONVOLUTIONS, channels[:-1], channels[1:], strict=True):
        tensors[f"{layer}.weight"] = rng.normal(size=(c_out, c_in, 3, 3))
        tensors[f"{layer}.bias"] = rng.normal(size=c_out)
    pixels = rng.normal(size=(2, 784))
    found = real_nets.convolve(tensors, pixels)
    assert found.shape == (2, 4 * 3 * 3)
    for image, features in zip(pixels, found, strict=True):
        maps = image.reshape(1, 28, 28)
        for layer in real_nets.CONVOLUTIONS:
            maps = plain_block(maps, tensors[f"{layer}.weight"], tensors[f"{layer}.bias"])
        np.testing.assert_allclose(features, maps.ravel(), rtol=1e-9, atol=1e-9)


def plain_block(maps, kernel, bias):
    """3 x 3 convolution as torch has it, r, and the largest of every 2 x 2."""
    _, height, width = maps.shape
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    out = np.empty((len(kernel), height, width))
    for channel, row, column in np.ndindex(*out.shape):
        patch = padded[:, row : row + 3, column : column + 3]
        out[channel, row, column] = max(0, (kernel[channel] * patch).sum() + bias[channel])
    pooled = np.empty((len(kernel), height // 2, width // 2))
    for channel, row, column in np.ndindex(*pooled.shape):
        pooled[channel, row, column] = out[channel, 2 * row : 2 * row + 2, 2 * column :][
            :, :2
        ].max()
    return pooled


def test_accuracy_and_stack_are_the_nets_own():
    rng = np.random.default_rng(1)
    weights = (rng.normal(size=(6, 5)), rng.normal(size=(5, 4)))
    biases = (rng.normal(size=5), rng.normal(size=4))
    readout = (rng.normal(size=(4, 3)), rng.normal(size=3))
    x = np.abs(rng.normal(size=(50, 6)))
    h = x
    for W, b in zip(weights, biases, strict=True):
        h = np.maximum(h @ W + b, 0)
    labels = (h @ readout[0] + readout[1]).argmax(1)
    labels[:10] = (labels[:10] + 1) % 3
    net = real_nets.RealNet("net", weights, biases, readout, x, x, labels)
    assert net.accuracy == 0.8
    np.testing.assert_allclose(net.stack(0.5)(x), h)


def test_pruned_net_is_the_same_function_of_its_inputs():
    rng = np.random.default_rng(2)
    weights = (rng.normal(size=(6, 9)), rng.normal(size=(9, 4)))
    biases = (np.where(np.arange(9) % 3, -0.1, -99.0), np.array([0.5, -99.0, 0.3, 0.4]))
    x = np.abs(rng.normal(size=(40, 6)))
    x[:, 2] = 0
    readout = (rng.normal(size=(4, 3)), rng.normal(size=3))
    labels = rng.integers(3, size=40)
    net = real_nets.RealNet("net", weights, biases, readout, x, x, labels)
    activations = net.stack(1.0).activations(x)
    pruned = net.prune(activations)
    widths = [int((np.asarray(level) > 0).any(0).sum()) for level in activations]
    assert [matrix.shape for matrix in pruned.weights] == [*pairwise(widths)]
    assert widths[0] == 5
    assert 0 < widths[1] <= 6
    assert 0 < widths[2] <= 3
    assert pruned.accuracy == net.accuracy
    for whole, part in zip(activations, pruned.stack(1.0).activations(pruned.x), strict=True):
        live = (np.asarray(whole) > 0).any(0)
        np.testing.assert_allclose(np.asarray(whole)[:, live], part, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits", r"to make it: .* analyses\.train_nets compute .* --set names=digits"),
        ("digit-recognizer", "to install it: uv pip install .* digit-recognizer-py==0.1.0"),
        ("tiara-5", "to install it: uv pip install .* tiara==1.0.3"),
    ],
)
def test_absent_files(packages, name, message):
    with pytest.raises(FileNotFoundError, match=message):
        real_nets.load_net(name, 10, packages)


def test_unknown_net():
    with pytest.raises(ValueError, match=r"name must be one of digits, .*; got 'resnet'"):
        real_nets.load_net("resnet", 10)
