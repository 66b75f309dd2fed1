"""A pickle of tensors, read without running anything that it says.

A pickle is a program that could call any function. Nothing of it is run here: `pickletools` tells
its operations apart, the few that a state dict needs are carried out on plain data, a global is
only ever a name that is not looked up, and what a state dict has no need of is refused.

Source: the standard library's pickletools.py, for what each operation does; torch/_utils.py and
torch/serialization.py, for the names.
"""

import pickletools
from typing import IO, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from probrev.plumbing.refusal import Refusal

STORAGES = {
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "BoolStorage": np.dtype("?"),
    "ByteStorage": np.dtype("u1"),
    "CharStorage": np.dtype("i1"),
    "DoubleStorage": np.dtype("f8"),
    "FloatStorage": np.dtype("f4"),
    "HalfStorage": np.dtype("f2"),
    "IntStorage": np.dtype("i4"),
    "LongStorage": np.dtype("i8"),
    "ShortStorage": np.dtype("i2"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {
    "BINFLOAT", "BININT", "BININT1", "BININT2", "BINUNICODE", "BINUNICODE8", "LONG1",
    "SHORT_BINUNICODE",
}  # fmt: skip
_GETS = {"BINGET", "LONG_BINGET"}
_PUTS = {"BINPUT", "LONG_BINPUT", "MEMOIZE"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_DICT = "collections.OrderedDict"
_TENSORS = ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
_PARAMETER = "torch._utils._rebuild_parameter"


class _Global(NamedTuple):
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


def read_pickle(file: IO[bytes]) -> Any:
    """What a pickle makes of plain data and tensors.

    `pickletools` reads the operations one by one; those that a state dict needs are below.

    Raises:
        ValueError: any other operation or global, or no pickle.
    """
    machine = _Machine()
    try:
        for operation, argument, _ in pickletools.genops(file):
            if operation.name == "STOP":
                return machine.stack.pop()
            machine.step(operation.name, argument)
    except Refusal:
        raise
    except (
        _DamagedError, AttributeError, IndexError, KeyError, OverflowError, RecursionError,
        TypeError, ValueError,
    ) as error:  # fmt: skip
        raise Refusal(f"the pickle is damaged or truncated ({error})") from None
    raise Refusal("the pickle is damaged or truncated")


class _DamagedError(Exception):
    """What no state dict that is whole can say."""


class _Machine:
    """The stack machine of pickle, as far as a state dict goes; makes only plain data."""

    def __init__(self):
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carries out one operation."""
        stack = self.stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            stack.append(argument)
        elif name in _GETS:
            stack.append(self.memo[argument])
        elif name in _PUTS:
            self.memo[len(self.memo) if argument is None else argument] = stack[-1]
        elif name in _TUPLES:
            self.stack[-_TUPLES[name] :] = [tuple(stack[-_TUPLES[name] :])]
        else:
            match name:
                case "PROTO" | "FRAME":
                    pass
                case "MARK":
                    self.marks.append(len(stack))
                case "EMPTY_DICT":
                    stack.append({})
                case "EMPTY_LIST":
                    stack.append([])
                case "TUPLE":
                    stack.append(tuple(self.pop_mark()))
                case "APPEND":
                    stack[-2:] = [_extended(stack[-2], [stack[-1]])]
                case "APPENDS":
                    items = self.pop_mark()
                    _extended(stack[-1], items)
                case "SETITEM":
                    stack[-3:] = [_updated(stack[-3], stack[-2:])]
                case "SETITEMS":
                    items = self.pop_mark()
                    _updated(stack[-1], items)
                case "GLOBAL":
                    stack.append(_admit(argument.replace(" ", ".")))
                case "STACK_GLOBAL":
                    stack[-2:] = [_admit(f"{stack[-2]}.{stack[-1]}")]
                case "REDUCE":
                    stack[-2:] = [_call(stack[-2], stack[-1])]
                case "BUILD":  # attributes, such as the _metadata of a state dict: left out
                    stack.pop()
                case "BINPERSID":
                    stack[-1] = _storage(stack[-1])
                case _:
                    raise Refusal(f"expected a torch state dict; got a pickle that uses {name}")

    def pop_mark(self) -> list[Any]:
        """Takes what lies above the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


def _admit(name: str) -> _Global:
    """A global, if state dicts have use for it."""
    module, _, last = name.rpartition(".")
    if name in (_DICT, _PARAMETER, *_TENSORS) or (module == "torch" and last in STORAGES):
        return _Global(name)
    raise Refusal(
        f"expected a torch state dict, of tensors only; got a pickle that asks for {name}, "
        "which is refused: nothing of the file was run"
    )


def _call(what: Any, arguments: Any) -> Any:
    """What a call would return, made of plain data."""
    if not isinstance(what, _Global) or not isinstance(arguments, tuple):
        raise Refusal(f"expected a torch state dict; got a pickle that calls {type(what)}")
    if what.name == _DICT and not arguments:
        return {}
    if what.name == _PARAMETER and isinstance(arguments[0], Tensor):
        return arguments[0]
    if what.name in _TENSORS:
        return _tensor(*arguments[:4])
    raise Refusal(f"expected a torch state dict; got a pickle that calls {what.name} otherwise")


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    numbers = (offset, *shape, *strides)
    sound = all(type(number) is int and number >= 0 for number in numbers)
    if not (isinstance(storage, Storage) and sound and len(shape) == len(strides) <= 32):
        raise _DamagedError(f"a tensor of shape {shape}, strides {strides} and offset {offset}")
    return Tensor(storage, offset, shape, strides)


def _storage(reference: Any) -> Storage:
    kind, type_name, key, _, size, *view = reference
    if kind != "storage" or not isinstance(type_name, _Global) or view not in ([], [None]):
        raise _DamagedError("a storage of a kind that is not known")
    if type(size) is not int or size < 0 or not isinstance(key, str):
        raise _DamagedError(f"a storage {key!r} of size {size!r}")
    return Storage(key, STORAGES[type_name.name.rpartition(".")[2]], size)


def _updated(target: Any, items: list[Any]) -> dict:
    """A dict with more entries; its keys are text or numbers, which nothing can hide in."""
    if not isinstance(target, dict) or len(items) % 2:
        raise _DamagedError("entries of something that is no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | int | float):
            raise _DamagedError(f"a dict with a key of type {type(key).__name__}")
        target[key] = value
    return target


def _extended(target: Any, items: list[Any]) -> list:
    if not isinstance(target, list):
        raise _DamagedError("items of something that is no list")
    target.extend(items)
    return target
