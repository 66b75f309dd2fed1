"""The standard normal law above a bound, without cancellation in either tail."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import erfc, erfcx, ndtri
from jaxtyping import Array, Float

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_DEEP_BOUND = 8.0  # above it the tail probability is inverted through its asymptotic hazard
_MOMENT_BOUND = 4.0  # above it 1 - hazard * (hazard - bound) has cancelled two digits
_HAZARD_TERMS = 8  # relative error of the hazard below 1e-11 at _DEEP_BOUND
_MOMENT_TERMS = 32  # relative error of both moments below 1e-12 at _MOMENT_BOUND


def open_uniform(key: Array, shape: tuple[int, ...], dtype: jnp.dtype) -> Float[Array, "..."]:
    """Draw uniform variates in (0, 1), never 0: half a grid step is the smallest.

    Args:
        key: Typed PRNG key.
        shape: Shape of the draw.
        dtype: A floating dtype.

    Returns:
        The variates. The grid has 2^-52 (float64) or 2^-23 (float32) between neighbours.
    """
    return jax.random.uniform(key, shape, dtype, minval=0.5 * float(jnp.finfo(dtype).eps))


def log_scaled_ndtr(t: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log[Phi(t) exp(min(t, 0)^2 / 2)], which stays of moderate size in both tails.

    Add max(t, 0)^2/2 + log(2 pi)/2 for log[Phi(t)/phi(t)] (`log_mills`).

    Args:
        t: Standardised bound, any finite value or +-inf.

    Returns:
        The logarithm, of the shape of `t`; about -log(sqrt(2 pi) |t|) for t << 0 and 0 for t >> 0.
    """
    scaled_tail = 0.5 * erfcx(jnp.abs(t) * math.sqrt(0.5))  # Phi(-|t|) exp(t^2 / 2)
    return jnp.log(jnp.where(t > 0, 1.0 - scaled_tail * jnp.exp(-0.5 * t * t), scaled_tail))


def log_mills(t: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return log[Phi(t)/phi(t)], stable for t of either sign.

    Args:
        t: Standardised location of a normal law truncated to the positive half-line.

    Returns:
        The log Mills ratio of -t, of the shape of `t`.
    """
    return log_scaled_ndtr(t) + 0.5 * jnp.square(jnp.maximum(t, 0.0)) + HALF_LOG_TWO_PI


def excess_moments(t: Float[Array, "..."]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return mean and variance of Z + t given Z + t > 0, for Z standard normal.

    With lam = phi(t)/Phi(t) these are t + lam and 1 - lam (lam + t). Below -4 both cancel, and the
    continued fraction of the Mills ratio takes over: with x = -t and
    e = 1/(x + 3/(x + 4/(x + ...))), the mean is d = 1/(x + 2 e) and the variance d (2 e - d).

    Args:
        t: Standardised location, any finite value.

    Returns:
        Mean and variance, both positive, of the shape of `t`.

    Source:
        Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.14.
    """
    hazard = jnp.exp(-log_mills(t))
    x = jnp.maximum(-t, _MOMENT_BOUND)
    fraction = jnp.zeros_like(x)
    for k in range(_MOMENT_TERMS, 2, -1):
        fraction = k / (x + fraction)
    e = 1.0 / (x + fraction)
    d = 1.0 / (x + 2.0 * e)
    deep = t < -_MOMENT_BOUND
    mean = jnp.where(deep, d, t + hazard)
    return mean, jnp.where(deep, d * (2.0 * e - d), 1.0 - hazard * (hazard + t))


def rectified_moments(
    mean: Float[Array, "..."], std: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return mean and variance of max(mean + std Z, 0), for Z standard normal.

    Args:
        mean: Any value.
        std: At least 0; at 0 the mean is rectified itself, and the variance 0.

    Returns:
        Mean and variance, of the broadcast shape.
    """
    noisy = std > 0
    t = mean / jnp.where(noisy, std, 1.0)
    below, above = upper_tail(t), upper_tail(-t)
    density = jnp.exp(-0.5 * t * t - HALF_LOG_TWO_PI)
    rectified = jnp.where(noisy, mean * above + std * density, jnp.maximum(mean, 0.0))
    scaled_var = above + t * t * above * below + t * density * (below - above) - density**2
    return rectified, std**2 * jnp.maximum(scaled_var, 0.0)


def excess_from_uniform(
    u: Float[Array, "..."], lower: Float[Array, "..."], tail_prob: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Map a uniform variate to Z - lower given Z > lower, for Z standard normal.

    This inverts P(Z > lower + excess) = u P(Z > lower). It is the excess, not Z, that is
    returned, since subtracting the bound afterwards would lose all digits for a large bound.

    Args:
        u: Uniform variates in (0, 1], as `open_uniform` draws them; the excess decreases in `u`.
        lower: Bounds of either sign, of the same shape.
        tail_prob: P(Z > lower), which callers have at hand; not used above a bound of 8, where it
            may underflow.

    Returns:
        Nonnegative excesses, of the shape of `u`.
    """
    deep = lower > _DEEP_BOUND
    tail = jnp.where(deep, 1.0, tail_prob)
    near = jnp.maximum(-ndtri(u * tail) - lower, 0.0)
    # deep bounds are rare, and their branch costs more than all the rest
    return jax.lax.cond(
        jnp.any(deep),
        lambda: jnp.where(deep, _deep_excess(u, lower), near),
        lambda: near,
    )


def upper_tail(lower: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return P(Z > lower), with full relative precision until it underflows."""
    return 0.5 * erfc(lower * math.sqrt(0.5))


def _deep_excess(u: Float[Array, "..."], lower: Float[Array, "..."]) -> Float[Array, "..."]:
    """Solve e (lower + e/2) + log[hazard(lower + e)/hazard(lower)] = -log u by Newton steps."""
    bound = jnp.maximum(lower, _DEEP_BOUND)
    log_u = jnp.log(u)
    hazard_at_bound = _hazard(bound)
    excess = -2.0 * log_u / (bound + jnp.sqrt(bound * bound - 2.0 * log_u))
    for _ in range(2):
        hazard = _hazard(bound + excess)
        error = excess * (bound + 0.5 * excess) + jnp.log(hazard / hazard_at_bound) + log_u
        excess = excess - error / hazard
    return jnp.maximum(excess, 0.0)


def _hazard(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return phi(x)/Phi(-x) for x >= 8, by a continued fraction (Abramowitz and Stegun 26.2.14)."""
    fraction = jnp.zeros_like(x)
    for k in range(_HAZARD_TERMS, 0, -1):
        fraction = k / (x + fraction)
    return x + fraction
