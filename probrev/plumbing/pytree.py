"""Classes whose numbers JAX can trace, and telling numbers from tracers."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.core
import numpy as np

T = TypeVar("T")


def pytree(data: tuple[str, ...], meta: tuple[str, ...] = ()) -> Callable[[type[T]], type[T]]:
    """Registers a class with JAX: fields `data` are traced, fields `meta` are structure.

    JAX rebuilds pytrees with tracers and placeholders in them. It does so without `__init__` here,
    so a class may check and convert what users give it.

    Args:
        data: names of the fields that hold arrays or pytrees.
        meta: names of the fields that are hashable and the same in every call of a jitted function.
    """

    def flatten(node: Any) -> tuple[tuple, tuple]:
        return tuple(getattr(node, name) for name in data), tuple(
            getattr(node, name) for name in meta
        )

    def flatten_with_keys(node: Any) -> tuple[tuple, tuple]:
        children, structure = flatten(node)
        keys = map(jax.tree_util.GetAttrKey, data)
        return tuple(zip(keys, children, strict=True)), structure

    def register(cls: type[T]) -> type[T]:
        def unflatten(structure: Any, children: Any) -> T:
            node = object.__new__(cls)
            for name, value in zip((*data, *meta), (*children, *structure), strict=True):
                object.__setattr__(node, name, value)
            return node

        jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
        return cls

    return register


def is_concrete(tree: Any) -> bool:
    """Whether every leaf holds numbers, so that they can be checked and used at once."""
    return all(
        isinstance(leaf, float | int | list | np.ndarray | np.generic | jax.Array)
        and not isinstance(leaf, jax.core.Tracer)
        for leaf in jax.tree.leaves(tree)
    )
