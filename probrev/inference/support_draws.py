"""iid draws of the active units within one support, each by a short chain of its own."""

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.evidence import Evidence
from probrev.inference.silence_curvature import silence_slope
from probrev.inference.support_problem import SupportProblem, gradient
from probrev.truncated_normal import (
    HALF_LOG_TWO_PI,
    excess_from_uniform,
    open_uniform,
    upper_tail,
)

NUM_STEPS = 128
LOCAL_SHARE = 0.75
INFLATION = 1.15


@jax.jit
def sample_problems(
    keys: PRNGKeyArray,
    problems: SupportProblem,
    modes: Float[Array, "draw active"],
    rows: Evidence,
) -> Float[Array, "draw active"]:
    """A draw from the law of every problem, independent of one another.

    Each draw is the end of an independence chain of 128 steps of its own. Proposals come from a
    mixture of two normals cut to h >= 0: around the mode with the integrand's own curvature, and
    the Gaussian part alone, which bounds the integrand. So the ratio of the law to the proposals is
    bounded, by some w, and the law of a draw is off by at most (1 - 1 / w)^128 in total variation
    (w = 10: 1e-6).

    Args:
        keys: one per draw.
        problems: with a leading axis, one per draw.
        modes: of each.
        rows: the evidence, for f.
    """
    return jax.lax.map(
        lambda args: _sample(args[0], args[1], args[2], rows),
        (keys, problems, modes),
        batch_size=64,
    )


def _sample(key: Array, problem: SupportProblem, mode: Array, rows: Evidence) -> Array:
    t = problem.silent @ mode
    slope = silence_slope(t, rows.keep_prob)
    # (log f)'' = -t r - r^2 with r = (log f)'; only where it is negative does it narrow the law.
    bend = jnp.maximum(t * slope + slope**2, 0.0)
    wide = problem.precision + jnp.diag(problem.floor)
    local = (wide + (problem.silent.T * bend[None, :]) @ problem.silent) / INFLATION**2
    laws = [
        _nested_normal(mode, local, gradient(problem, mode, rows)),
        _nested_normal(mode, wide, problem.linear - problem.precision @ mode),
    ]
    key_pick, key_accept, *keys = jax.random.split(key, 4)
    local_h, wide_h = (_propose(k, law, NUM_STEPS) for k, law in zip(keys, laws, strict=True))
    is_local = jax.random.bernoulli(key_pick, LOCAL_SHARE, (NUM_STEPS, 1))
    h = jnp.where(is_local, local_h, wide_h)
    log_local, log_wide = (_log_density(law, h) for law in laws)
    log_proposal = jnp.logaddexp(
        jnp.log(LOCAL_SHARE) + log_local, jnp.log(1 - LOCAL_SHARE) + log_wide
    )
    log_weight = problem.log_integrand(h, rows) - log_proposal
    log_uniform = jnp.log(open_uniform(key_accept, (NUM_STEPS,), h.dtype))

    def step(k: int, current: Array) -> Array:
        return jnp.where(log_uniform[k] < log_weight[k] - log_weight[current], k, current)

    return h[jax.lax.fori_loop(1, NUM_STEPS, step, 0)]


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
