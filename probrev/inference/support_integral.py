"""The integral over one support's active units, by tensor Gauss-Legendre in nested coordinates."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from probrev.evidence import Evidence
from probrev.inference.support_problem import SupportProblem, find_mode, project

DROP = 15.0  # what lies e^-15 below the greatest value found is left out
ZOOM_NODES = 7
NUM_ZOOMS = 3
# Where the box leaves nothing above h_i = 0, so much is kept: a rule must have some weight.
SMALLEST_SPAN = 1e-2
# Nodes per axis. Each rule is compared with the one before; a problem moves on where they differ.
RULES = (8, 11, 15, 20, 28, 40)
CHUNK = 32
BLOCK_ELEMENTS = 2**19


class Coordinates(NamedTuple):
    """h = center + factor u, factor lower triangular, and the box of u that carries the mass.

    h_i >= 0 bounds u_i given u_1, ..., u_{i-1}: u_i >= lowest_i. Beside it each u_i has bounds of
    its own, and one on u_i - lowest_i, for masses that pile up at h_i = 0.

    Attributes:
        center: (active,).
        factor: (active, active).
        low: (active,).
        high: (active,).
        width: (active,).
    """

    center: Float[Array, " active"]
    factor: Float[Array, "active active"]
    low: Float[Array, " active"]
    high: Float[Array, " active"]
    width: Float[Array, " active"]


class Integrals(NamedTuple):
    """Of each problem: log integral, mean and second moment of h, and the two rules' difference.

    Attributes:
        log_mass: log integral, (problem,).
        mean: (problem, active).
        second: E[h_i^2], (problem, active).
        error: largest relative difference between the last two rules, in the integral and its first
            two moments, (problem,).
    """

    log_mass: Float[np.ndarray, " problem"]
    mean: Float[np.ndarray, "problem active"]
    second: Float[np.ndarray, "problem active"]
    error: Float[np.ndarray, " problem"]


def locate(problems: SupportProblem, rows: Evidence, steepest: float) -> Coordinates:
    """Coordinates of many problems of one size, around the modes found.

    They come from the Gaussian part alone, which bounds the integrand from above (f <= 1): outside
    the first box it lies e^-15 below its greatest value found, whatever the silent rows do. The box
    is then narrowed three times, to where the integrand itself is that large.

    Args:
        problems: with a leading axis.
        rows: the evidence, for f.
        steepest: bound on -(log f)''.
    """
    if problems.linear.shape[1] == 0:
        nothing = jnp.zeros(problems.linear.shape)
        return Coordinates(nothing, nothing[:, :, None], nothing, nothing, nothing)
    return map_problems(_locate_chunk, problems, (rows, steepest))


def integrate_problems(
    problems: SupportProblem,
    coordinates: Coordinates,
    rows: Evidence,
    rule: int = 1,
    before: Integrals | None = None,
) -> Integrals:
    """Integrates many problems of one size.

    Args:
        problems: with a leading axis.
        coordinates: what `locate` found.
        rows: the evidence, for f.
        rule: index into RULES.
        before: the integrals by the rule before, computed where they are not given.
    """
    count, num_active = problems.linear.shape
    if num_active == 0:
        nothing = np.zeros((count, 0))
        silence = _silence_at_zero(rows)
        return Integrals(np.asarray(problems.constant + silence), nothing, nothing, np.zeros(count))
    apply = lambda index: map_problems(  # noqa: E731
        partial(_apply_chunk, number=RULES[index]), (problems, coordinates), (rows,)
    )
    coarse = apply(rule - 1) if before is None else before[:3]
    fine = apply(rule)
    differences = [np.abs(np.expm1(coarse[0] - fine[0]))[:, None]]
    for old, new in zip(coarse[1:], fine[1:], strict=True):
        differences.append(np.abs(old / np.where(new > 0, new, 1.0) - 1))
    return Integrals(fine[0], fine[1], fine[2], np.concatenate(differences, axis=1).max(1))


@jax.jit
def _silence_at_zero(rows: Evidence) -> Array:
    return rows.log_silence(jnp.zeros(rows.silent_weights.shape[0]))


def map_problems(
    function: Callable[..., Any], problems: Any, rest: tuple, chunk: int = CHUNK
) -> Any:
    """Applies a compiled function of (problems, *rest) in chunks of few sizes, and joins them."""
    count = len(jax.tree.leaves(problems)[0])
    parts = []
    for start in range(0, count, chunk):
        index = np.minimum(np.arange(start, start + chunk), count - 1)
        part = function(jax.tree.map(lambda leaf, at=index: leaf[at], problems), *rest)
        parts.append(jax.tree.map(lambda leaf: np.asarray(leaf)[: count - start], part))  # noqa: B023
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


@jax.jit
def _locate_chunk(problems: SupportProblem, rows: Evidence, steepest: float) -> Coordinates:
    def locate_one(problem: SupportProblem) -> Coordinates:
        box = _first_box(problem, rows, find_mode(problem, rows, steepest))
        return jax.lax.fori_loop(0, NUM_ZOOMS, lambda _, box: _zoom(problem, rows, box), box)

    batch = _batch_size(problems, ZOOM_NODES)
    return jax.lax.map(locate_one, problems, batch_size=batch)


@partial(jax.jit, static_argnames="number")
def _apply_chunk(
    located: tuple[SupportProblem, Coordinates], rows: Evidence, *, number: int
) -> tuple[Array, Array, Array]:
    batch = _batch_size(located[0], number)
    return jax.lax.map(
        lambda pair: _apply_rule(pair[0], pair[1], rows, number), located, batch_size=batch
    )


def _batch_size(problems: SupportProblem, number: int) -> int:
    """How many problems to do at once: few enough for the cache."""
    _, num_rows, num_active = problems.silent.shape
    return max(1, BLOCK_ELEMENTS // (number**num_active * num_rows))


def _first_box(problem: SupportProblem, rows: Evidence, mode: Array) -> Coordinates:
    """Where the Gaussian part is above the integrand at its mode, less DROP."""
    covariance = jnp.linalg.inv(problem.precision + jnp.diag(problem.floor))
    factor = jnp.linalg.cholesky(0.5 * (covariance + covariance.T))
    tilt = factor.T @ (problem.linear - problem.precision @ mode)
    silence = rows.log_silence(project(mode[None], problem.silent))[0]
    radius = jnp.sqrt(tilt @ tilt + 2 * (DROP - silence))
    return Coordinates(mode, factor, tilt - radius, tilt + radius, jnp.full_like(tilt, jnp.inf))


def _zoom(problem: SupportProblem, rows: Evidence, box: Coordinates) -> Coordinates:
    """Narrows the box to the mode (u = 0) and the nodes within DROP of it, and their neighbours."""
    u, h, excess, _ = _nest(box, *_rule(ZOOM_NODES))
    log_value = problem.log_integrand(h, rows)
    at_mode = problem.log_integrand(box.center[None], rows)[0]
    live = (log_value > jnp.maximum(log_value.max(), at_mode) - DROP)[:, None]
    # Half the widest gap between nodes, in a box whose length depends on the other coordinates.
    step = 0.25 * np.diff(np.polynomial.legendre.leggauss(ZOOM_NODES)[0]).max()
    gap = step * (box.high - jnp.maximum(box.low, jnp.min(u - excess, axis=0)))
    gap = jnp.maximum(gap, 0.0)
    reach = jnp.maximum(jnp.where(live, excess, 0.0).max(0), box.center / jnp.diag(box.factor))
    return box._replace(
        low=jnp.maximum(box.low, jnp.where(live, u, 0.0).min(0) - gap),
        high=jnp.minimum(box.high, jnp.where(live, u, 0.0).max(0) + gap),
        width=jnp.minimum(box.width, reach + gap),
    )


def _apply_rule(
    problem: SupportProblem, box: Coordinates, rows: Evidence, number: int
) -> tuple[Array, Array, Array]:
    """Log integral, mean and second moment by one rule."""
    _, h, _, log_weight = _nest(box, *_rule(number))
    log_term = problem.log_integrand(h, rows) + log_weight
    top = log_term.max()
    term = jnp.exp(log_term - top)
    total = term.sum()
    log_mass = top + jnp.log(total) + jnp.log(jnp.diag(box.factor)).sum()
    return log_mass, term @ h / total, term @ h**2 / total


def _nest(
    box: Coordinates, node: Float[np.ndarray, " node"], weight: Float[np.ndarray, " node"]
) -> tuple[Array, Array, Array, Array]:
    """All nodes u (point, active), h, u less its lower bound, and their log weights (point,)."""
    u = excess = jnp.zeros((1, 0))
    log_weight = jnp.zeros(1)
    for i in range(len(box.center)):
        bound = -(box.center[i] + u @ box.factor[i, :i]) / box.factor[i, i]
        left = jnp.maximum(bound, box.low[i])
        right = jnp.minimum(box.high[i], bound + box.width[i])
        span = jnp.maximum(right - left, SMALLEST_SPAN)
        new = (left[:, None] + span[:, None] * node[None, :]).reshape(-1, 1)
        log_weight = (log_weight + jnp.log(span))[:, None] + np.log(weight)[None, :]
        log_weight = log_weight.reshape(-1)
        u = jnp.concatenate([jnp.repeat(u, len(node), axis=0), new], axis=1)
        above = new - jnp.repeat(bound, len(node))[:, None]
        excess = jnp.concatenate([jnp.repeat(excess, len(node), axis=0), above], axis=1)
    h = jnp.maximum(box.center[None, :] + u @ box.factor.T, 0.0)
    return u, h, excess, log_weight


def _rule(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    node, weight = np.polynomial.legendre.leggauss(number)
    return (node + 1) / 2, weight / 2
