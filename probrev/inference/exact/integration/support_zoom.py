"""From the first box to where the mass of an integral is, by what is proved of every cell."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from probrev.inference.exact.integration.cell_bound import bound_cells, grid
from probrev.inference.exact.integration.problem_blocks import block_size, in_blocks, map_problems
from probrev.inference.exact.integration.support_box import Box, first_box, place
from probrev.inference.exact.integration.support_problem import SupportProblem
from probrev.model.row_terms import RowTerms

# Cells along every axis, by the number of axes.
CELLS = {1: 24, 2: 10, 3: 5, 4: 4, 5: 3}
# Mass given up by one zoom, as a share of what the integral is taken for; there are 2 to 4.
SHARE = 3e-6
MOST_ZOOMS = 8
# A zoom is worth another where it took so much off the logarithm of some axis.
WORTHWHILE = 0.35


class Known(NamedTuple):
    """What is known of integrals before their boxes are drawn.

    Attributes:
        log_mass: log integral; inf where it is not known.
        second: E[(h_i - center_i)^2] under the whole posterior, where unit i is active; 0 where it
            is not known.
    """

    log_mass: Float[Array, "*problem"] | Float[np.ndarray, "*problem"]
    second: Float[Array, "*problem active"] | Float[np.ndarray, "*problem active"]


def locate(
    problems: SupportProblem,
    rows: RowTerms,
    known: Known | None = None,
) -> Box:
    """Boxes of many problems of one size, with proved bounds on what lies outside them.

    A box is cut into a grid of cells, those whose bounds sum to 3e-6 of the mass are given up, and
    the box becomes the hull of the others, for as long as that makes it smaller. What is given up
    is added to `outside`, so that a wrong idea of the mass costs tightness alone.

    Args:
        problems: with a leading axis.
        rows: the terms of all rows, for f.
        known: what the mass given up is compared with; values in the cells otherwise.
    """
    count, size = problems.linear.shape
    if size == 0:
        return _no_boxes(count)
    if known is None:
        known = Known(np.full(count, np.inf), np.zeros((count, size)))
    boxes = map_problems(_first_boxes, (problems, known), (rows,))
    todo = np.arange(count)
    for _ in range(MOST_ZOOMS):
        chosen = jax.tree.map(lambda leaf, at=todo: leaf[at], (problems, boxes, known))
        smaller, gain = map_problems(_zooms, chosen, (rows,))
        for old, new in zip(boxes, smaller, strict=True):
            old[todo] = new
        todo = todo[gain > WORTHWHILE]
        if not todo.size:
            break
    return boxes


def _no_boxes(count: int) -> Box:
    """Boxes of no axes, nothing outside: the integral over h = 0 alone is its value."""
    nothing = np.zeros((count, 0))
    fields: Any = [nothing, nothing[:, :, None], nothing, nothing, nothing]
    fields += [np.full(count, -np.inf), nothing]
    return Box(*fields)


@jax.jit
def _first_boxes(args: Any, count: Array, rows: RowTerms) -> Box:
    return in_blocks(
        jax.vmap(lambda problem, known: first_box(problem, rows, *known)), args, count, 16
    )


@jax.jit
def _zooms(args: Any, count: Array, rows: RowTerms) -> tuple[Box, Array]:
    problems = args[0]
    size = problems.linear.shape[1]
    block = block_size(problems, CELLS[size] ** size)
    return in_blocks(jax.vmap(partial(_zoom, rows=rows)), args, count, block)


def _zoom(problem: SupportProblem, box: Box, known: Known, rows: RowTerms) -> tuple[Box, Array]:
    """The smaller box, and the most that the log of some axis fell."""
    size = len(box.center)
    cells = grid(jnp.zeros(size), jnp.ones(size), CELLS[size])
    found = bound_cells(problem, rows, box, cells)
    middle, log_slope = place(box, (cells.low + cells.high) / 2)
    guess = problem.log_integrand(middle, rows) + log_slope - size * np.log(CELLS[size])
    guess = jnp.minimum(guess, found.log_bound)
    total = jax.nn.logsumexp(guess)
    share = jnp.exp(guess - total)
    # Far cells count by their second moments about the mode, relative to that of all, where it is
    # more than their mass.
    second = jnp.where(known.second > 0, known.second, share @ found.spread**2)
    far = (found.spread**2 / jnp.maximum(second, 1e-300)[None]).max(1)
    heavy = found.log_bound + jnp.log(jnp.maximum(far, 1.0))
    order = jnp.argsort(heavy)
    reference = jnp.where(jnp.isfinite(known.log_mass), known.log_mass, total)
    few = jax.lax.cumlogsumexp(heavy[order]) <= reference + np.log(SHARE)
    gone = jnp.zeros(len(few), bool).at[order].set(few) | jnp.isneginf(found.log_bound)
    live = ~gone[:, None]
    inside = found.enclosure
    # All of the box that lies outside this hull lies in cells given up.
    new = box._replace(
        low=jnp.maximum(jnp.where(live, inside.low, jnp.inf).min(0), box.low),
        high=jnp.minimum(jnp.where(live, inside.high, -jnp.inf).max(0), box.high),
        width=jnp.minimum(jnp.where(live, inside.most, -jnp.inf).max(0), box.width),
        outside=jnp.logaddexp(
            box.outside, jax.nn.logsumexp(jnp.where(gone, found.log_bound, -jnp.inf))
        ),
        outside_second=jnp.logaddexp(
            box.outside_second,
            jax.nn.logsumexp(
                jnp.where(live, -jnp.inf, found.log_bound[:, None] + 2 * jnp.log(found.spread)),
                axis=0,
            ),
        ),
    )
    gain = jnp.log(box.high - box.low) - jnp.log(jnp.maximum(new.high - new.low, 1e-300))
    closer = jnp.log(box.width) - jnp.log(jnp.maximum(new.width, 1e-300))
    # Where nothing is left, what is known of the mass was wrong: keep the box.
    empty = gone.all()
    return (
        jax.tree.map(lambda old, changed: jnp.where(empty, old, changed), box, new),
        jnp.where(empty, 0.0, jnp.maximum(gain.max(), closer.max())),
    )
