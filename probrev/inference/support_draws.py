"""iid draws of the active units within one support, by sampling and resampling."""

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.evidence import Evidence
from probrev.inference.silence_curvature import silence_slope
from probrev.inference.support_problem import SupportProblem, gradient, project
from probrev.truncated_normal import (
    HALF_LOG_TWO_PI,
    excess_from_uniform,
    open_uniform,
    upper_tail,
)

# Candidates per draw from the local Gaussian, and from the Gaussian part of the integrand.
NUM_LOCAL = 96
NUM_WIDE = 32
INFLATION = 1.15


@jax.jit
def sample_problems(
    keys: PRNGKeyArray,
    problems: SupportProblem,
    modes: Float[Array, "draw active"],
    rows: Evidence,
) -> Float[Array, "draw active"]:
    """A draw from the law of every problem, independent of one another.

    Each draw is picked from 128 candidates of its own by their importance weights. Candidates come
    from two normals cut to h >= 0, around the mode with the integrand's own curvature and without
    the silent rows'; weights are by their mixture, so no part of the law is out of reach. The law
    of a draw is off by about CV / 32 in total variation, CV the weights' coefficient of variation
    (.1 to .5 in most supports).

    Args:
        keys: one per draw.
        problems: with a leading axis, one per draw.
        modes: of each.
        rows: the evidence, for f.
    """
    return jax.lax.map(lambda args: _sample(*args, rows), (keys, problems, modes), batch_size=64)


def _sample(key: Array, problem: SupportProblem, mode: Array, rows: Evidence) -> Array:
    t = problem.silent @ mode
    slope = silence_slope(t, rows.keep_prob)
    # (log f)'' = -t r - r^2 with r = (log f)'; only where it is negative does it narrow the law.
    bend = jnp.maximum(t * slope + slope**2, 0.0)
    wide = problem.precision + jnp.diag(problem.floor)
    local = (wide + (problem.silent.T * bend) @ problem.silent) / INFLATION**2
    laws = [
        _nested_normal(mode, local, gradient(problem, mode, rows)),
        _nested_normal(mode, wide, problem.linear - problem.precision @ mode),
    ]
    sizes = (NUM_LOCAL, NUM_WIDE)
    key_pick, *keys = jax.random.split(key, 3)
    h = jnp.concatenate(
        [_propose(k, law, size) for k, law, size in zip(keys, laws, sizes, strict=True)]
    )
    densities = [
        jnp.log(size) + _log_density(law, h) for law, size in zip(laws, sizes, strict=True)
    ]
    log_weight = problem.quadratic(h) + rows.log_silence(project(h, problem.silent))
    log_weight = log_weight - jnp.logaddexp(*densities)
    return h[jax.random.categorical(key_pick, log_weight)]


def _nested_normal(center: Array, precision: Array, slope: Array) -> tuple[Array, Array, Array]:
    """exp(slope . u - u^T precision u / 2), u = h - center = factor v: center, factor and E[v]."""
    covariance = jnp.linalg.inv(precision)
    factor = jnp.linalg.cholesky(0.5 * (covariance + covariance.T))
    return center, factor, factor.T @ slope


def _propose(key: Array, law: tuple[Array, Array, Array], number: int) -> Array:
    """v_i ~ N(E[v_i], 1) given the ones before it, cut to h_i >= 0."""
    center, factor, mean = law
    uniform = open_uniform(key, (len(center), number), center.dtype)
    v = jnp.zeros((number, 0))
    for i in range(len(center)):
        lower = -(center[i] + v @ factor[i, :i]) / factor[i, i]
        cut = lower - mean[i]
        new = lower + excess_from_uniform(uniform[i], cut, upper_tail(cut))
        v = jnp.concatenate([v, new[:, None]], axis=1)
    return jnp.maximum(center[None] + v @ factor.T, jnp.finfo(float).tiny)


def _log_density(law: tuple[Array, Array, Array], h: Array) -> Array:
    """Of what `_propose` draws, up to the constant that both laws share."""
    center, factor, mean = law
    v = jax.scipy.linalg.solve_triangular(factor, (h - center[None]).T, lower=True).T
    total = jnp.full(len(h), -jnp.log(jnp.diag(factor)).sum())
    for i in range(len(center)):
        lower = -(center[i] + v[:, :i] @ factor[i, :i]) / factor[i, i]
        gap = v[:, i] - mean[i]
        total = total - 0.5 * gap**2 - HALF_LOG_TWO_PI - log_ndtr(mean[i] - lower)
    return total
