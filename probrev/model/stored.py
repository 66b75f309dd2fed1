"""Models as data: numbers by name, and the rest as JSON; never code.

What can be stored is what probrev's and NumPyro's own classes make of numbers: classes that
`pytree` has registered, by their fields; distributions, by the arguments that make them;
activations, by their fields. Functions, and classes of one's own, cannot.
"""

import dataclasses
import hashlib
import importlib
import inspect
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from probrev.model.activations import Activation
from probrev.plumbing.fields import FIELDS
from probrev.plumbing.refusal import Refusal

# Packages whose classes are named in what is stored, and made again from it.
_PACKAGES = ("probrev.", "numpyro.distributions.")


class Parts(NamedTuple):
    """An object taken apart.

    Attributes:
        structure: of values that JSON has; an array is `{"array": its name}`.
        arrays: by name.
    """

    structure: Any
    arrays: dict[str, np.ndarray]


def take_apart(value: Any) -> Parts:
    """A model, or a part of one, as data.

    Raises:
        ValueError: it holds a function, or an object of a class of one's own.
    """
    arrays: dict[str, np.ndarray] = {}
    return Parts(_structure(value, arrays), arrays)


def put_together(parts: Parts) -> Any:
    """The object that was taken apart.

    Raises:
        ValueError: what is stored does not fit the classes of this version.
    """
    try:
        return _object(parts.structure, parts.arrays)
    except Refusal:
        raise
    except Exception as error:  # a file may hold anything, and a constructor raise anything
        said = f"{type(error).__name__}: {error}"
        raise Refusal(f"what was stored does not fit this version: {said}") from error


def digest(parts: Parts, *also: Any) -> str:
    """SHA-256 of an object taken apart, and of the numbers in further trees of arrays.

    In what order a tree has them does not matter: NumPyro's distributions list theirs in one that
    each process draws anew.
    """
    found = hashlib.sha256(json.dumps(parts.structure, sort_keys=True).encode())
    for array in parts.arrays.values():
        found.update(_digest(array))
    for one in sorted(_digest(np.asarray(leaf)) for leaf in jax.tree.leaves(also)):
        found.update(one)
    return found.hexdigest()


def _digest(array: np.ndarray) -> bytes:
    head = f"{array.dtype}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).digest()


def _structure(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The structure of a value, whose arrays are put among the others."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        name = f"array_{len(arrays)}"
        arrays[name] = np.asarray(value)
        return {"array": name, "jax": isinstance(value, jax.Array)}
    fields = _fields(value)
    if fields is not None:
        made = {name: _structure(one, arrays) for name, one in fields.items()}
        return {"class": _path(type(value)), "fields": made}
    if isinstance(value, tuple | list):
        items = [_structure(one, arrays) for one in value]
        return {"list": items} if isinstance(value, list) else {"tuple": items}
    name = getattr(value, "__qualname__", type(value).__qualname__)
    what = "function" if callable(value) else "object"
    raise Refusal(f"{name} is a {what}, and cannot be stored as numbers")


def _fields(value: Any) -> dict[str, Any] | None:
    """What an object of a class is made again from, by name; None for what is no such object."""
    kind = type(value)
    names = _names(kind)
    if names is None:
        return None
    if isinstance(value, dist.Distribution):
        return {name: getattr(value, name, None) for name in names}
    return {name: getattr(value, name) for name in names}


def _names(kind: type) -> tuple[str, ...] | None:
    """Names of what objects of a class are made again from; None for a class of another kind."""
    if issubclass(kind, tuple):
        return getattr(kind, "_fields", None)
    registered = vars(kind).get(FIELDS)
    if registered is not None:
        return (*registered.data, *registered.meta)
    if issubclass(kind, dist.Distribution):
        return _parameters(kind)
    if issubclass(kind, Activation) and dataclasses.is_dataclass(kind):
        return tuple(one.name for one in dataclasses.fields(kind))
    return None


def _parameters(kind: type) -> tuple[str, ...]:
    """Names of the arguments that a distribution is made from."""
    return tuple(name for name in inspect.signature(kind).parameters if name != "validate_args")


def _path(kind: type) -> str:
    """Where a class is found again.

    Raises:
        ValueError: it is one of the user's own.
    """
    if not f"{kind.__module__}.".startswith(_PACKAGES):
        raise Refusal(f"{kind.__qualname__} is a class of one's own, of which only code knows all")
    return f"{kind.__module__}:{kind.__qualname__}"


def _object(structure: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The value that a structure and arrays stand for."""
    if not isinstance(structure, dict):
        return structure
    if "array" in structure:
        array = arrays[structure["array"]]
        return jnp.asarray(array) if structure["jax"] else array
    for name, kind in (("list", list), ("tuple", tuple)):
        if name in structure:
            return kind(_object(one, arrays) for one in structure[name])
    kind, names = _class(structure["class"])
    fields = {name: _object(one, arrays) for name, one in structure["fields"].items()}
    if set(fields) != set(names):
        raise Refusal(
            f"what was stored makes a {kind.__name__} of {', '.join(fields) or 'nothing'}; "
            f"expected {', '.join(names)}"
        )
    if FIELDS not in vars(kind):
        return kind(**fields)
    made = object.__new__(kind)  # as `pytree` does: all numbers are there, derived ones too
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def _class(path: str) -> tuple[type, tuple[str, ...]]:
    """The class at a path, which takes apart too, and the names of what its objects are made from.

    A file may name any path: that of a class which a module merely uses, such as a ZipFile that
    empties the file it is given, is refused before an object of it is made.
    """
    module, _, name = path.partition(":")
    if not f"{module}.".startswith(_PACKAGES):
        raise Refusal(f"what was stored names {path}, which is neither probrev's nor NumPyro's")
    found = getattr(importlib.import_module(module), name)
    if not isinstance(found, type) or f"{found.__module__}:{found.__qualname__}" != path:
        raise Refusal(f"what was stored names {path}, which is no class that is defined there")
    names = _names(found)
    if names is None:
        raise Refusal(f"what was stored names {path}, which is no part of a model")
    return found, names
