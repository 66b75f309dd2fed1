"""What a torch pickle calls by name, made of plain data: nothing is looked up, nothing is called.

Source: torch/_weights_only_unpickler.py for the names that `torch.load(weights_only=True)` admits;
torch/_utils.py for their arguments.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from probrev.plumbing.refusal import Refusal

STORAGES = {
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "BoolStorage": np.dtype("?"),
    "ByteStorage": np.dtype("u1"),
    "CharStorage": np.dtype("i1"),
    "ComplexDoubleStorage": np.dtype("c16"),
    "ComplexFloatStorage": np.dtype("c8"),
    "DoubleStorage": np.dtype("f8"),
    "FloatStorage": np.dtype("f4"),
    "HalfStorage": np.dtype("f2"),
    "IntStorage": np.dtype("i4"),
    "LongStorage": np.dtype("i8"),
    "QInt32Storage": np.dtype("i4"),
    "QInt8Storage": np.dtype("i1"),
    "QUInt2x4Storage": np.dtype("u1"),
    "QUInt4x2Storage": np.dtype("u1"),
    "QUInt8Storage": np.dtype("u1"),
    "ShortStorage": np.dtype("i2"),
    "UntypedStorage": np.dtype("u1"),
}
# Types that a storage of bytes is seen as; others are left out.
_DTYPES = {
    "torch.uint16": np.dtype("u2"), "torch.uint32": np.dtype("u4"), "torch.uint64": np.dtype("u8"),
    "torch.float32": np.dtype("f4"), "torch.float64": np.dtype("f8"),
    "torch.float16": np.dtype("f2"), "torch.bfloat16": np.dtype(jnp.bfloat16),
}  # fmt: skip
_DICTS = ("collections.OrderedDict", "collections.Counter", "collections.defaultdict")
_SETS = ("__builtin__.set", "builtins.set", "__builtin__.frozenset", "builtins.frozenset")
_BYTES = tuple(f"{where}.{what}" for where in ("__builtin__", "builtins")
               for what in ("bytearray", "bytes"))  # fmt: skip
_PLAIN = (
    "torch.device", "torch.serialization._get_layout", "_codecs.encode", "__builtin__.complex",
    "builtins.complex", *_BYTES,
)  # fmt: skip
# What `defaultdict` is made of.
_FACTORIES = tuple(f"{where}.{what}" for where in ("__builtin__", "builtins")
                   for what in ("dict", "float", "int", "list"))  # fmt: skip
_SIZE, _PARAMETER_CLASS = "torch.Size", "torch.nn.parameter.Parameter"
_TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_TENSOR_OF_BYTES = "torch._utils._rebuild_tensor_v3"
_SPARSE = "torch._utils._rebuild_sparse_tensor"
_OF_A_CLASS = "torch._tensor._rebuild_from_type_v2"
_PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
# Tensors that have no array here, and why.
_OTHERS = {
    "torch._utils._rebuild_qtensor": "quantised by torch",
    "torch._utils._rebuild_meta_tensor_no_storage": "a shape without numbers",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_wrapper_subclass": "of a class of its own",
    "torch._utils._rebuild_device_tensor_from_numpy": "of a device of its own",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "of a device of its own",
}
_KNOWN = {
    *_DICTS, *_SETS, *_PLAIN, *_FACTORIES, _SIZE, _PARAMETER_CLASS, *_TENSORS, _TENSOR_OF_BYTES,
    _SPARSE, _OF_A_CLASS, *_PARAMETERS, *_OTHERS, "torch.Tensor", "torch.storage.UntypedStorage",
}  # fmt: skip
# dtypes, layouts, quantisation schemes and classes of tensors, by the ends of their names.
_NAMED_BY = (
    "Tensor", "affine", "symmetric", "qparams", "_coo", "_csr", "_csc", "_bsr", "_bsc", "strided",
)  # fmt: skip
_DTYPE_NAMES = ("bfloat", "bits", "bool", "complex", "float", "int", "qint", "quint", "uint")
MOST_AXES = 32
# Parts of a tuple that is a key.
MOST_PARTS = 10


class DamagedError(Exception):
    """What no state dict that is whole can say."""


class Global(NamedTuple):
    """A name; what it stands for in torch is never looked up."""

    name: str


class Storage(NamedTuple):
    """Numbers in a row, that tensors are views of."""

    key: str
    dtype: np.dtype
    size: int


class Tensor(NamedTuple):
    """A view of a storage, in units of its entries."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Sparse(NamedTuple):
    """Entries at the places that the columns of `indices` name; 0 elsewhere."""

    indices: Tensor
    entries: Tensor
    shape: tuple[int, ...]


class Pairs(NamedTuple):
    """A dict as its keys and values; not made, since a pickle could ask for it again and again."""

    items: list[Any]


class Unread(NamedTuple):
    """A tensor that has no array here."""

    reason: str


