"""One support of a continuous slab: the log integrand over its active units, and its mode.

Single-support code, to be mapped over many.
"""

import itertools
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from probrev.model.row_terms import RowTerms
from probrev.numerics.small_factor import factorize, solve_factor

NUM_STEPS = 30
NUM_ROUNDS = 4


class UnitLaws(NamedTuple):
    """The prior of every unit: off with mass exp(log_off), else a log-quadratic density on h > 0.

    Attributes:
        log_off: log mass at 0, (hidden,).
        log_density: log density at h = 0+, the mass of being active included, (hidden,).
        slope: its derivative there, (hidden,).
        curvature: minus its second derivative, >= 0, (hidden,).
        log_on: log mass of being active, (hidden,).
    """

    log_off: Float[Array, " hidden"]
    log_density: Float[Array, " hidden"]
    slope: Float[Array, " hidden"]
    curvature: Float[Array, " hidden"]
    log_on: Float[Array, " hidden"]


class SupportProblem(NamedTuple):
    """The log integrand constant + linear . h - h^T precision h / 2 + sum_j log f_j(t_j).

    t_j = censored_j . h + offset_j, with f_j and offset_j those of `RowTerms`.

    Attributes:
        constant: log density of the units that are off included.
        linear: (active,).
        precision: of the rows seen and the prior, (active, active).
        censored: weights of the rows on a flat over sigma, (row, active).
        slope: of each unit's log prior density at 0, (active,).
        curvature: minus its second derivative, (active,).
        peak: log density at h = 0+, had every row seen met its mode and every censored one f = 1.
        ceiling: log of an upper bound on the integral: likelihood at most exp(peak), prior mass.
    """

    constant: Float[Array, ""]
    linear: Float[Array, " active"]
    precision: Float[Array, "active active"]
    censored: Float[Array, "row active"]
    slope: Float[Array, " active"]
    curvature: Float[Array, " active"]
    peak: Float[Array, ""]
    ceiling: Float[Array, ""]

    @property
    def floor(self) -> Float[Array, " active"]:
        """Diagonal to add where precision has no scale of its own: 1e-3 of the prior's."""
        return 1e-3 * jnp.where(self.curvature > 0, self.curvature, self.slope**2)

    def quadratic(self, h: Float[Array, "point active"]) -> Float[Array, " point"]:
        """The log integrand without the censored rows: an upper bound, since f <= 1."""
        return self.constant + h @ self.linear - 0.5 * ((h @ self.precision) * h).sum(-1)

    def log_integrand(self, h: Float[Array, "point active"], rows: RowTerms) -> Array:
        """The log integrand at points h >= 0, (point,)."""
        return self.quadratic(h) + rows.log_mass(self.reach(h, rows))

    def reach(self, h: Float[Array, "point active"], rows: RowTerms) -> Array:
        """The t of every point and censored row, (point, row)."""
        return project(h, self.censored) + rows.offset[None, :]


def project(h: Float[Array, "point active"], weights: Float[Array, "row active"]) -> Array:
    """Weights . h of every point and row, as a sum over so few units that no matrix product helps.

    Elementwise, it melts into the loop that evaluates f.
    """
    terms = [h[:, i, None] * weights[None, :, i] for i in range(h.shape[1])]
    return sum(terms, jnp.zeros((h.shape[0], weights.shape[0])))


def list_supports(n_hidden: int, num_active: int) -> Int[np.ndarray, "support active"]:
    """Every set of so many units, one a row."""
    supports = list(itertools.combinations(range(n_hidden), num_active))
    return np.array(supports, int).reshape(len(supports), num_active)


def make_problem(rows: RowTerms, laws: UnitLaws, support: Int[Array, " active"]) -> SupportProblem:
    """The problem of one support, its units distinct."""
    total_off = laws.log_off.at[support].set(0.0).sum()
    slope, curvature = laws.slope[support], laws.curvature[support]
    return SupportProblem(
        constant=rows.constant + total_off + laws.log_density[support].sum(),
        linear=rows.linear[support] + slope,
        precision=rows.gram[support][:, support] + jnp.diag(curvature),
        censored=rows.weights[:, support],
        slope=slope,
        curvature=curvature,
        peak=rows.peak + total_off + laws.log_density[support].sum(),
        ceiling=rows.peak + total_off + laws.log_on[support].sum(),
    )


@jax.jit
def make_problems(
    rows: RowTerms, laws: UnitLaws, supports: Int[Array, "support active"]
) -> SupportProblem:
    """The problems of many supports of one size, with a leading axis."""
    return jax.vmap(make_problem, (None, None, 0))(rows, laws, supports)


def gradient(
    problem: SupportProblem, h: Float[Array, " active"], rows: RowTerms, share: float = 1.0
) -> Float[Array, " active"]:
    """Of the log integrand, its censored rows weighted by `share`."""
    slope = rows.slope(problem.censored @ h + rows.offset)
    return problem.linear - problem.precision @ h + share * (slope @ problem.censored)


def find_mode(problem: SupportProblem, rows: RowTerms) -> Float[Array, " active"]:
    """The best of three ascents: from small h, the prior's scale, and least squares on rows seen.

    Each step maximises a quadratic minorant over h >= 0 (curvature `steepest` in every censored
    row), so none descends. Good enough where it stops: nothing relies on a vanishing gradient.

    Args:
        problem: of one support.
        rows: the terms of all rows, for f.

    Returns:
        The point, >= 0, with the greatest log integrand found.
    """
    minorant = problem.precision + rows.steepest * problem.censored.T @ problem.censored
    minorant = minorant + jnp.diag(problem.floor)
    scale = 1 / jnp.sqrt(1e3 * problem.floor)
    seen = factorize(problem.precision + jnp.diag(problem.floor))
    least_squares = jnp.maximum(solve_factor(seen, problem.linear), 0.0)
    starts = jnp.stack([1e-3 * scale, scale, least_squares])

    def ascend(_, h):
        slope = jax.vmap(lambda point: gradient(problem, point, rows))(h)
        target = slope + h @ minorant
        return jax.vmap(partial(_maximize, minorant))(target, h)

    ends = jax.lax.fori_loop(0, NUM_STEPS, ascend, starts)
    return ends[jnp.argmax(problem.log_integrand(ends, rows))]


def _maximize(
    precision: Float[Array, "active active"],
    linear: Float[Array, " active"],
    h: Float[Array, " active"],
) -> Float[Array, " active"]:
    """Rounds of coordinate ascent on linear . h - h^T precision h / 2 over h >= 0."""
    for _ in range(NUM_ROUNDS):
        for i in range(h.shape[0]):
            rest = linear[i] - precision[i] @ h + precision[i, i] * h[i]
            h = h.at[i].set(jnp.maximum(rest / precision[i, i], 0.0))
    return h
