"""Integrals over cells of the boxes of supports, by two tensor Gauss-Legendre rules each."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from probrev.inference.exact.integration.cell_bound import bound_cells, enclose, enclose_rows, grid
from probrev.inference.exact.integration.problem_blocks import block_size, in_blocks, map_problems
from probrev.inference.exact.integration.support_box import Box, nest, place
from probrev.inference.exact.integration.support_problem import SupportProblem, project
from probrev.model.row_terms import RowTerms

LARGEST_LOG_RATIO = 50.0
# A row's f changes where |t| < 5; 11 nodes follow it where t spans no more than 16 along an axis.
STEP, FOLLOWED = 5.0, 8.0
# Parts along every axis, by the number of axes, in which that is looked for.
PARTS = {1: 8, 2: 4, 3: 4, 4: 3, 5: 2}


class CellIntegrals(NamedTuple):
    """What two rules say of every cell.

    Attributes:
        owner: which problem it is a cell of, (cell,).
        low: lower fractions of the box's slices, (cell, active).
        high: upper fractions, (cell, active).
        log_mass: log integral, by the finer rule, (cell,).
        first: E[h - center] within the cell, (cell, active).
        second: E[(h - center)^2] within the cell, (cell, active).
        log_larger: log of the larger of the two rules' integrals, which gaps are relative to: where
            nodes of one alone meet the mass the other says nothing, (cell,).
        mass_gap: |coarse - fine| of the integral, (cell,).
        first_gap: of the integral of h - center, (cell, active).
        second_gap: of that of (h - center)^2, (cell, active).
        roughness: of the marginal along every axis, (cell, active).
        log_hidden: log of what both rules may have missed (`_may_be_hidden`), (cell,).
    """

    owner: Int[np.ndarray, " cell"]
    low: Float[np.ndarray, "cell active"]
    high: Float[np.ndarray, "cell active"]
    log_mass: Float[np.ndarray, " cell"]
    first: Float[np.ndarray, "cell active"]
    second: Float[np.ndarray, "cell active"]
    log_larger: Float[np.ndarray, " cell"]
    mass_gap: Float[np.ndarray, " cell"]
    first_gap: Float[np.ndarray, "cell active"]
    second_gap: Float[np.ndarray, "cell active"]
    roughness: Float[np.ndarray, "cell active"]
    log_hidden: Float[np.ndarray, " cell"]


def rule_sizes(num_active: int) -> tuple[int, int]:
    """Nodes per axis of the coarse and of the fine rule."""
    return (8, 11) if num_active < 5 else (6, 8)


def count_points(num_active: int) -> int:
    """Points at which the integrand is evaluated for one cell."""
    return sum(number**num_active for number in rule_sizes(num_active))


def integrate_cells(
    problems: SupportProblem,
    boxes: Box,
    owner: Int[np.ndarray, " cell"],
    low: Float[np.ndarray, "cell active"],
    high: Float[np.ndarray, "cell active"],
    rows: RowTerms,
) -> CellIntegrals:
    """Integrates over cells of the boxes of many problems of one size.

    Args:
        problems: with a leading axis.
        boxes: of each.
        owner: of every cell.
        low: lower fractions of every slice.
        high: upper fractions.
        rows: the terms of all rows, for f.
    """
    own = jax.tree.map(lambda leaf: leaf[owner], (problems, boxes))
    found = map_problems(_apply_rules, (*own, low, high), (rows,))
    return CellIntegrals(owner, low, high, *found)


def whole_boxes(count: int, num_active: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The owner, low and high of one cell per box, all of it."""
    shape = (count, num_active)
    return np.arange(count), np.zeros(shape), np.ones(shape)


@jax.jit
def _apply_rules(args: Any, count: Array, rows: RowTerms) -> tuple[Array, ...]:
    num_active = args[0].linear.shape[1]
    block = block_size(args[0], rule_sizes(num_active)[1] ** num_active)

    def apply(*cell: Any) -> tuple[Array, ...]:
        *plain, rough = jax.vmap(partial(_compare_rules, rows=rows))(*cell)
        nothing = jnp.full_like(plain[0], -jnp.inf)
        if not num_active:
            return *plain, rough, nothing
        steps = jax.vmap(partial(_find_steps, rows=rows))(*cell)
        bounds: Any = partial(_may_be_hidden, rows=rows)
        # Most blocks have none, and bounds take a while.
        log_hidden, where = jax.lax.cond(
            steps.is_sharp.any(),
            lambda: jax.vmap(bounds)(*cell, steps),
            lambda: (nothing, jnp.zeros_like(rough)),
        )
        weight = jnp.exp(jnp.minimum(log_hidden - plain[0], LARGEST_LOG_RATIO))
        return *plain, rough + weight[:, None] * where, log_hidden

    return in_blocks(apply, args, count, block)


def _compare_rules(
    problem: SupportProblem, box: Box, low: Array, high: Array, rows: RowTerms
) -> tuple[Array, ...]:
    """The fields of `CellIntegrals` from log_mass on, of one cell, by the rules alone."""
    numbers = rule_sizes(len(box.center))
    cell = problem, box, low, high
    log_coarse, first_coarse, second_coarse, _ = _apply_rule(*cell, rows, numbers[0])
    log_mass, first, second, roughness = _apply_rule(*cell, rows, numbers[1])
    log_larger = jnp.maximum(log_coarse, log_mass)
    coarse, fine = jnp.exp(log_coarse - log_larger), jnp.exp(log_mass - log_larger)
    return (
        log_mass,
        first,
        second,
        log_larger,
        jnp.abs(coarse - fine),
        jnp.abs(coarse * first_coarse - fine * first),
        jnp.abs(coarse * second_coarse - fine * second),
        roughness,
    )


