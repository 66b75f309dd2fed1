"""The mass f(t) = (1 - rho) + rho Phi(-t) of a row that is 0: dropped, or kept and rectified.

t is how far its pre-activation is above the edge of the flat, in standard deviations of the noise.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, ArrayLike, Bool, Float
from scipy.special import log_ndtr as log_ndtr_of_array

from probrev.numerics.truncated_normal import HALF_LOG_TWO_PI, log_mills, upper_tail

GRID = np.linspace(-12.0, 12.0, 48_001)
MARGIN = 1.002  # the grid misses the supremum by less than 1e-3 of it, tested on finer grids
DEEP = 30.0


def silence_prob(t: Float[Array, "*shape"], keep_prob: ArrayLike) -> Float[Array, "*shape"]:
    """Return f(t), with full relative precision until it underflows.

    Args:
        t: any values.
        keep_prob: rho in [0, 1].
    """
    return jnp.asarray((1.0 - keep_prob) + keep_prob * upper_tail(t))


def log_silence_prob(t: Float[Array, "*shape"], keep_prob: ArrayLike) -> Float[Array, "*shape"]:
    """Return log f(t) at the cost of erfc and log.

    `Flat.log_mass` computes the same in log space, at some ten times the cost; only where the mass
    underflows is that needed. Not meant for differentiation.

    Args:
        t: any values.
        keep_prob: rho in [0, 1], a scalar.
    """
    silence = silence_prob(t, keep_prob)
    tiny = jnp.finfo(silence.dtype).tiny
    # The barrier keeps erfc and log in two loops: fused into one they take half as long again. Both
    # stay outside the branches, where XLA uses all cores.
    log_silence = jnp.log(jnp.maximum(jax.lax.optimization_barrier(silence), tiny))
    deep_from = 0.95 * (-2 * jnp.log(tiny)) ** 0.5

    def without_dropout():
        deep = t > deep_from
        exact = lambda: jnp.where(deep, log_ndtr(-t), log_silence)  # noqa: E731
        return jax.lax.cond(deep.any(), exact, lambda: log_silence)

    return jax.lax.cond(jnp.asarray(keep_prob) == 1, without_dropout, lambda: log_silence)


def sum_log_silence_prob(
    t: Float[Array, "*shape row"], keep_prob: ArrayLike, is_on: Bool[Array, "*#shape row"]
) -> Float[Array, "*shape"]:
    """Return the sum of log f(t) over rows: with dropout the logarithm is one of eight rows.

    Args:
        t: any values.
        keep_prob: rho in [0, 1], a scalar.
        is_on: rows that count.
    """
    # f is 1 - rho or more, and that is 0 or at least the precision: eight do not underflow.
    size = 8 if t.dtype == jnp.float64 else 4

    def in_groups() -> Array:
        silence = jnp.where(is_on, silence_prob(t, keep_prob), 1.0)
        missing = -silence.shape[-1] % size
        wider = [*[(0, 0)] * (silence.ndim - 1), (0, missing)]
        # The barrier as in `log_silence_prob`.
        silence = jax.lax.optimization_barrier(jnp.pad(silence, wider, constant_values=1.0))
        groups = silence.reshape(*silence.shape[:-1], size, -1).prod(-2)
        return jnp.log(groups).sum(-1)

    def one_by_one() -> Array:
        return jnp.where(is_on, log_upper_tail(t), 0.0).sum(-1)

    return jax.lax.cond(jnp.asarray(keep_prob) == 1, one_by_one, in_groups)


def log_upper_tail(t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return log Phi(-t), which is log f without dropout, without a branch.

    To rounding: beyond 30 by Abramowitz and Stegun 26.2.12.
    """
    deep = jnp.maximum(t, DEEP)
    u = 1 / deep**2
    series = 1 - u * (1 - 3 * u * (1 - 5 * u * (1 - 7 * u)))
    asymptotic = -0.5 * deep**2 - jnp.log(deep) - HALF_LOG_TWO_PI + jnp.log(series)
    near = jnp.log(upper_tail(jnp.minimum(t, DEEP)))
    return jnp.where(t > DEEP, asymptotic, near)


def silence_slope(
    t: Float[Array, "*shape"], keep_prob: Float[Array, ""], has_dropout: bool
) -> Float[Array, "*shape"]:
    """Return (log f)'(t) = -rho phi(t) / f(t), at most 0.

    Args:
        t: any values.
        keep_prob: rho.
        has_dropout: whether rho < 1, known when this is compiled: without dropout f underflows,
            and its hazard takes four times as long.
    """
    if not has_dropout:
        return -jnp.exp(-log_mills(-t))
    density = keep_prob * jnp.exp(-0.5 * t * t - HALF_LOG_TWO_PI)
    return -density / silence_prob(t, keep_prob)


@functools.cache
def curvature_range(keep_prob: float) -> tuple[float, float]:
    """Bounds on (log f)'' over all t: -lowest <= it <= highest.

    With r = rho phi / f it is (log f)'' = t r - r^2. Without dropout it lies in [-1, 0]: f is
    log-concave. With dropout it vanishes in both tails (for t beyond 12 below e^-70 / (1 - rho)),
    and its extremes lie on the grid.

    Args:
        keep_prob: rho in (0, 1].

    Returns:
        (lowest, highest), both >= 0 and rounded up.
    """
    if keep_prob == 1:
        return 1.0, 0.0
    log_kept = np.log(keep_prob) + log_ndtr_of_array(-GRID)
    log_mass = np.logaddexp(np.log1p(-keep_prob), log_kept)
    ratio = np.exp(np.log(keep_prob) - 0.5 * GRID**2 - HALF_LOG_TWO_PI - log_mass)
    curvature = GRID * ratio - ratio**2
    return MARGIN * float(-curvature.min()), MARGIN * float(curvature.max())
