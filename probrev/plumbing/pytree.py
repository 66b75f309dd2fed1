"""Classes whose numbers JAX can trace, and telling numbers from tracers."""

import functools
import hashlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import Distribution

import probrev.plumbing.whole_numpyro  # noqa: F401
from probrev.plumbing.fields import FIELDS, Fields, parameters_of, values_of
from probrev.plumbing.readable import readable
from probrev.plumbing.refusal import TypeRefusal

T = TypeVar("T")


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Function:
    """A function in a field of `data`: it has no numbers, so it is structure."""

    call: Callable[..., Any]

    def __repr__(self) -> str:
        """Its name and a digest of what it does: the same in every process, see `fingerprint`."""
        return f"_Function({describe(self.call)})"


def describe(value: Any) -> str:
    """A function by its name, code and what it closes over; anything else by its numbers or text.

    Where it lies in memory says nothing.
    """
    if isinstance(value, np.ndarray | np.generic | jax.Array) and not isinstance(
        value, jax.core.Tracer
    ):
        if isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            return f"{value.dtype}{describe(jax.random.key_data(value))}"
        array = np.asarray(value)
        return f"{array.dtype}{array.shape}{hashlib.sha256(array.tobytes()).hexdigest()}"
    if hasattr(type(value), FIELDS):
        return f"{type(value).__qualname__}{describe(values_of(value))}"
    if isinstance(value, Distribution):
        # By its parameters, and by whatever else it is flattened to: a set has those in any order.
        children, structure = jax.tree_util.default_registry.flatten_one_level(value) or ((), ())
        rest = sorted(map(describe, (*children, *structure)))
        return f"{type(value).__qualname__}{describe([parameters_of(value), *rest])}"
    if names := getattr(type(value), "__dataclass_fields__", ()):
        own = {name: getattr(value, name, None) for name in names}
        return f"{type(value).__qualname__}{describe(own)}"
    if isinstance(value, functools.partial):
        parts = [value.func, list(value.args), value.keywords]
        return f"partial({describe(parts)})"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {describe(one)}' for key, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(describe, value))}]"
    if isinstance(value, set | frozenset):  # whose order string hashing makes another each time
        return f"{{{', '.join(sorted(map(describe, value)))}}}"
    if inspect.ismethod(value):
        return f"{describe(value.__self__)}.{describe(value.__func__)}"
    code: Any = getattr(value, "__code__", None)
    if code is None:
        return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    constants = [one.co_code if hasattr(one, "co_code") else one for one in code.co_consts]
    closure: Any = value.__closure__
    cells = [cell.cell_contents for cell in closure or ()]
    parts = (code.co_code, code.co_names, constants, value.__defaults__, cells)
    digest = hashlib.sha256(describe(list(parts)).encode()).hexdigest()
    return f"{value.__module__}.{value.__qualname__} {digest}"


def pytree(data: tuple[str, ...] = (), meta: tuple[str, ...] = ()) -> Callable[[type[T]], type[T]]:
    """Registers a class with JAX: fields `data` are traced, fields `meta` are structure.

    JAX rebuilds pytrees with tracers and placeholders in them. It does so without `__init__` here,
    so a class may check and convert what users give it. A subclass of a registered class is
    registered too, and has the fields of that class before its own. Where a class does not say how
    it prints, it does so in a line, see `readable`.

    Args:
        data: names of the fields that hold arrays, pytrees or functions; a function is structure.
        meta: names of the fields that are hashable and the same in every call of a jitted function.
    """

    def register(cls: type[T]) -> type[T]:
        base = getattr(cls, FIELDS, Fields((), ()))
        fields = Fields((*base.data, *data), (*base.meta, *meta))
        setattr(cls, FIELDS, fields)

        def flatten(node: Any) -> tuple[tuple, tuple]:
            children = tuple(_as_node(getattr(node, name)) for name in fields.data)
            return children, tuple(getattr(node, name) for name in fields.meta)

        def flatten_with_keys(node: Any) -> tuple[tuple, tuple]:
            children, structure = flatten(node)
            keys = map(jax.tree_util.GetAttrKey, fields.data)
            return tuple(zip(keys, children, strict=True)), structure

        def unflatten(structure: Any, children: Any) -> T:
            node = object.__new__(cls)
            values = (*map(_as_value, children), *structure)
            for name, value in zip((*fields.data, *fields.meta), values, strict=True):
                object.__setattr__(node, name, value)
            return node

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
        if is_dataclass(cls) and issubclass(cls, Distribution):
            # NumPyro's metaclass wrote down that of its own base before @dataclass made this one.
            _, *own = inspect.signature(cls.__init__).parameters.values()
            setattr(cls, "__signature__", inspect.Signature(own))  # noqa: B010
        return readable(cls)

    return register


def _as_node(value: Any) -> Any:
    return _Function(value) if callable(value) and jax.tree_util.all_leaves([value]) else value


def _as_value(child: Any) -> Any:
    return child.call if isinstance(child, _Function) else child


def check_registered(name: str, value: Any) -> None:
    """Raises TypeError for an object of a class that is not registered, though its base is.

    Args:
        name: what it is, to begin the error.
        value: the object.
    """
    cls = type(value)
    if hasattr(cls, FIELDS) and FIELDS not in vars(cls):
        raise TypeRefusal(
            f"{name} is of class {cls.__name__}, which JAX does not know: put @pr.pytree() above "
            "the class, before @dataclass, with the names of the fields that it adds, as in "
            '@pr.pytree(data=("slope",))'
        )


def is_concrete(tree: Any) -> bool:
    """Whether every leaf holds numbers, so that they can be checked and used at once."""
    return all(
        isinstance(leaf, float | int | list | np.ndarray | np.generic | jax.Array)
        and not isinstance(leaf, jax.core.Tracer)
        for leaf in jax.tree.leaves(tree)
    )
