"""Tensors of a torch state dict, read without torch, and without running anything the file says.

`torch_pickle` reads the names, shapes and places of the tensors; here the storages are cut by
checked bounds, and what a file spreads over more entries than it holds has a bound of its own.

Source: torch's serialization.py. Both formats: that of torch 1.6 and later (a zip archive with
`data.pkl` and a file a storage), and the earlier one (pickles, then the storages).
"""

import math
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Any

import numpy as np

from probrev.nets.weights.archive import Archive
from probrev.nets.weights.content import Content
from probrev.nets.weights.exclusions import OPTIMIZER
from probrev.nets.weights.torch_objects import (
    DamagedError,
    Global,
    Pairs,
    Sparse,
    Storage,
    Tensor,
    Unread,
    check_key,
)
from probrev.nets.weights.torch_pickle import read_pickle, read_pickle_and_storages
from probrev.plumbing.refusal import Refusal

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
# Entries that the expanded and sparse tensors of a file may have beyond those that it holds.
MOST_SPREAD = 2**24
LONGEST_NAME = 10_000
# Of a size or a stride, in entries: more bytes cannot be counted.
_MOST_EXTENT = 2**59

Found = dict[str, Tensor | Sparse | Unread]
Load = Callable[[str], bytes]


def read_torch_zip(archive: Archive) -> Content:
    """Reads a state dict that torch 1.6 or later wrote.

    Raises:
        ValueError: it is none, or refers to anything but tensors and plain data.
    """
    pickles = [name for name in archive.names if name.split("/")[-1] == "data.pkl"]
    if len(pickles) != 1:
        raise Refusal(f"expected one data.pkl in the archive; got {len(pickles)}")
    folder = pickles[0].removesuffix("data.pkl")
    order = f"{folder}byteorder"
    if order in archive.names and archive.read(order).strip() != b"little":
        raise Refusal("expected little-endian storages; these are big-endian")
    tree = read_pickle(BytesIO(archive.read(pickles[0])))
    return _content(tree, lambda key: archive.read(f"{folder}data/{key}"))


