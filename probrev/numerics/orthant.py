"""Densities of rectified normal vectors: a normal density times an orthant's probability."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from probrev.numerics.truncated_normal import excess_from_uniform, upper_tail

NUM_SHIFTS, NUM_POINTS = 8, 1024


def orthant_log_density(
    h: Float[Array, " unit"], mean: Float[Array, " unit"], covariance: Float[Array, "unit unit"]
) -> Float[Array, " shift"]:
    """Estimates of log p(h) for h = max(v, 0), v ~ N(mean, covariance).

    The units are taken in turn, the positive ones first: each has a normal density given those
    before it, or a probability to lie below 0, and where it does so a value is drawn for those
    after it. The mean of the products over lattice points is the estimate; lattices are shifted at
    random, by fixed numbers.

    Args:
        h: the vector, >= 0.
        mean: of v.
        covariance: of v, positive definite.

    Source: Genz 1992, the separation of variables; Cranley and Patterson 1976, the shifts.
    """
    size = h.shape[0]
    order = jnp.argsort(h == 0, stable=True)
    value, center = h[order], mean[order]
    root = jnp.linalg.cholesky(covariance[order][:, order])
    uniforms = jnp.asarray(_lattice(size))

    def take(unit: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        noise, log_weight = carry
        std = root[unit, unit]
        shift = center[unit] + noise @ root[unit]  # of those after it the noise is still 0
        at = (value[unit] - shift) / std
        below = -shift / std
        is_active = value[unit] > 0
        log_mass = jnp.where(is_active, norm.logpdf(at) - jnp.log(std), log_ndtr(below))
        # Z given Z < below is minus what exceeds -below.
        drawn = below - excess_from_uniform(uniforms[..., unit], -below, upper_tail(-below))
        drawn = jnp.where(is_active, at, drawn)
        return noise.at[..., unit].set(drawn), log_weight + log_mass

    start = jnp.zeros((NUM_SHIFTS, NUM_POINTS, size)), jnp.zeros((NUM_SHIFTS, NUM_POINTS))
    _, log_weight = jax.lax.fori_loop(0, size, take, start)
    return jax.nn.logsumexp(log_weight, axis=1) - jnp.log(NUM_POINTS)


def _lattice(size: int) -> Float[np.ndarray, "shift point unit"]:
    """Richtmyer's lattice, shifted, folded, and kept off 0."""
    candidates = np.arange(2, 20 * size + 20)
    primes = [n for n in candidates if all(n % d for d in range(2, int(np.sqrt(n)) + 1))][:size]
    steps = np.sqrt(primes) % 1
    shifts = np.random.default_rng(0).uniform(size=(NUM_SHIFTS, 1, size))
    points = (np.arange(1, NUM_POINTS + 1)[:, None] * steps + shifts) % 1
    return np.clip(1 - np.abs(2 * points - 1), 1e-12, 1 - 1e-12)
