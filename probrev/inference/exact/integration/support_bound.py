r"""An upper bound on the integral over one support, without integrating."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float

from probrev.inference.exact.integration.support_problem import (
    SupportProblem,
    find_mode,
    gradient,
)
from probrev.model.row_terms import RowTerms
from probrev.numerics.truncated_normal import HALF_LOG_TWO_PI

# How much of the censored rows to keep: f <= 1, so f <= f^share.
SHARES = (1.0, 0.7, 0.4, 0.2, 0.0)
SMALLEST_EIGENVALUE = 1e-6


@jax.jit
def bound_problems(problems: SupportProblem, rows: RowTerms) -> Float[Array, " problem"]:
    """Log upper bounds of many problems of one size; see `bound_log_mass`."""

    def bound(problem: SupportProblem) -> Array:
        mode = find_mode(problem, rows)
        return bound_log_mass(problem, rows, mode)

    return jax.lax.map(bound, problems, batch_size=64)


def bound_log_mass(
    problem: SupportProblem, rows: RowTerms, point: Float[Array, " active"]
) -> Float[Array, ""]:
    r"""Log of a proved upper bound on the integral of exp(log integrand) over h >= 0.

    Since f <= 1, log f <= s log f for a share s in [0, 1], and since (log f)'' <= kappa, each
    log f(t) <= log f(t0) + (log f)'(t0) (t - t0) + kappa (t - t0)^2 / 2. So around any point, with
    u = h - point, the log integrand is at most

        c_s + g_s . u - u^T P_s u / 2,   P_s = precision - s sum_j kappa_j censored_j censored_j^T.

    Where P_s is positive definite the integral of that over all u is a Gaussian's. Over h >= 0
    alone, u^T P u >= mu u^T diag(P) u, mu the smallest eigenvalue of P scaled to unit diagonal,
    makes it a product of one-dimensional integrals, which is smaller where mass piles up at 0. And
    the likelihood is at most exp(peak), so the integral is at most that times the prior mass. The
    smallest of all these counts; any point gives a bound, and the mode a good one.

    Args:
        problem: of one support.
        rows: the terms of all rows, for f.
        point: h0 >= 0.
    """
    log_mass = rows.log_mass(problem.reach(point[None], rows))[0]
    bent = problem.censored.T @ (rows.kappa[:, None] * problem.censored)
    bounds = [problem.ceiling]
    for share in SHARES:
        level = problem.quadratic(point[None])[0] + share * log_mass
        slope = gradient(problem, point, rows, share)
        precision = problem.precision - share * bent
        bounds += gaussian_bounds(level, slope, precision, point)
    return jnp.stack(bounds).min()


def gaussian_bounds(
    level: Array,
    slope: Float[Array, " active"],
    precision: Float[Array, "active active"],
    point: Float[Array, " active"],
) -> list[Array]:
    """Over all u, and the product over h >= 0; infinite where the form is not definite."""
    diagonal = jnp.diag(precision)
    positive = (diagonal > 0).all()
    diagonal = jnp.where(positive, diagonal, 1.0)
    scale = jnp.sqrt(diagonal)
    scaled = precision / (scale[:, None] * scale[None, :])
    smallest = jnp.linalg.eigvalsh(jnp.where(positive, scaled, jnp.eye(len(point))))[0]
    definite = positive & (smallest > SMALLEST_EIGENVALUE)
    safe = jnp.where(definite, scaled, jnp.eye(len(point)))
    root = jnp.linalg.solve(safe, slope / scale)
    _, log_det = jnp.linalg.slogdet(safe)
    everywhere = 0.5 * (slope / scale) @ root - 0.5 * log_det
    everywhere = everywhere + (HALF_LOG_TWO_PI - jnp.log(scale)).sum()
    # A hair below the computed eigenvalue, for its rounding.
    std = 1 / (scale * jnp.sqrt(jnp.where(definite, smallest * (1 - 1e-9), 1.0)))
    tilt = slope * std
    product = 0.5 * tilt**2 + jnp.log(std) + HALF_LOG_TWO_PI + log_ndtr(point / std + tilt)
    bounds = (level + everywhere, level + product.sum())
    return [jnp.where(definite, bound, np.inf) for bound in bounds]
