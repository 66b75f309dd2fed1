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
from probrev.plumbing.pytree import FIELDS
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
    except (AttributeError, ImportError, KeyError, TypeError) as error:
        raise Refusal(f"what was stored does not fit this version: {error}") from error


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
    kind: Any = type(value)
    if isinstance(value, tuple):
        names = getattr(kind, "_fields", None)
        return None if names is None else dict(zip(names, value, strict=True))
    registered = vars(kind).get(FIELDS)
    if registered is not None:
        return {name: getattr(value, name) for name in (*registered.data, *registered.meta)}
    if isinstance(value, dist.Distribution):
        return {name: getattr(value, name, None) for name in _parameters(kind)}
    if isinstance(value, Activation) and dataclasses.is_dataclass(value):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    return None


def _parameters(kind: type) -> list[str]:
    """Names of the arguments that a distribution is made from."""
    return [name for name in inspect.signature(kind).parameters if name != "validate_args"]


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
    kind = _class(structure["class"])
    fields = {name: _object(one, arrays) for name, one in structure["fields"].items()}
    if FIELDS not in vars(kind):
        return kind(**fields)
    made = object.__new__(kind)  # as `pytree` does: all numbers are there, derived ones too
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def _class(path: str) -> type:
    module, _, name = path.partition(":")
    if not f"{module}.".startswith(_PACKAGES):
        raise Refusal(f"what was stored names {path}, which is neither probrev's nor NumPyro's")
    found = getattr(importlib.import_module(module), name)
    if not isinstance(found, type):
        raise Refusal(f"what was stored names {path}, which is no class")
    return found
