import io
import json
import os
import pickle
import zipfile

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import probrev.nets.weights.files as files
from probrev.nets.weights.files import read_tensors
from tests.nets.weights import torch_pickles

RNG = np.random.default_rng(3)
ARRAYS = {
    "second.weight": RNG.normal(size=(3, 4)).astype("f4"),
    "second.bias": RNG.normal(size=3).astype("f8"),
    "first": RNG.normal(size=(2, 3, 1, 2)).astype("f4"),
    "steps": np.arange(5),
}


def npz(arrays, save=np.savez):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def hdf5(arrays):
    file = io.BytesIO()
    with h5py.File(file, "w") as written:
        for name, array in arrays.items():
            written[name] = array
    return file.getvalue()


FORMATS = {
    "npz": npz(ARRAYS),
    "npz_compressed": npz(ARRAYS, np.savez_compressed),
    "safetensors": safetensors.numpy.save(ARRAYS),
    "hdf5": hdf5(ARRAYS),
    "torch_legacy": torch_pickles.legacy(*torch_pickles.state_dict(ARRAYS)),
    "torch_zip": torch_pickles.archive(*torch_pickles.state_dict(ARRAYS)),
}


@pytest.fixture
def written(tmp_path):
    """Writes bytes to a file whose name says nothing."""

    def write(content):
        (tmp_path / "net.bin").write_bytes(content)
        return tmp_path / "net.bin"

    return write


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_back_what_was_written(name, written):
    found = read_tensors(written(FORMATS[name]))
    assert set(found) == set(ARRAYS)
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(found[key], array, strict=True)


@pytest.mark.parametrize("name", ["npz", "npz_compressed", "torch_legacy", "torch_zip"])
def test_tensors_come_in_the_order_of_the_file(name, written):
    assert list(read_tensors(written(FORMATS[name]))) == list(ARRAYS)


def test_a_single_array_is_called_by_its_file(written):
    array = np.asfortranarray(RNG.normal(size=(3, 5)))
    found = read_tensors(written(npy(array)))
    np.testing.assert_array_equal(found["net"], array, strict=True)


def test_transposed_and_shared_torch_storages(written):
    stored = torch_pickles.Stored("7", np.arange(12.0))
    content = {
        "model": {
            "columns": torch_pickles.Tensor(stored, (3, 2), (1, 4), offset=3),
            "epoch": 4,
            "row": torch_pickles.Tensor(stored, (4,), (1,), offset=8),
        }
    }
    found = read_tensors(written(torch_pickles.archive(content, [stored])))
    np.testing.assert_array_equal(found["model.columns"], [[3, 7], [4, 8], [5, 9]])
    np.testing.assert_array_equal(found["model.row"], [8, 9, 10, 11])
    assert list(found) == ["model.columns", "model.row"]


def test_half_precision_of_safetensors_is_widened(written):
    array = np.array([[1.5, -2], [3, 0.25]], ml_dtypes.bfloat16)
    found = read_tensors(written(safetensors.numpy.save({"a": array})))["a"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[1.5, -2], [3, 0.25]])


@pytest.mark.parametrize("length", [0x80, 0x4B50])
def test_safetensors_whose_header_length_looks_like_another_format(length, written):
    content = safetensors.numpy.save({"a": np.ones(2)})
    size = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + size].rstrip().ljust(length)
    content = length.to_bytes(8, "little") + header + content[8 + size :]
    np.testing.assert_array_equal(read_tensors(written(content))["a"], [1, 1])