class Steps(NamedTuple):
    """In every part of a cell: which layers cross it unfollowed, and how far they span.

    A layer is where |t_j| < 5, t_j = censored_j . h + offset_j, or |u_i - tilt_i| < 5, where the
    Gaussian part exp(-|u - tilt|^2 / 2) is: at fixed fractions of the slices u_i moves with the
    axes before it.

    Attributes:
        is_sharp: (part, layer).
        half_t: half of what t_j or u_i spans, (part, layer).
        along: the same along every axis, (active, part, layer).
    """

    is_sharp: Bool[Array, "part layer"]
    half_t: Float[Array, "part layer"]
    along: Float[Array, "active part layer"]


def _find_steps(
    problem: SupportProblem, box: Box, low: Array, high: Array, rows: RowTerms
) -> Steps:
    """Looks for them in a grid of the cell: what they span by values, where they are by proof."""
    size = len(box.center)
    number = PARTS[size]
    parts = grid(low, high, number)
    middle = (parts.low + parts.high) / 2
    to_u = jax.scipy.linalg.solve_triangular(box.factor, jnp.eye(size), lower=True)
    layers = jnp.concatenate([problem.censored, to_u])
    along = []
    for i in range(size):
        begin, end = (place(box, middle.at[:, i].set(side[:, i]))[0] for side in parts)
        along.append(jnp.abs(project(end - begin, layers)) / 2)
    half_t = sum(along[1:], along[0])
    inside = enclose(box, parts)
    least, most = enclose_rows(problem, rows, box, inside)
    tilt = (box.factor.T @ (problem.linear - problem.precision @ box.center))[None]
    least = jnp.concatenate([least, inside.low - tilt], axis=1)
    most = jnp.concatenate([most, inside.high - tilt], axis=1)
    is_sharp = (jnp.stack(along).max(0) > FOLLOWED / number) & (least < STEP) & (most > -STEP)
    return Steps(is_sharp, half_t, jnp.stack(along))


def _may_be_hidden(
    problem: SupportProblem,
    box: Box,
    low: Array,
    high: Array,
    steps: Steps,
    rows: RowTerms,
) -> tuple[Array, Array]:
    """Log of what steps that no rule can follow may hide, and along what axis they do.

    The f of a row changes in a layer |t_j| < 5 around a plane through h = 0, and the Gaussian part
    is a layer itself, which lies obliquely where h_i >= 0 cuts slices short. Where t_j spans much
    more over the cell, the layer is thinner than the distance of nodes, or lies between the last
    node and the cell's face; and what is in it (columns of opposite sign make ridges of two such
    layers) both rules may miss alike. So the cell is cut into a grid. A part of it that a layer
    crosses which is not followed hides at most its proved bound times the share of it that the
    layer takes, 5 / half of what t_j spans. Their sum counts as an error, so such cells are halved
    until the layers are followed, or too thin to matter.

    Returns:
        The log of the sum (), -inf where all is followed, and the axes' shares in what the layers
        span (active,).
    """
    parts = grid(low, high, PARTS[len(box.center)])
    bound = bound_cells(problem, rows, box, parts)
    layer = jnp.where(steps.is_sharp, STEP / jnp.maximum(steps.half_t, STEP), 0.0).sum(1)
    log_part = bound.log_bound + jnp.log(jnp.minimum(layer, 1.0))
    log_hidden = jax.nn.logsumexp(log_part)
    share = jnp.exp(log_part - jnp.maximum(log_hidden, -1e300))
    spans = jnp.where(steps.is_sharp, steps.along, 0.0).max(2) @ share
    return log_hidden, spans / jnp.maximum(spans.sum(), 1e-300)


def _apply_rule(
    problem: SupportProblem, box: Box, low: Array, high: Array, rows: RowTerms, number: int
) -> tuple[Array, Array, Array, Array]:
    """Log integral, E[h - center], E[(h - center)^2] and roughness of one cell by one rule.

    The roughness of an axis is what the last two Legendre coefficients of the integrand's marginal
    along it carry, relative to the integral.
    """
    num_active = len(box.center)
    node, weight = gauss_legendre(number)
    h, log_weight = nest(box, low, high, node, np.log(weight))
    log_term = problem.log_integrand(h, rows) + log_weight
    top = log_term.max()
    term = jnp.exp(log_term - top)
    total = term.sum()
    away = h - box.center[None]
    basis = np.polynomial.legendre.legvander(2 * node - 1, number - 1)[:, -2:]
    basis = basis * np.sqrt(2 * np.arange(number) + 1)[-2:]
    table = term.reshape((number,) * num_active)
    rough = [
        jnp.abs(table.sum(tuple(k for k in range(num_active) if k != axis)) @ basis).sum() / total
        for axis in range(num_active)
    ]
    return (
        top + jnp.log(total),
        term @ away / total,
        term @ away**2 / total,
        jnp.stack(rough) if rough else jnp.zeros(0),
    )


def gauss_legendre(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    node, weight = np.polynomial.legendre.leggauss(number)
    return (node + 1) / 2, weight / 2
