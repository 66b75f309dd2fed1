"""Files of weights, read as tensors by name: NumPy, safetensors, HDF5, Keras and torch."""

import os
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tokenize import TokenError
from zipfile import BadZipFile

import numpy as np
from safetensors import SafetensorError

from probrev.nets.weights.archive import Archive
from probrev.nets.weights.content import Content, without_bfloat16
from probrev.nets.weights.keras_files import CONFIG, VARIABLES, read_hdf5, read_keras_archive
from probrev.nets.weights.npy_files import read_npy, read_npz
from probrev.nets.weights.safetensors_files import join_shards, read_index, read_safetensors
from probrev.nets.weights.torch_files import read_torch_legacy, read_torch_zip
from probrev.plumbing import door
from probrev.plumbing.refusal import MissingFileRefusal, Refusal

FORMATS = ".npy, .npz, safetensors, HDF5, .keras or a torch state dict"
# What a file begins with.
NPY, ZIP, HDF5, PICKLE = b"\x93NUMPY", b"PK", b"\x89HDF\r\n\x1a\n", b"\x80"
# Keys of maps as flax writes them by msgpack, short or long.
MSGPACK = re.compile(rb"[\x81-\x8f\xde\xdf].{0,4}?([\xa0-\xbf]|\xd9.)\w", re.DOTALL)
# One of several files that an index joins.
SHARD = re.compile(r"-\d{5}-of-(?!00001\b)\d{5}\.")
# Bytes of a number; what has more is not the same on every machine.
_MOST_ITEMSIZE = 8
LONG = "numbers of more than 64 bits: save them as float64"
# What the libraries below raise for damaged files.
UNREADABLE = (
    BadZipFile, EOFError, KeyError, MemoryError, NotImplementedError, OSError, OverflowError,
    RuntimeError, SafetensorError, SyntaxError, TokenError, TypeError, ValueError, zlib.error,
)  # fmt: skip


@door.guard(path=door.path)
def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of numbers in a file of weights; runs nothing that it says.

    The format is told by the file's content, not by its name. The tensors come in the order of the
    file; safetensors and HDF5 keep none, so theirs come in the natural order of their names (2
    before 10), or in that of a Keras model's layers. The one array of a .npy file is called by the
    name of the file. Names in HDF5 are paths; those of nested torch dicts and lists are joined by
    dots. Arrays may be read-only views. Arrays of other things than real numbers are left out.

    Args:
        path: .npy, .npz, safetensors (or the index.json of its shards), HDF5 (Keras or other),
            .keras, or a torch state dict of either format (or the index.json of its shards).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is none of these, is truncated, or asks for more than data; the message
            names the file, what was expected and what came.
    """
    tensors = dict(read_content(path).tensors)
    for name in tensors:
        tensors[name] = without_bfloat16(tensors[name])
    return tensors


def read_content(path: str | Path) -> Content:
    """Reads what a file of weights holds, as `read_tensors` describes it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as for `read_tensors`.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileRefusal(f"no file {path}: expected {FORMATS}")
    if not path.is_file():
        got = "a folder" if path.is_dir() else "a pipe, a socket or a device"
        raise Refusal(f"{path}: expected a file, {FORMATS}; got {got}")
    kind, read = FORMATS, _refuse
    try:
        kind, read = _reader(_beginning(path))
        content = read(path)
    except UNREADABLE as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise Refusal(f"{path}: cannot be read as {kind}: {said}") from None
    if not content.tensors:
        why = "".join(f"; {name}: {reason}" for name, reason in [*content.left_out.items()][:3])
        said = f"expected {FORMATS} with arrays of numbers; got {kind} with none"
        raise Refusal(f"{path}: {said}{why}")
    tensors = {
        name: array for name, array in content.tensors.items() if array.itemsize <= _MOST_ITEMSIZE
    }
    left_out = {**content.left_out, **dict.fromkeys(content.tensors.keys() - tensors.keys(), LONG)}
    is_part = SHARD.search(path.name) is not None and read is not _read_shards
    return replace(content, tensors=tensors, left_out=left_out, is_part=is_part)


def _beginning(path: Path) -> bytes:
    """The first bytes of a file; of one that has none, such as those of /proc, none are asked."""
    size = path.stat().st_size
    if size > _memory():
        raise Refusal(f"it has {size} bytes, more than the memory of this machine")
    if not size:
        return b""
    with path.open("rb") as file:
        return file.read(16)


def _memory() -> float:
    """Bytes of memory of this machine, where that is known."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return float("inf")


def _reader(beginning: bytes) -> tuple[str, Callable[[Path], Content]]:
    """What kind of file begins so, and the function that reads it."""
    # The length of a JSON header, which may begin like any of the others, and the header.
    if beginning[4:9] == b"\0\0\0\0{":
        return "a safetensors file", read_safetensors
    if beginning.startswith(NPY):
        return "a .npy file", lambda path: read_npy(path.stem, path.read_bytes())
    if beginning.startswith(HDF5):
        return "an HDF5 file", read_hdf5
    if beginning.startswith(ZIP):
        return "a .npz file, a .keras file or a torch state dict", _read_zip
    if beginning.startswith(PICKLE):
        return "a torch state dict", lambda path: read_torch_legacy(path.read_bytes())
    if beginning.lstrip().startswith(b"{"):
        return "an index of shards", _read_shards
    if MSGPACK.match(beginning):
        return "a msgpack file of flax", _refuse_msgpack
    return FORMATS, _refuse


def _refuse(path: Path) -> Content:
    beginning = _beginning(path)
    raise Refusal(f"it begins with {beginning!r}" if beginning else "it is empty")


def _refuse_msgpack(path: Path) -> Content:
    raise Refusal(
        "save it as safetensors or .npz: flax.traverse_util.flatten_dict(variables, sep='/') is "
        "what safetensors.flax.save_file and numpy.savez take"
    )


def _read_zip(path: Path) -> Content:
    with Archive(path) as archive:
        names = archive.names
        if names and all(name.endswith(".npy") for name in names):
            return read_npz(archive)
        if {CONFIG, VARIABLES} <= {*names}:
            return read_keras_archive(archive)
        return read_torch_zip(archive)


def _read_shards(path: Path) -> Content:
    shards, files = read_index(path)
    contents = {}
    for file in files:
        _, read = _reader(_beginning(file))
        if read is _read_shards:
            raise Refusal(f"the index names {file.name}, which is another index")
        contents[file.name] = read(file)
    return join_shards(shards, contents)
