"""One compiled program for any number of problems of one size, a cacheful at once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from probrev.inference.exact.integration.support_problem import SupportProblem

CHUNK = 128
BLOCK_ELEMENTS = 2**19


def map_problems(function: Callable[..., Any], args: Any, rest: tuple) -> Any:
    """Applies a compiled function of (args, count, *rest) to chunks of 128, and joins the results.

    Args:
        function: does the first `count` of the leading axis, e.g. by `in_blocks`.
        args: arrays with one leading axis.
        rest: what all share.
    """
    count = len(jax.tree.leaves(args)[0])
    parts = []
    for start in range(0, count, CHUNK):
        index = np.minimum(np.arange(start, start + CHUNK), count - 1)
        number = min(CHUNK, count - start)
        part = function(jax.tree.map(lambda leaf, at=index: leaf[at], args), number, *rest)
        parts.append(jax.tree.map(lambda leaf, to=number: np.array(leaf)[:to], part))
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def in_blocks(function: Callable[..., Any], args: Any, count: Array, size: int) -> Any:
    """`function` of so many problems, each with all of `args`, over the first `count`; then 0.

    To be traced, with a count that may differ from call to call.
    """
    blank = jax.tree.map(
        lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(function, *args)
    )

    def step(k: Array, done: Any) -> Any:
        block = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, k * size, size), args)
        return jax.tree.map(
            lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, k * size, 0),
            done,
            function(*block),
        )

    return jax.lax.fori_loop(0, (count + size - 1) // size, step, blank)


def block_size(problems: SupportProblem, points: int) -> int:
    """How many problems to do at once, each at so many points: a power of 2 up to 128."""
    num_rows = problems.censored.shape[1]
    fitting = BLOCK_ELEMENTS // max(1, points * num_rows)
    return min(CHUNK, 1 << max(0, fitting.bit_length() - 1))
