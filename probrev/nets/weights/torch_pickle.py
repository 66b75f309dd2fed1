"""A pickle of tensors, read without running anything that it says.

A pickle is a program that could call any function. Nothing of it is run here: `pickletools` tells
its operations apart, the few that a state dict needs are carried out on plain data, a global is
only ever a name that is not looked up, and what a state dict has no need of is refused.

Source: the standard library's pickletools.py, for what each operation does.
"""

import pickletools
from typing import IO, Any

from probrev.nets.weights.torch_objects import (
    DamagedError,
    Storage,
    admit,
    call,
    check_key,
    read_storage,
)
from probrev.plumbing.refusal import Refusal

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {
    "BINBYTES", "BINBYTES8", "BINFLOAT", "BININT", "BININT1", "BININT2", "BINSTRING", "BINUNICODE",
    "BINUNICODE8", "BYTEARRAY8", "LONG1", "LONG4", "SHORT_BINBYTES", "SHORT_BINSTRING",
    "SHORT_BINUNICODE",
}  # fmt: skip
_GETS = {"BINGET", "LONG_BINGET"}
_PUTS = {"BINPUT", "LONG_BINPUT", "MEMOIZE"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
# Operations: each may make an object of many times the bytes that it is written in.
_MOST_STEPS = 2**21
_EMPTY = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": list}


def read_pickle(file: IO[bytes]) -> Any:
    """What a pickle makes of plain data and tensors; a set is a list, an object a name.

    `pickletools` reads the operations one by one; those that a state dict needs are below.

    Raises:
        ValueError: any other operation or global, or no pickle.
    """
    return read_pickle_and_storages(file)[0]


def read_pickle_and_storages(file: IO[bytes]) -> tuple[Any, list[Storage]]:
    """The same, and every storage that the pickle names.

    Raises:
        ValueError: as for `read_pickle`.
    """
    machine = _Machine()
    try:
        for number, (operation, argument, _) in enumerate(pickletools.genops(file)):
            if number == _MOST_STEPS:
                raise Refusal(f"the pickle has more than {_MOST_STEPS} operations")
            if operation.name == "STOP":
                return machine.stack.pop(), machine.storages
            machine.step(operation.name, argument)
    except Refusal:
        raise
    except (
        DamagedError, AttributeError, IndexError, KeyError, OverflowError, RecursionError,
        TypeError, ValueError,
    ) as error:  # fmt: skip
        raise Refusal(f"the pickle is damaged or truncated ({error})") from None
    raise Refusal("the pickle is damaged or truncated")


class _Machine:
    """The stack machine of pickle, as far as a state dict goes; makes only plain data."""

    def __init__(self):
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: list[Storage] = []

    def step(self, name: str, argument: Any) -> None:
        """Carries out one operation."""
        stack = self.stack
        if name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            stack.append(argument)
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _GETS:
            stack.append(self.memo[argument])
        elif name in _PUTS:
            self.memo[len(self.memo) if argument is None else argument] = stack[-1]
        elif name in _TUPLES:
            stack[-_TUPLES[name] :] = [tuple(stack[-_TUPLES[name] :])]
        else:
            self.build(name, argument)

    def build(self, name: str, argument: Any) -> None:
        """Carries out an operation on what lies on the stack."""
        stack = self.stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self.marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(self.pop_mark()))
            case "FROZENSET":
                stack.append(self.pop_mark())
            case "APPEND":
                stack[-2:] = [_extended(stack[-2], [stack[-1]])]
            case "APPENDS" | "ADDITEMS":
                items = self.pop_mark()
                _extended(stack[-1], items)
            case "SETITEM":
                stack[-3:] = [_updated(stack[-3], stack[-2:])]
            case "SETITEMS":
                items = self.pop_mark()
                _updated(stack[-1], items)
            case "GLOBAL":
                stack.append(admit(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                stack[-2:] = [admit(f"{stack[-2]}.{stack[-1]}")]
            case "REDUCE" | "NEWOBJ":
                stack[-2:] = [call(stack[-2], stack[-1])]
            case "BUILD":  # attributes, such as the _metadata of a state dict: left out
                stack.pop()
            case "BINPERSID":
                stack[-1] = read_storage(stack[-1])
                self.storages.append(stack[-1])
            case _:
                raise Refusal(f"expected a torch state dict; got a pickle that uses {name}")

    def pop_mark(self) -> list[Any]:
        """Takes what lies above the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


def _updated(target: Any, items: list[Any]) -> dict:
    """A dict with more entries; its keys are text or numbers, which nothing can hide in."""
    if not isinstance(target, dict) or len(items) % 2:
        raise DamagedError("entries of something that is no dict")
    for key, value in zip(items[::2], items[1::2], strict=True):
        check_key(key)
        target[key] = value
    return target


def _extended(target: Any, items: list[Any]) -> list:
    if not isinstance(target, list):
        raise DamagedError("items of something that is no list")
    target.extend(items)
    return target
