"""The standard normal law between two bounds, t < Z < t + width, without cancellation in its tail.

Callers reflect their interval so that t >= -width / 2: the nearer end is t.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import log_ndtr
from jaxtyping import Array, Float

from probrev.numerics.truncated_normal import (
    HALF_LOG_TWO_PI,
    excess_from_uniform,
    excess_moments,
    log_mills,
    log_scaled_ndtr,
    upper_tail,
)


def log_interval_prob(
    t: Float[Array, "..."], width: Float[Array, "..."] | float
) -> Float[Array, "..."]:
    """Return log P(t < Z < t + width).

    Args:
        t: The end that is nearer to 0, or inside.
        width: Positive; the number `math.inf` for an interval that is open above.

    Returns:
        The logarithm, of the broadcast shape, with finite derivatives.
    """
    if _is_open(width):
        return log_ndtr(-t)
    near = log_ndtr(-t)
    return near + _log_one_minus_exp(log_ndtr(-(t + width)) - near)


class IntervalLaw(NamedTuple):
    """Z in an interval: log P(t < Z < t + width), and with fixed width minus its derivatives in t.

    Attributes:
        log_prob: the logarithm.
        mean: E[Z | t < Z < t + width], minus its first derivative.
        concavity: 1 - Var[Z | t < Z < t + width], minus its second.
    """

    log_prob: Float[Array, "..."]
    mean: Float[Array, "..."]
    concavity: Float[Array, "..."]


def interval_law(t: Float[Array, "..."], width: Float[Array, "..."] | float) -> IntervalLaw:
    """Return the probability and the first two moments of Z in an interval.

    Args:
        t: As in `log_interval_prob`.
        width: As in `log_interval_prob`.

    Returns:
        All of the broadcast shape; not to be differentiated. Where the interval is narrow, the mean
        has a relative error of eps / width.
    """
    if _is_open(width):
        log_prob = log_scaled_ndtr(-t) - 0.5 * jnp.square(jnp.maximum(t, 0.0))
        _, excess_var = excess_moments(-t)
        return IntervalLaw(log_prob, jnp.exp(-log_mills(-t)), 1.0 - excess_var)
    log_mass, log_decay = _relative_mass(t, width)
    hazard = jnp.exp(-log_mass)  # phi(t) over the interval's probability
    mean = -jnp.expm1(log_decay) * hazard
    concavity = jnp.square(mean) - hazard * (t - (t + width) * jnp.exp(log_decay))
    log_prob = log_mass - 0.5 * t * t - HALF_LOG_TWO_PI
    return IntervalLaw(log_prob, mean, concavity)


def second_moment(
    t: Float[Array, "..."], width: Float[Array, "..."] | float
) -> Float[Array, "..."]:
    """Return E[Z^2; t < Z < t + width], the part of E[Z^2] = 1 that the interval has."""
    near = upper_tail(t) + t * jnp.exp(-0.5 * t * t - HALF_LOG_TWO_PI)
    if _is_open(width):
        return near
    end = t + width
    return near - upper_tail(end) - end * jnp.exp(-0.5 * end * end - HALF_LOG_TWO_PI)


def interval_excess(
    u: Float[Array, "..."],
    t: Float[Array, "..."],
    width: Float[Array, "..."] | float,
    tail_prob: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Map a uniform variate to Z - t given t < Z < t + width.

    Args:
        u: Uniform variates in (0, 1]; the excess decreases in `u`.
        t: As in `log_interval_prob`.
        width: As in `log_interval_prob`; entries may be infinite.
        tail_prob: P(Z > t), which callers have at hand.

    Returns:
        Excesses in [0, width].
    """
    if _is_open(width):
        return excess_from_uniform(u, t, tail_prob)
    beyond = jnp.exp(log_ndtr(-(t + width)) - log_ndtr(-t))
    return jnp.minimum(excess_from_uniform(beyond + u * (1.0 - beyond), t, tail_prob), width)


def _is_open(width: Float[Array, "..."] | float) -> bool:
    """Whether the interval has no upper end, known when programs are compiled."""
    return not hasattr(width, "shape") and math.isinf(width)


def _relative_mass(t: Array, width: Array | float) -> tuple[Array, Array]:
    """Return log[P(t < Z < t + width) / phi(t)] and log[phi(t + width) / phi(t)] <= 0."""
    log_decay = -width * (t + 0.5 * width)
    near = log_mills(-t)
    return near + _log_one_minus_exp(log_decay + log_mills(-(t + width)) - near), log_decay


def _log_one_minus_exp(x: Array) -> Array:
    """Return log(1 - exp(x)) for x < 0."""
    x = jnp.minimum(x, -jnp.finfo(x.dtype).tiny)
    return jnp.where(
        x > -math.log(2),
        jnp.log(-jnp.expm1(jnp.maximum(x, -1.0))),
        jnp.log1p(-jnp.exp(jnp.minimum(x, -0.5))),
    )