def admit(name: str) -> Global:
    """A global, if torch's own reader of weights admits it.

    Raises:
        ValueError: it does not.
    """
    module, _, last = name.rpartition(".")
    is_torch = module == "torch" and (
        last in STORAGES or last.endswith(_NAMED_BY) or last.startswith(_DTYPE_NAMES)
    )
    is_sparse = module in ("torch.sparse", "torch.cuda") and last.endswith("Tensor")
    if name in _KNOWN or is_torch or is_sparse:
        return Global(name)
    raise Refusal(
        f"expected a torch state dict, of tensors only; got a pickle that asks for {name}, "
        "which is refused: nothing of the file was run"
    )


def call(what: Any, arguments: Any) -> Any:
    """What a call would return, made of plain data."""
    if not isinstance(what, Global) or not isinstance(arguments, tuple):
        raise Refusal(f"expected a torch state dict; got a pickle that calls {type(what)}")
    name = what.name
    if name in _DICTS:
        return _dict(arguments)
    if name in (*_SETS, _SIZE, *_PLAIN):
        return arguments[0] if arguments else None
    if name in _OTHERS:
        return Unread(_OTHERS[name])
    if name in (*_PARAMETERS, _PARAMETER_CLASS) and _is_tensor(arguments[:1]):
        return arguments[0]
    if name in _TENSORS:
        return _tensor(*arguments[:4])
    if name == _TENSOR_OF_BYTES:
        return _tensor_of_bytes(arguments)
    if name == _SPARSE:
        return _sparse(*arguments[:2])
    if name == _OF_A_CLASS:
        return call(arguments[0], arguments[2])
    raise Refusal(f"expected a torch state dict; got a pickle that calls {name} otherwise")


def read_storage(reference: Any) -> Storage:
    """A storage by torch's reference to it."""
    kind, type_name, key, _, size, *view = reference
    if kind != "storage" or not isinstance(type_name, Global) or view not in ([], [None]):
        raise DamagedError("a storage of a kind that is not known")
    if type(size) is not int or size < 0 or not isinstance(key, str):
        raise DamagedError(f"a storage {key!r} of size {size!r}")
    return Storage(key, STORAGES[type_name.name.rpartition(".")[2]], size)


def _is_tensor(values: tuple[Any, ...]) -> bool:
    return all(isinstance(one, Tensor | Sparse | Unread) for one in values)


def _dict(arguments: tuple[Any, ...]) -> dict | Pairs:
    """An OrderedDict, a Counter or a defaultdict: of a dict, of pairs, or of nothing."""
    given = arguments[-1] if arguments else None
    if isinstance(given, list):
        return Pairs(given)
    return given if isinstance(given, dict) else {}


def check_key(key: Any, depth: int = 2) -> None:
    """Lets text, numbers and short tuples of them be keys: nothing can hide in these.

    A tuple nested without end would overflow the stack of C when it is hashed.
    """
    if isinstance(key, tuple) and not hasattr(key, "_fields") and depth and len(key) < MOST_PARTS:
        for one in key:
            check_key(one, depth - 1)
    elif not isinstance(key, str | int | float | bytes | Global | None):
        raise DamagedError(f"a dict with a key of type {type(key).__name__}")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    numbers = (offset, *shape, *strides)
    sound = all(type(number) is int and number >= 0 for number in numbers)
    if not (isinstance(storage, Storage) and sound and len(shape) == len(strides) <= MOST_AXES):
        raise DamagedError(f"a tensor of shape {shape}, strides {strides} and offset {offset}")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _tensor_of_bytes(arguments: tuple[Any, ...]) -> Tensor | Unread:
    given, kind = arguments[0], arguments[6]
    if not isinstance(given, Storage) or not isinstance(kind, Global):
        raise DamagedError("a tensor without a storage or a type")
    dtype = _DTYPES.get(kind.name)
    if dtype is None:
        return Unread(f"of type {kind.name}, which needs a scale or is no real number")
    whole = Storage(given.key, dtype, given.size * given.dtype.itemsize // dtype.itemsize)
    return _tensor(whole, *arguments[1:4])


def _sparse(layout: Any, data: Any) -> Sparse | Unread:
    """A sparse tensor by coordinates; those by rows or columns are left out."""
    if len(data) not in (3, 4) or isinstance(data[1], Unread) or not _is_tensor(data[:2]):
        return Unread("sparse, and not by coordinates: save it .to_dense()")
    if len(data) == 4 and isinstance(data[2], Tensor):
        return Unread("sparse by rows or columns: save it .to_dense()")
    indices, entries, shape = data[:3]
    sound = all(type(size) is int and size >= 0 for size in shape) and len(shape) <= MOST_AXES
    if not sound or not isinstance(indices, Tensor) or not isinstance(entries, Tensor):
        raise DamagedError(f"a sparse tensor of shape {shape}")
    return Sparse(indices, entries, tuple(shape))