def read_torch_legacy(content: bytes) -> Content:
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
    tree, pickled = read_pickle_and_storages(file)
    keys = read_pickle(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Refusal("expected a list of storages after the state dict; got none")
    known = {storage.key: storage for storage in pickled}
    storages = {}
    for key in keys:
        size = int.from_bytes(file.read(8), "little", signed=True)
        if key not in known or size != known[key].size:
            raise Refusal(f"storage {key!r} is not the one that the state dict names")
        storages[key] = file.read(size * known[key].dtype.itemsize)
    return _content(tree, lambda key: storages.get(key, b""))


def _content(tree: Any, load: Load) -> Content:
    found, optimizer = _flatten(tree)
    left_out = dict.fromkeys(optimizer, OPTIMIZER)
    storages: dict[Storage, np.ndarray] = {}
    contents: dict[str, bytes] = {}
    sizes: dict[str, int] = {}
    for storage in _storages(found):  # several may be of one key, and share its bytes
        if storage.key not in contents:
            contents[storage.key] = load(storage.key)
        storages[storage] = _array(storage, contents[storage.key])
        sizes[storage.key] = max(storage.size, sizes.get(storage.key, 0))
    tensors: dict[str, np.ndarray] = {}
    room = MOST_SPREAD + sum(sizes.values())
    for name, one in found.items():
        if isinstance(one, Unread):
            left_out[name] = one.reason
            continue
        room -= math.prod(one.shape)
        if room < 0:
            raise Refusal(
                f"tensor {name} of shape {one.shape} does not fit its storage, nor what tensors "
                f"that share, expand or leave out zeros may have beyond it, {MOST_SPREAD} entries"
            )
        if isinstance(one, Tensor):
            array = _view(name, one, storages[one.storage])
        else:
            array = _dense(name, one, storages)
        if array.dtype.kind == "c":
            left_out[name] = "complex numbers"
        else:
            tensors[name] = array
    return Content(tensors, left_out)


def _storages(found: Found) -> Iterator[Storage]:
    for one in found.values():
        if isinstance(one, Tensor):
            yield one.storage
        elif isinstance(one, Sparse):
            yield from (one.indices.storage, one.entries.storage)


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
    numbers = (*tensor.shape, *tensor.strides, tensor.offset)
    if (count and last >= storage.size) or max(numbers) > _MOST_EXTENT:
        raise Refusal(
            f"tensor {name} of shape {tensor.shape} does not fit its storage of {storage.size}"
        )
    strides = [stride * storage.itemsize for stride in tensor.strides]
    start = storage[tensor.offset :] if count else storage[:0]
    return np.lib.stride_tricks.as_strided(start, tensor.shape, strides, writeable=False)


def _dense(name: str, sparse: Sparse, storages: dict[Storage, np.ndarray]) -> np.ndarray:
    """A sparse tensor with its zeros; entries at one place are added, as torch does."""
    indices = _view(name, sparse.indices, storages[sparse.indices.storage])
    entries = _view(name, sparse.entries, storages[sparse.entries.storage])
    num_axes = len(indices) if indices.ndim == 2 else -1
    fits = (
        indices.dtype.kind in "iu" and 0 <= num_axes <= len(sparse.shape)
        and entries.shape == (indices.shape[1], *sparse.shape[num_axes:])
        and all(((one >= 0) & (one < size)).all()
                for one, size in zip(indices, sparse.shape, strict=False))
    )  # fmt: skip
    if not fits:
        raise Refusal(f"tensor {name}: its places do not fit its shape {sparse.shape}")
    dense = np.zeros(sparse.shape, entries.dtype)
    np.add.at(dense, tuple(indices), entries)
    return dense


def _flatten(tree: Any) -> tuple[Found, Found]:
    """Tensors of nested dicts and lists, names joined by dots, and apart those of optimisers.

    A dict with the keys that torch's optimisers save is told by these, whatever its own key is.
    """
    found: Found = {}
    optimizer: Found = {}
    seen: set[int] = set()
    waiting: list[tuple[str, Any, Found]] = [("", tree, found)]
    while waiting:
        prefix, one, target = waiting.pop()
        if isinstance(one, Tensor | Sparse | Unread):
            name = prefix or "tensor"
            while name in found or name in optimizer:
                name += "'"
            target[name] = one
        elif isinstance(one, dict | list | tuple) and not isinstance(one, Global | Storage):
            held = one.items if isinstance(one, Pairs) else one
            if id(held) in seen:
                continue
            seen.add(id(held))
            items = [(_text(key), value) for key, value in _items(one)]
            if {"state", "param_groups"} <= {key for key, _ in items}:
                target = optimizer
            dot = f"{prefix}." if prefix else ""
            if len(dot) > LONGEST_NAME:
                raise Refusal("expected a state dict; got one that is nested without end")
            waiting += reversed([(f"{dot}{key}", value, target) for key, value in items])
    if not found:
        what = "the state of an optimiser alone" if optimizer else "one without tensors"
        raise Refusal(f"expected a state dict; got {what}")
    return found, optimizer


def _items(one: dict | list | tuple | Pairs) -> Iterable[tuple[Any, Any]]:
    """Keys and values of a dict, indices and items of a list."""
    if isinstance(one, dict):
        return one.items()
    if not isinstance(one, Pairs):
        return enumerate(one)
    try:
        for key, _ in one.items:
            check_key(key)
    except (DamagedError, TypeError, ValueError) as error:
        raise Refusal(f"the pickle is damaged or truncated ({error})") from None
    return ((key, value) for key, value in one.items)


def _text(key: Any) -> str:
    """A key as part of a name."""
    if isinstance(key, tuple) and not isinstance(key, Global):
        return ",".join(map(_text, key))
    if isinstance(key, bytes):
        return key.decode("latin1")
    return key.name if isinstance(key, Global) else str(key)