@pytest.mark.parametrize("name", [*FORMATS, "npy"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
def test_a_truncated_file_is_refused(name, share, written):
    content = FORMATS.get(name, npy(np.arange(200.0)))
    path = written(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"net.bin: cannot be read as .*: .+") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)


class Attack:
    """A pickle that runs a command, if anyone unpickles it."""

    def __init__(self, marker):
        self.command = f"touch {marker}"

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("wrap", ["plain", "legacy", "archive", "nested"])
def test_a_pickle_that_would_run_a_command_is_refused(wrap, written, tmp_path):
    marker = tmp_path / "ran"
    attack = Attack(marker)
    content = {
        "plain": lambda: pickle.dumps(attack),
        "legacy": lambda: torch_pickles.legacy(attack, []),
        "archive": lambda: torch_pickles.archive(attack, []),
        "nested": lambda: torch_pickles.archive({"weight": [(attack,)]}, []),
    }[wrap]()
    path = written(content)
    with pytest.raises(ValueError, match=r"net.bin: .*asks for posix.system.*nothing.*was run"):
        read_tensors(path)
    assert not marker.exists()
    if wrap == "plain":
        pickle.loads(content)
        assert marker.exists()  # the attack is a real one


@pytest.mark.parametrize("save", [npy, lambda array: npz({"a": array})])
def test_python_objects_in_numpy_files_are_refused(save, written, tmp_path):
    attack = np.array([Attack(tmp_path / "ran")], dtype=object)
    with pytest.raises(ValueError, match="expected an array of numbers; got one of object"):
        read_tensors(written(save(attack)))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((13,), (1,), 0),
        ((3, 2), (4, 4), 1),
        ((2,), (1,), 11),
        ((10**15,), (0,), 0),
        ((2,), (-1,), 1),
        ((2,), (1,), -1),
        ((2, 2), (1,), 0),
        ((True,), (1,), 0),
    ],
)
@pytest.mark.parametrize("save", [torch_pickles.legacy, torch_pickles.archive])
def test_a_tensor_outside_its_storage_is_refused(save, shape, strides, offset, written):
    stored = torch_pickles.Stored("0", np.arange(12.0))
    lying = torch_pickles.Tensor(stored, shape, strides, offset)
    with pytest.raises(ValueError, match=r"does not fit its storage|damaged or truncated"):
        read_tensors(written(save({"w": lying}, [stored])))


