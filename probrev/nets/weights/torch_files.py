"""Tensors of a torch state dict, read without torch, and without running anything the file says.

`torch_pickle` reads the names, shapes and places of the tensors; here the storages are cut by
checked bounds, and no array is larger than what the file holds.

Source: torch's serialization.py. Both formats: that of torch 1.6 and later (a zip archive with
`data.pkl` and a file a storage), and the earlier one (pickles, then the storages).
"""

import math
from collections.abc import Callable
from io import BytesIO
from typing import Any
from zipfile import ZipFile

import numpy as np

from probrev.nets.weights.archive import read_member
from probrev.nets.weights.torch_pickle import Storage, Tensor, read_pickle
from probrev.plumbing.refusal import Refusal

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


def read_torch_zip(archive: ZipFile) -> dict[str, np.ndarray]:
    """Reads a state dict that torch 1.6 or later wrote.

    Raises:
        ValueError: it is none, or refers to anything but tensors and plain data.
    """
    pickles = [name for name in archive.namelist() if name.split("/")[-1] == "data.pkl"]
    if len(pickles) != 1:
        raise Refusal(f"expected one data.pkl in the archive; got {len(pickles)}")
    folder = pickles[0].removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in archive.namelist() and read_member(archive, order).strip() != b"little":
        raise Refusal("expected little-endian storages; these are big-endian")
    tree = read_pickle(BytesIO(read_member(archive, pickles[0])))
    return _tensors(tree, lambda storage: read_member(archive, f"{folder}data/{storage.key}"))


def read_torch_legacy(content: bytes) -> dict[str, np.ndarray]:
    """Reads a state dict that torch before 1.6 wrote.

    Raises:
        ValueError: it is none, or refers to anything but tensors and plain data.
    """
    file = BytesIO(content)
    if read_pickle(file) != LEGACY_MAGIC:
        raise Refusal("expected a torch state dict; got another pickle")
    protocol, system = read_pickle(file), read_pickle(file)
    if protocol != LEGACY_PROTOCOL or not isinstance(system, dict):
        raise Refusal(f"expected protocol {LEGACY_PROTOCOL}; got another")
    if system.get("little_endian") is not True:
        raise Refusal("expected little-endian storages; these are big-endian")
    tree, keys = read_pickle(file), read_pickle(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Refusal("expected a list of storages after the state dict; got none")
    known = {tensor.storage.key: tensor.storage for tensor in _flatten(tree).values()}
    storages = {}
    for key in keys:
        size = int.from_bytes(file.read(8), "little", signed=True)
        if key not in known or size != known[key].size:
            raise Refusal(f"storage {key!r} is not the one that the state dict names")
        storages[key] = file.read(size * known[key].dtype.itemsize)
    return _tensors(tree, lambda storage: storages.get(storage.key, b""))


def _tensors(tree: Any, load: Callable[[Storage], bytes]) -> dict[str, np.ndarray]:
    found = _flatten(tree)
    storages: dict[Storage, np.ndarray] = {}
    for tensor in found.values():
        if tensor.storage not in storages:
            storages[tensor.storage] = _array(tensor.storage, load(tensor.storage))
    return {name: _view(name, one, storages[one.storage]) for name, one in found.items()}


def _array(storage: Storage, content: bytes) -> np.ndarray:
    expected = storage.size * storage.dtype.itemsize
    if len(content) < expected:
        raise Refusal(
            f"storage {storage.key!r} should have {expected} bytes; got {len(content)}: "
            "the file is truncated"
        )
    return np.frombuffer(content, storage.dtype, storage.size)


def _view(name: str, tensor: Tensor, storage: np.ndarray) -> np.ndarray:
    """The entries of a tensor, once it is certain that all of them lie in the storage."""
    extents = zip(tensor.shape, tensor.strides, strict=True)
    last = tensor.offset + sum((size - 1) * stride for size, stride in extents)
    count = math.prod(tensor.shape)
    if count and (last >= storage.size or count > storage.size):
        raise Refusal(
            f"tensor {name} of shape {tensor.shape} does not fit its storage of {storage.size}"
        )
    strides = [stride * storage.itemsize for stride in tensor.strides]
    start = storage[tensor.offset :] if count else storage[:0]
    return np.lib.stride_tricks.as_strided(start, tensor.shape, strides, writeable=False)


def _flatten(tree: Any) -> dict[str, Tensor]:
    """Tensors of nested dicts, names joined by dots; everything else in them is left out."""
    if not isinstance(tree, dict):
        raise Refusal(f"expected a dict of tensors; got {type(tree).__name__}")
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("", tree)]
    while waiting:
        prefix, one = waiting.pop()
        if isinstance(one, Tensor):
            found[prefix] = one
        elif isinstance(one, dict) and id(one) not in seen:
            seen.add(id(one))
            dot = f"{prefix}." if prefix else ""
            inner = [(f"{dot}{key}", value) for key, value in one.items()]
            waiting += reversed(inner)
    if not found:
        raise Refusal("expected a state dict; got one without tensors")
    return found
