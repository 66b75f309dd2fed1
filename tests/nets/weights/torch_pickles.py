"""State dicts as torch would pickle them, made without torch: what the readers are tested on."""

import collections
import io
import pickle
import sys
import types
import zipfile
from contextlib import contextmanager

import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"long": 4}}
STORAGE_NAMES = {"f4": "FloatStorage", "f8": "DoubleStorage", "i8": "LongStorage"}


class Stored:
    """Pickles as torch pickles a storage: by a persistent id."""

    def __init__(self, key, array):
        self.key, self.array = key, np.ascontiguousarray(array).reshape(-1)


class Tensor:
    """Pickles as torch pickles a tensor; offset, shape and strides can be lied about."""

    def __init__(self, stored, shape, strides, offset=0):
        self.arguments = (stored, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        if isinstance(obj, Stored):
            name = STORAGE_NAMES[obj.array.dtype.str[1:]]
            kind = getattr(sys.modules["torch"], name)
            return ("storage", kind, obj.key, "cpu", obj.array.size)
        return None


@contextmanager
def _torch_names():
    """Modules of torch's names, only to pickle by reference."""
    modules = {name: types.ModuleType(name) for name in ("torch", "torch._utils")}

    def _rebuild_tensor_v2(*_):
        raise AssertionError("a reader has no business to call this")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
        "torch._utils", "_rebuild_tensor_v2",
    )  # fmt: skip
    modules["torch._utils"]._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in STORAGE_NAMES.values():
        setattr(modules["torch"], name, type(name, (), {"__module__": "torch"}))
    assert not {*modules} & {*sys.modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def dump(obj):
    """One pickle, in the protocol that torch uses."""
    file = io.BytesIO()
    with _torch_names():
        _Pickler(file, protocol=2).dump(obj)
    return file.getvalue()


def tensor(key, array):
    """A tensor and its storage, honest."""
    strides = tuple(stride // array.itemsize for stride in array.strides)
    stored = Stored(key, array.ravel(order="K"))
    return Tensor(stored, array.shape, strides), stored


def state_dict(arrays):
    """A state dict with the attribute that torch adds, and its storages."""
    pairs = {name: tensor(str(index), array) for index, (name, array) in enumerate(arrays.items())}
    content = collections.OrderedDict((name, pair[0]) for name, pair in pairs.items())
    content._metadata = collections.OrderedDict(version=1)
    return content, [pair[1] for pair in pairs.values()]


def legacy(content, storages):
    """The format before torch 1.6."""
    parts = [dump(one) for one in (MAGIC, PROTOCOL, SYSTEM, content, [s.key for s in storages])]
    for stored in storages:
        parts += [stored.array.size.to_bytes(8, "little"), stored.array.tobytes()]
    return b"".join(parts)


def archive(content, storages):
    """The format from torch 1.6 on."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net/data.pkl", dump(content))
        archive.writestr("net/byteorder", "little")
        for stored in storages:
            archive.writestr(f"net/data/{stored.key}", stored.array.tobytes())
    return file.getvalue()