def cut_member(content, name, length):
    """An archive with one of its members shortened, checksums and all."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            new.writestr(member, data[:length] if member == name else data)
    return file.getvalue()


def test_a_storage_shorter_than_it_says_is_refused(written):
    content = torch_pickles.state_dict({"w": np.arange(12.0)})
    with pytest.raises(ValueError, match="should have 96 bytes; got 88: the file is truncated"):
        read_tensors(written(torch_pickles.legacy(*content)[:-8]))
    archive = torch_pickles.archive(*content)
    with pytest.raises(ValueError, match="should have 96 bytes; got 40: the file is truncated"):
        read_tensors(written(cut_member(archive, "net/data/0", 40)))


def npy_header(shape):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def test_huge_claims_are_refused_without_memory(written):
    with pytest.raises(ValueError, match=r"needs 8000000000000000 bytes; the file holds 8"):
        read_tensors(written(npy_header((10**15,)) + bytes(8)))
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened.create_dataset("a", shape=(10**13,), dtype="f8", chunks=(1000,))
    with pytest.raises(ValueError, match="cannot be read as an HDF5 file: /a claims"):
        read_tensors(written(file.getvalue()))
    content = safetensors.numpy.save({"a": np.ones(2)}).replace(b"[2]", b"[9]")
    with pytest.raises(ValueError, match="cannot be read as a safetensors file"):
        read_tensors(written(content))


def test_hdf5_arrays_outside_the_file_are_refused(written, tmp_path):
    (tmp_path / "secret").write_bytes(bytes(80))
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        opened.create_dataset("a", (10,), "f8", external=[(str(tmp_path / "secret"), 0, 80)])
        opened["linked"] = h5py.ExternalLink("other.hdf5", "/b")
    with pytest.raises(ValueError, match="/a lies in another file"):
        read_tensors(written(file.getvalue()))


@pytest.mark.parametrize("content", [b"", b"some words\n", b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_other_files_are_refused(content, written):
    with pytest.raises(ValueError, match=r"net.bin: cannot be read as .npy, .npz.*it (begins|is)"):
        read_tensors(written(content))


def test_pickles_and_archives_of_other_things_are_refused(written):
    with pytest.raises(ValueError, match="expected a torch state dict; got another pickle"):
        read_tensors(written(pickle.dumps({"a": 1.5}, protocol=2)))
    with pytest.raises(ValueError, match="got a pickle that uses EXT1"):
        read_tensors(written(b"\x80\x02\x82\x01."))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("notes.txt", "words")
    with pytest.raises(ValueError, match=r"expected one data.pkl in the archive; got 0"):
        read_tensors(written(file.getvalue()))
    with pytest.raises(ValueError, match="expected a state dict; got one without tensors"):
        read_tensors(written(torch_pickles.archive({"epoch": 3}, [])))


def test_a_folder_and_nothing_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a file, .*; got a folder"):
        read_tensors(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing.npz: expected .npy"):
        read_tensors(tmp_path / "nothing.npz")


@pytest.mark.parametrize(
    ("ending", "message"),
    [(b"K\x01s.", "a dict with a key of type tuple"), (b".", "got another pickle")],
)
def test_deeply_nested_pickles_are_refused(ending, message, written):
    """As a key of a dict, such a tuple would overflow the stack of C when it is hashed."""
    deep = b"\x80\x02})" + b"\x85" * 100_000
    with pytest.raises(ValueError, match=message):
        read_tensors(written(deep + ending))


def test_no_unpickler_is_within_reach():
    """The readers never hand a file to pickle."""
    import probrev.nets.weights.torch_pickle as torch_pickle

    for module in (files, torch_pickle):
        assert not hasattr(module, "pickle")


def test_text_of_python_2_and_dicts_by_pairs(written):
    """Protocol 2 as Python 2 wrote it: names as bytes, an OrderedDict of pairs."""
    stored = torch_pickles.Stored("7", np.arange(6.0))
    pickled = torch_pickles.dump({"w": torch_pickles.Tensor(stored, (2, 3), (3, 1))})
    tensor = pickled[pickled.index(b"ctorch._utils") : pickled.rindex(b"s.")]
    pairs = b"\x80\x02ccollections\nOrderedDict\n](](U\x05fc1.w" + tensor + b"ee\x85R."
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net/data.pkl", pairs)
        archive.writestr("net/data/7", stored.array.tobytes())
    found = read_tensors(written(file.getvalue()))
    np.testing.assert_array_equal(found["fc1.w"], stored.array.reshape(2, 3))


def test_what_would_grow_without_end_is_refused(written):
    """A few bytes that ask for many: keys, names, entries of expanded tensors."""
    deep = b"\x80\x02" + b"}U\x01a" * 20_000 + b"N" + b"s" * 20_000 + b"."
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net/data.pkl", deep)
    with pytest.raises(ValueError, match=r"nested without end"):
        read_tensors(written(file.getvalue()))
    stored = torch_pickles.Stored("0", np.arange(2.0))
    wide = {str(n): torch_pickles.Tensor(stored, (2**22,), (0,)) for n in range(5)}
    with pytest.raises(ValueError, match=r"tensor 4 of shape .* does not fit its storage, nor"):
        read_tensors(written(torch_pickles.archive(wide, [stored])))
    keys = b"\x80\x02}(" + b"(" + b"K\x01" * 200 + b"t" + b"K\x01u."
    with pytest.raises(ValueError, match="a dict with a key of type tuple"):
        read_tensors(written(keys))


def test_a_header_that_is_no_python_is_refused(written):
    with pytest.raises(ValueError, match=r"cannot be read as a \.npy file"):
        read_tensors(written(npy(np.ones(2)).replace(b"'descr'", b"'de\x05cr")))


def test_arrays_written_one_after_the_other_are_refused(written):
    with pytest.raises(ValueError, match=r"176 bytes follow an array of shape \(4, 6\)"):
        read_tensors(written(npy(np.ones((4, 6))) + npy(np.ones(6))))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"a": "../net.bin"}}, r"names '../net.bin': expected a file beside it"),
        ({"weight_map": {"a": "gone.bin"}}, "names gone.bin, which is not beside it"),
        ({"weight_map": {"a": "net.bin"}}, "names net.bin, which is another index"),
        ({"weight_map": {"b": "one.safetensors"}}, "one.safetensors has no tensor b, though"),
        ({"weight_map": {}}, "expected an index of shards, with a weight_map"),
        ([1], "it begins with"),
    ],
)
def test_unsound_indices_are_refused(index, message, written, tmp_path):
    safetensors.numpy.save_file({"a": np.ones(2)}, tmp_path / "one.safetensors")
    with pytest.raises(ValueError, match=message):
        read_tensors(written(json.dumps(index).encode()))


@pytest.mark.parametrize("config", ["{", "[]", '{"config": {"layers": [{}]}}', "[" * 100_000])
def test_a_keras_archive_of_no_sound_configuration_is_read_by_paths(config, written):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", hdf5({"layers/dense/vars/0": np.ones((2, 3))}))
    found = read_tensors(written(file.getvalue()))
    assert list(found) == ["layers/dense/vars/0"]


def test_an_archive_that_would_grow_beyond_reason_is_refused(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, w=np.zeros((2**11, 2**11)))
    assert path.stat().st_size < 2**16
    with pytest.raises(ValueError, match=r"with w\.npy it would grow from \d+ to \d+ bytes"):
        read_tensors(path)
