"""How the inputs of real nets are made, against plain loops; and what is said of absent files."""

import numpy as np
import pytest

from analyses import third_party
from analyses.reversal import real_nets, sound


def test_convolutions_against_plain_loops():
    rng = np.random.default_rng(0)
    channels, tensors = (1, 3, 2, 4), {}
    for layer, c_in, c_out in zip(real_nets.CONVOLUTIONS, channels[:-1], channels[1:], strict=True):
        tensors[f"{layer}.weight"] = rng.normal(size=(c_out, c_in, 3, 3))
        tensors[f"{layer}.bias"] = rng.normal(size=c_out)
    pixels = rng.random(size=(2, 784))
    found = real_nets.read_digits(tensors, pixels)
    assert found.shape == (2, 4 * 3 * 3)
    for image, features in zip(pixels, found, strict=True):
        maps = (image.reshape(1, 28, 28) - 0.1307) / 0.3081
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


def test_the_two_sets_of_inputs_share_no_group():
    labels = np.repeat([0, 1, 2], [30, 12, 1])
    groups = np.r_[np.repeat(np.arange(10), 3), np.repeat([10, 11, 12], 4), 13]
    fit, rows = real_nets.split_groups(labels, groups, 100)
    assert sorted([*fit, *rows]) == list(range(43))
    assert not {*groups[fit]} & {*groups[rows]}
    assert len({*groups[fit]} & {*range(10)}) == 5
    assert len({*groups[fit]} & {10, 11, 12}) == 2
    few = real_nets.split_groups(labels, groups, 4)
    np.testing.assert_array_equal(few[0], fit[:4])
    np.testing.assert_array_equal(few[1], rows[:4])


def test_sound_goes_through_convolutions_to_the_dense_layers(packages, monkeypatch):
    folder = packages / "inaSpeechSegmenter"
    folder.mkdir()
    (folder / "keras_speech_music_cnn.hdf5").touch()
    rng = np.random.default_rng(4)
    kernel, bias = rng.normal(size=(3, 2, 1, 2)), rng.normal(size=2)
    one = real_nets.Convolution(kernel, bias, "VALID")
    shapes = (("conv", (6, 2), 6), ("dense", (24, 5), 1), ("dense_1", (5, 2), 1))
    layers = []
    for name, shape, size in shapes:
        W = rng.normal(size=shape)
        layers.append(real_nets.pr.TrainedLayer(name, W, np.ones(shape[1]), size))
    mels, files = rng.normal(size=(8, 5, 5)), np.repeat(np.arange(4), 2)
    patches = sound.Patches(mels, np.zeros(8, int), files)
    monkeypatch.setattr(real_nets.pr, "read_layers", lambda path: layers)
    monkeypatch.setattr(real_nets, "read_keras", lambda path: [one])
    monkeypatch.setattr(real_nets, "load_patches", lambda: patches)
    net = real_nets.load_net("ina-speech-music", 10, packages)
    np.testing.assert_array_equal(net.weights[0], layers[1].weights)
    np.testing.assert_array_equal(net.readout[0], layers[2].weights)
    assert len(net.x_fit) == len(net.x) == len(net.labels) == 4
    expected = set()
    for patch in mels:
        maps = [
            [max(0, (patch[i : i + 3, j : j + 2] * kernel[..., 0, c]).sum() + bias[c])
             for c in range(2)]
            for i in range(3) for j in range(4)
        ]  # fmt: skip
        expected.add(tuple(np.round(maps, 8).ravel()))
    assert {tuple(np.round(x, 8)) for x in (*net.x_fit, *net.x)} == expected


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits-keep.8-2", "to make it: .* --set names=digits-keep.8 --set seeds=2"),
        ("ina-speech-music", "to install it: uv pip install .* inaSpeechSegmenter==0.6.8"),
        ("digit-recognizer", "to install it: uv pip install .* digit-recognizer-py==0.1.0"),
        ("tiara-5", "to install it: uv pip install .* tiara==1.0.3"),
    ],
)
def test_absent_files(packages, name, message):
    with pytest.raises(FileNotFoundError, match=message):
        real_nets.load_net(name, 10, packages)


@pytest.mark.parametrize(("package", "label"), [("alsa-utils", 0), ("frozen-bubble-data", 1)])
def test_absent_sound(tmp_path, monkeypatch, package, label):
    file = sound.FILES[label][0]
    monkeypatch.setitem(third_party.FOLDERS, file[0], tmp_path)
    with pytest.raises(FileNotFoundError, match=f"to install it: apt-get install {package}"):
        third_party.find(*file)


def test_unknown_net():
    with pytest.raises(ValueError, match=r"name must be one of digits-0, .*; got 'resnet'"):
        real_nets.load_net("resnet", 10)
