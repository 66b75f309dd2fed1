"""Telling values from JAX's tracers."""

from typing import Any

import jax
import numpy as np


def is_concrete(tree: Any) -> bool:
    """Whether every leaf holds numbers, so that they can be checked and used at once.

    JAX rebuilds pytrees with tracers or placeholders as leaves; those must pass unchecked.
    """
    return all(
        isinstance(leaf, float | int | list | np.ndarray | np.generic | jax.Array)
        and not isinstance(leaf, jax.core.Tracer)
        for leaf in jax.tree.leaves(tree)
    )
