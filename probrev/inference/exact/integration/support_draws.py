"""iid draws from many supports: a cell by its mass, then a short chain within it."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.inference.exact.integration.adaptive_integral import Part
from probrev.inference.exact.integration.problem_blocks import block_size, in_blocks, map_problems
from probrev.inference.exact.integration.support_box import Box, nest, place
from probrev.inference.exact.integration.support_integral import gauss_legendre, rule_sizes
from probrev.inference.exact.integration.support_problem import SupportProblem
from probrev.model.row_terms import RowTerms
from probrev.numerics.truncated_normal import open_uniform

NUM_STEPS = 64
# Draws that share one evaluation of a cell's nodes.
NUM_SLOTS = 16


def draw_from_cells(
    key: PRNGKeyArray,
    parts: list[Part],
    rows: RowTerms,
    n_hidden: int,
    num_draws: int,
) -> Float[np.ndarray, "draw hidden"]:
    """Draws of h, independent of one another.

    A cell is drawn by its share of all integrals. Within it, each draw is the end of an
    independence chain of 64 steps of its own, whose proposals are constant around every node of the
    finer rule (the weights cut each axis in intervals, one per node), in proportion to the
    integrand there. So they know as much of the integrand as the integral does, wherever its mass
    is. With w the greatest ratio of the law to the proposals within a region, what a draw misses of
    the region is (1 - 1 / w)^64: w is at most about 5 an axis for a normal law over a whole box.

    Args:
        key: for all draws.
        parts: what was integrated, of every size.
        rows: the terms of all rows, for f.
        n_hidden: number of units.
        num_draws: how many draws.
    """
    key_cell, key_values = jax.random.split(key)
    log_mass = np.concatenate([part.cells.log_mass for part in parts])
    cumulative = np.cumsum(np.exp(log_mass - log_mass.max()))
    uniform = np.asarray(jax.random.uniform(key_cell, (num_draws,))) * cumulative[-1]
    chosen = np.minimum(np.searchsorted(cumulative, uniform, side="right"), len(log_mass) - 1)
    starts = np.cumsum([0, *(len(part.cells.owner) for part in parts)])
    h = np.zeros((num_draws, n_hidden))
    keys = jax.random.split(key_values, len(parts))
    for start, part, own_key in zip(starts[:-1], parts, keys, strict=True):
        picked = np.flatnonzero((chosen >= start) & (chosen < start + len(part.cells.owner)))
        if picked.size and part.units.shape[1]:
            cells = chosen[picked] - start
            values = _draw_from_part(own_key, part, cells, rows)
            h[picked[:, None], part.units[part.cells.owner[cells]]] = values
    return h


def _draw_from_part(
    key: PRNGKeyArray, part: Part, cells: Int[np.ndarray, " draw"], rows: RowTerms
) -> Float[np.ndarray, "draw active"]:
    """One draw in each of the cells given; those of one cell, 16 at a time, share its nodes."""
    order = np.argsort(cells, kind="stable")
    ordered = cells[order]
    first = np.searchsorted(ordered, ordered)
    slot = (np.arange(len(cells)) - first) % NUM_SLOTS
    entry = np.cumsum(slot == 0) - 1
    which = ordered[slot == 0]
    owner = part.cells.owner[which]
    own = jax.tree.map(lambda leaf: leaf[owner], (part.problems, part.boxes))
    keys = jax.random.split(key, len(which))
    drawn = map_problems(
        _draw_entries, (keys, *own, part.cells.low[which], part.cells.high[which]), (rows,)
    )
    values = np.empty((len(cells), drawn.shape[-1]))
    values[order] = drawn[entry, slot]
    return values


@jax.jit
def _draw_entries(args: Any, count: Array, rows: RowTerms) -> Array:
    problems = args[1]
    size = problems.linear.shape[1]
    block = block_size(problems, max(rule_sizes(size)[1] ** size, NUM_SLOTS * NUM_STEPS))
    return in_blocks(jax.vmap(partial(_draw_entry, rows=rows)), args, count, block)


def _draw_entry(
    key: PRNGKeyArray, problem: SupportProblem, box: Box, low: Array, high: Array, rows: RowTerms
) -> Float[Array, "slot active"]:
    """So many draws within one cell as share its nodes."""
    size = len(box.center)
    number = rule_sizes(size)[1]
    node, weight = gauss_legendre(number)
    log_width = np.log(weight)
    h, log_weight = nest(box, low, high, node, log_width)
    log_term = problem.log_integrand(h, rows) + log_weight
    term = jnp.exp(log_term - log_term.max())
    key_node, key_inside, key_accept = jax.random.split(key, 3)
    points = NUM_SLOTS * NUM_STEPS
    cumulative = jnp.cumsum(term)
    uniform = jax.random.uniform(key_node, (points,), h.dtype) * cumulative[-1]
    picked = jnp.minimum(jnp.searchsorted(cumulative, uniform, side="right"), len(term) - 1)
    index = jnp.stack(jnp.unravel_index(picked, (number,) * size), 1)
    begin = jnp.asarray(np.cumsum(weight) - weight)
    inside = jax.random.uniform(key_inside, (points, size), h.dtype)
    fraction = begin[index] + jnp.asarray(weight)[index] * inside
    new, log_slope = place(box, low[None] + (high - low)[None] * fraction)
    log_proposal = log_term[picked] - jnp.asarray(log_width)[index].sum(1)
    log_ratio = problem.log_integrand(new, rows) + log_slope - log_proposal
    log_uniform = jnp.log(open_uniform(key_accept, (points,), h.dtype))
    return _end_chains(
        new.reshape(NUM_SLOTS, NUM_STEPS, size),
        log_ratio.reshape(NUM_SLOTS, NUM_STEPS),
        log_uniform.reshape(NUM_SLOTS, NUM_STEPS),
    )


def _end_chains(
    h: Float[Array, "slot step active"],
    log_ratio: Float[Array, "slot step"],
    log_uniform: Float[Array, "slot step"],
) -> Float[Array, "slot active"]:
    """Where an independence chain over the proposals of each slot ends."""
    slots = jnp.arange(len(h))

    def step(k: Array, current: Array) -> Array:
        accepted = log_uniform[:, k] < log_ratio[:, k] - log_ratio[slots, current]
        return jnp.where(accepted, k, current)

    start = jnp.zeros(len(h), int)
    return h[slots, jax.lax.fori_loop(1, log_ratio.shape[1], step, start)]
