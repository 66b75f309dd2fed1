r"""The scalar primitive: a spike and slab tilted by a normal likelihood.

A scalar h has P(h = 0) = 1 - pi and h | h > 0 ~ slab; it is seen through N(h; r, v). Gibbs'
coordinate update, message passing's denoiser and the scalar activation of the ladder of inverses
are calls of `tilted` and `sample_tilted`; nothing else knows a slab's formula.

All arguments broadcast by NumPy's rules; a slab per unit goes along the last axis.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.nn import log_sigmoid
from jax.scipy.special import logsumexp
from jaxtyping import Array, ArrayLike, Bool, Float

from probrev.model.slabs import (
    FiniteSlab,
    LogQuadraticSlab,
    Slab,
    check_slab,
    unit_slab,
)
from probrev.numerics.broadcasting import same_rank
from probrev.numerics.quadrature import integrate, integrate_and_invert, log_likelihood_shape
from probrev.numerics.truncated_normal import (
    HALF_LOG_TWO_PI,
    excess_from_uniform,
    excess_moments,
    log_scaled_ndtr,
    open_uniform,
    upper_tail,
)

_LOG_NDTR_2 = -0.023012909328963488  # log Phi(2)

__all__ = [
    "FiniteSlab",
    "LogQuadraticSlab",
    "Slab",
    "Tilted",
    "check_slab",
    "invert_tilted",
    "log_slab_ratio",
    "sample_tilted",
    "silent_below",
    "slab_moments",
    "tilted",
    "unit_slab",
    "weigh_and_invert",
]


class Tilted(NamedTuple):
    """A tilted spike and slab: log evidence, and mean, variance and P(h > 0) of h."""

    log_evidence: Float[Array, "..."]
    mean: Float[Array, "..."]
    var: Float[Array, "..."]
    inclusion_prob: Float[Array, "..."]


class _TiltedSlab(NamedTuple):
    """A slab alone, tilted by g(h) = exp(-(h - r)^2 / (2 v))."""

    log_mass: Float[Array, "..."]  # log of the integral of slab(h) g(h)
    log_ratio: Float[Array, "..."]  # the same with g(h) / g(0)
    mean: Float[Array, "..."]
    var: Float[Array, "..."]


def tilted(inclusion_logit: ArrayLike, slab: Slab, r: ArrayLike, v: ArrayLike) -> Tilted:
    r"""Return evidence and moments of a spike and slab seen through N(h; r, v).

    With pi = sigmoid(inclusion_logit):

        evidence = (1 - pi) N(0; r, v) + pi \int slab(h) N(h; r, v) dh

    Closed forms for finite and log-quadratic slabs, quadrature for any other.

    Args:
        inclusion_logit: log[pi / (1 - pi)], -inf and +inf included.
        slab: Law of h given h > 0, as `canonical_slab` brings it: others cost a quadrature.
        r: Location of the likelihood, any finite value; ignored where v is inf.
        v: Variance of the likelihood, > 0. Where it is inf the law is the prior, and log_evidence
            is -inf.

    Returns:
        log_evidence, mean, var and inclusion_prob, of the broadcast shape.

    Raises:
        ValueError: If a slab without closed form has a batch shape.
    """
    logit, r, inv_v = _natural_arguments(inclusion_logit, slab, r, v)
    active = _tilt_slab(slab, r, inv_v)
    post_logit = logit + active.log_ratio
    inclusion_prob = jax.nn.sigmoid(post_logit)
    spread = jnp.square(active.mean) * jax.nn.sigmoid(-post_logit)
    log_zero = -0.5 * inv_v * r * r
    mass = jnp.logaddexp(log_sigmoid(-logit) + log_zero, log_sigmoid(logit) + active.log_mass)
    return Tilted(
        log_evidence=mass + 0.5 * jnp.log(inv_v) - HALF_LOG_TWO_PI,
        mean=inclusion_prob * active.mean,
        var=inclusion_prob * (active.var + spread),
        inclusion_prob=inclusion_prob,
    )


def sample_tilted(
    key: Array, inclusion_logit: ArrayLike, slab: Slab, r: ArrayLike, v: ArrayLike
) -> Float[Array, "..."]:
    """Draw h from a spike and slab seen through N(h; r, v).

    Args:
        key: Typed PRNG key.
        inclusion_logit: As in `tilted`.
        slab: As in `tilted`.
        r: As in `tilted`.
        v: As in `tilted`.

    Returns:
        Draws, exactly 0 from the spike and positive from the slab, of the broadcast shape.

    Raises:
        ValueError: If a slab without closed form has a batch shape.
    """
    arguments = (inclusion_logit, r, v)
    shape = jnp.broadcast_shapes(*map(jnp.shape, arguments), slab.batch_shape)
    u = open_uniform(key, shape, jnp.result_type(0.0, *arguments))
    return invert_tilted(u, inclusion_logit, slab, r, v)


def invert_tilted(
    u: Float[Array, "..."],
    inclusion_logit: ArrayLike,
    slab: Slab,
    r: ArrayLike,
    v: ArrayLike,
    was_active: Bool[Array, "..."] | None = None,
) -> Float[Array, "..."]:
    """Map one uniform variate to a draw from a spike and slab seen through N(h; r, v).

    It decides spike or slab and then, rescaled, the value. Exact for finite and log-quadratic
    slabs; for any other by interpolation, with an error of the distribution function below 1e-4.

    With `was_active` it is a Markov step instead: it goes from spike to slab with probability
    min(1, odds) and back with min(1, 1 / odds), which leaves the same law alone and flips more
    often than drawing anew; in the slab the value is always drawn anew.

    Args:
        u: Uniform variates in (0, 1), of the broadcast shape of all other arguments.
        inclusion_logit: As in `tilted`.
        slab: As in `tilted`.
        r: As in `tilted`.
        v: As in `tilted`.
        was_active: Whether h > 0 before the step; None to draw anew.

    Returns:
        Draws, as `sample_tilted` gives them.

    Source:
        Liu 1996 (Metropolised Gibbs sampling).
    """
    logit, r, inv_v = _natural_arguments(inclusion_logit, slab, r, v)
    if isinstance(slab, FiniteSlab):
        return _invert_finite(u, logit, slab, r, inv_v, was_active)
    if isinstance(slab, LogQuadraticSlab):
        return _invert_log_quadratic(u, logit, slab, r, inv_v, was_active)
    return _invert_by_quadrature(u, logit, slab, r, inv_v, was_active)[1]


def weigh_and_invert(
    u: Float[Array, "..."], inclusion_logit: ArrayLike, slab: Slab, r: ArrayLike, v: ArrayLike
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """`log_slab_ratio` and `invert_tilted` at the price of one of them where that is a quadrature.

    Args:
        u: as in `invert_tilted`.
        inclusion_logit: as in `tilted`.
        slab: as in `tilted`.
        r: as in `tilted`.
        v: as in `tilted`.
    """
    if isinstance(slab, FiniteSlab | LogQuadraticSlab):
        return log_slab_ratio(slab, r, v), invert_tilted(u, inclusion_logit, slab, r, v)
    logit, r, inv_v = _natural_arguments(inclusion_logit, slab, r, v)
    return _invert_by_quadrature(u, logit, slab, r, inv_v, None)


def silent_below(
    u: Float[Array, "..."], inclusion_logit: ArrayLike, slab: Slab, v: ArrayLike
) -> Float[Array, "..."]:
    """A bound on r / v below which `invert_tilted` leaves a silent h silent, with this u.

    The least r / v that wakes it lies above the bound, and near it: which units stay silent is
    found out without the law of each. Where nothing is known the bound is -inf.

    Args:
        u: As in `invert_tilted`, `was_active` being False.
        inclusion_logit: As in `tilted`.
        slab: As in `tilted`; of one without a closed form nothing is known.
        v: As in `tilted`.

    Returns:
        Bounds, of the broadcast shape.

    Source:
        Boyd 1959 (a bound on the Mills ratio); convexity of log Phi(t) + t^2 / 2; Phi <= 1.
    """
    logit, _, inv_v = _natural_arguments(inclusion_logit, slab, u, v)
    needed = jnp.log(same_rank(u, shape=slab.batch_shape)[0]) - logit
    if isinstance(slab, FiniteSlab):
        needed, inv_v, values, probs = same_rank(
            needed[..., None], inv_v[..., None], slab.values, slab.probs
        )
        # log sum_k p_k exp(s h_k - inv_v h_k^2 / 2) is at most the largest exponent
        least = needed / values + 0.5 * inv_v * values
        return jnp.min(jnp.where(probs > 0, least, jnp.inf), axis=-1)
    if isinstance(slab, LogQuadraticSlab):
        slab, (needed, inv_v) = _aligned(slab, needed, inv_v)
        law = _truncated_normal(slab, jnp.zeros_like(inv_v), inv_v)
        return _least_excess(needed - law.log_scale) / law.std - slab.slope
    return jnp.full(jnp.broadcast_shapes(needed.shape, inv_v.shape), -jnp.inf)


def _least_excess(log_odds: Array) -> Array:
    """A t below which log Phi(t) + t^2 / 2 < log_odds."""
    log_half = jnp.log(0.5)
    # t < 0: Phi(-x) exp(x^2 / 2) sqrt(2 pi) <= pi / (sqrt((pi - 2)^2 x^2 + 2 pi) + 2 x)
    slope, two_pi = (jnp.pi - 2.0) ** 2, 2.0 * jnp.pi
    q = jnp.sqrt(jnp.pi / 2.0) * jnp.exp(-jnp.minimum(log_odds, log_half))
    x = (2.0 * q - jnp.sqrt(slope * q * q + two_pi * (4.0 - slope))) / (4.0 - slope)
    below = jnp.where(jnp.isfinite(x), -x, -jnp.inf)
    # 0 <= t <= 2: the chord of a convex function; above: Phi <= 1
    above = jnp.maximum(log_odds, log_half)
    chord = (above - log_half) * (2.0 / (2.0 + _LOG_NDTR_2 - log_half))
    far = jnp.sqrt(2.0 * jnp.maximum(above, 0.0))
    return jnp.where(log_odds < log_half, below, jnp.where(chord <= 2.0, chord, far))


def _active_prob(post_logit: Array, was_active: Array | None) -> Array:
    """Return the probability to be active next, given the log odds of being so."""
    if was_active is None:
        return jax.nn.sigmoid(post_logit)
    stays = -jnp.expm1(-jnp.maximum(post_logit, 0.0))
    return jnp.where(was_active, stays, jnp.exp(jnp.minimum(post_logit, 0.0)))


def log_slab_ratio(slab: Slab, r: ArrayLike, v: ArrayLike) -> Float[Array, "..."]:
    r"""Return log[\int slab(h) N(h; r, v) dh / N(0; r, v)]: the log Bayes factor of h > 0.

    Args:
        slab: As in `tilted`.
        r: As in `tilted`.
        v: As in `tilted`; 0 is returned where it is inf.

    Returns:
        The log ratio, of the broadcast shape.
    """
    _, r, inv_v = _natural_arguments(0.0, slab, r, v)
    return _tilt_slab(slab, r, inv_v).log_ratio


def slab_moments(slab: Slab) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return E[h] and E[h^2] under a slab.

    Closed forms for finite and log-quadratic slabs, else the distribution's own mean and variance
    (infinite where it has none), else quadrature.

    Args:
        slab: As in `tilted`; a LogQuadraticSlab is normalised first.

    Returns:
        First and second moment, of the slab's batch shape.
    """
    own = _own_moments(slab)
    if own is not None:
        return own[0], own[1] + jnp.square(own[0])
    zero = jnp.zeros((), jnp.result_type(0.0))
    prior = _tilt_slab(slab, zero, zero)
    return prior.mean, prior.var + jnp.square(prior.mean)


def _own_moments(slab: Slab) -> tuple[Array, Array] | None:
    """Return the mean and variance that a distribution without closed form here knows itself."""
    if isinstance(slab, FiniteSlab | LogQuadraticSlab):
        return None
    try:
        return jnp.asarray(slab.mean), jnp.asarray(slab.variance)
    except NotImplementedError:
        return None


def _natural_arguments(
    inclusion_logit: ArrayLike, slab: Slab, r: ArrayLike, v: ArrayLike
) -> tuple[Array, Array, Array]:
    """Return inclusion logit, r and 1/v as floats of one rank; r is 0 where v is infinite."""
    dtype = jnp.result_type(0.0, inclusion_logit, r, v)
    arguments = (jnp.asarray(a, dtype) for a in (inclusion_logit, r, v))
    logit, r, v = same_rank(*arguments, shape=slab.batch_shape)
    r, inv_v = jnp.broadcast_arrays(r, 1.0 / v)
    return logit, jnp.where(inv_v > 0, r, 0.0), inv_v


def _tilt_slab(slab: Slab, r: Array, inv_v: Array) -> _TiltedSlab:
    """Tilt a canonical slab."""
    if isinstance(slab, FiniteSlab):
        return _tilt_finite(slab, r, inv_v)
    if isinstance(slab, LogQuadraticSlab):
        return _tilt_log_quadratic(slab, r, inv_v)
    return _tilt_by_quadrature(slab, r, inv_v)


def _tilt_finite(slab: FiniteSlab, r: Array, inv_v: Array) -> _TiltedSlab:
    r, inv_v, values, probs = same_rank(r[..., None], inv_v[..., None], slab.values, slab.probs)
    log_weights = jnp.log(probs) + log_likelihood_shape(values, r, inv_v)
    weights = jax.nn.softmax(log_weights, axis=-1)
    mean = jnp.sum(weights * values, axis=-1)
    var = jnp.sum(weights * jnp.square(values - mean[..., None]), axis=-1)
    log_shape = logsumexp(log_weights, axis=-1)
    return _with_constants(log_shape, mean, var, r[..., 0], inv_v[..., 0])


def _tilt_by_quadrature(slab: dist.Distribution, r: Array, inv_v: Array) -> _TiltedSlab:
    check_slab(slab)
    log_shape, mean, var = integrate(slab, r, inv_v)
    own = _own_moments(slab)
    if own is not None:  # without a likelihood the tails may be too heavy for the finite grid
        mean, var = jnp.where(inv_v > 0, mean, own[0]), jnp.where(inv_v > 0, var, own[1])
    return _with_constants(log_shape, mean, var, r, inv_v)


def _invert_by_quadrature(
    u: Array,
    logit: Array,
    slab: dist.Distribution,
    r: Array,
    inv_v: Array,
    was_active: Array | None,
) -> tuple[Array, Array]:
    """The log ratio of slab to spike by the likelihood alone, and h."""
    check_slab(slab)

    def level(
        log_shape: Array, r: Array, inv_v: Array, u: Array, logit: Array, was: Array | None = None
    ) -> Array:
        prob = _active_prob(logit + _log_ratio(log_shape, r, inv_v), was)
        return jnp.where(u < prob, u / prob, 1.0)

    r, inv_v, logit = (jnp.broadcast_to(a, u.shape) for a in (r, inv_v, logit))
    more = () if was_active is None else (jnp.broadcast_to(was_active, u.shape),)
    log_shape, value = integrate_and_invert(slab, level, r, inv_v, u, logit, *more)
    log_ratio = _log_ratio(log_shape, r, inv_v)
    is_active = u < _active_prob(logit + log_ratio, was_active)
    return log_ratio, jnp.where(is_active, value, 0.0)


def _with_constants(
    log_shape: Array, mean: Array, var: Array, r: Array, inv_v: Array
) -> _TiltedSlab:
    """Put back the constants that `log_likelihood_shape` leaves out."""
    log_mass = log_shape - 0.5 * inv_v * jnp.square(jnp.minimum(r, 0.0))
    return _TiltedSlab(log_mass, _log_ratio(log_shape, r, inv_v), mean, var)


def _log_ratio(log_shape: Array, r: Array, inv_v: Array) -> Array:
    return log_shape + 0.5 * inv_v * jnp.square(jnp.maximum(r, 0.0))


class _TruncatedNormal(NamedTuple):
    """A tilted log-quadratic slab: std * (Z + t) given Z + t > 0, Z standard normal."""

    t: Float[Array, "..."]
    std: Float[Array, "..."]
    precision: Float[Array, "..."]
    log_scale: Float[Array, "..."]  # log_density_at_zero + log std + log(2 pi) / 2


def _truncated_normal(slab: LogQuadraticSlab, r: Array, inv_v: Array) -> _TruncatedNormal:
    r"""Complete the square: precision = curvature + 1/v, t = (slope + r/v) / sqrt(precision).

    An exponential slab seen through v = inf has precision 0: it is kept above (eps slope)^2,
    where the normal law is an exponential one to rounding.
    """
    log_density, slope, curvature = slab
    linear = slope + r * inv_v
    floor = jnp.square(jnp.finfo(inv_v.dtype).eps * slope)
    precision = jnp.maximum(curvature + inv_v, floor)
    std = jax.lax.rsqrt(precision)
    log_scale = log_density + jnp.log(std) + HALF_LOG_TWO_PI
    return _TruncatedNormal(linear * std, std, precision, log_scale)


def _aligned(slab: LogQuadraticSlab, *others: Array) -> tuple[LogQuadraticSlab, tuple[Array, ...]]:
    """Bring the slab's numbers and the other arrays to one rank."""
    leaves = same_rank(*(jnp.asarray(leaf, others[0].dtype) for leaf in slab), *others)
    return LogQuadraticSlab(*leaves[:3]), tuple(leaves[3:])


def _tilt_log_quadratic(slab: LogQuadraticSlab, r: Array, inv_v: Array) -> _TiltedSlab:
    slab, (r, inv_v) = _aligned(slab, r, inv_v)
    law = _truncated_normal(slab, r, inv_v)
    mean, var = excess_moments(law.t)
    base = law.log_scale + log_scaled_ndtr(law.t)
    # t^2/2 - r^2/(2 v), written without the difference of two great numbers
    exponent = 0.5 * (slab.slope**2 + inv_v * r * (2.0 * slab.slope - r * slab.curvature))
    above = law.t > 0
    return _TiltedSlab(
        log_mass=base + jnp.where(above, exponent / law.precision, -0.5 * inv_v * r * r),
        log_ratio=base + jnp.where(above, 0.5 * law.t * law.t, 0.0),
        mean=law.std * mean,
        var=jnp.square(law.std) * var,
    )


def _invert_log_quadratic(
    u: Array,
    logit: Array,
    slab: LogQuadraticSlab,
    r: Array,
    inv_v: Array,
    was_active: Array | None,
) -> Array:
    slab, (u, logit, r, inv_v) = _aligned(slab, u, logit, r, inv_v)
    law = _truncated_normal(slab, r, inv_v)
    log_ratio = law.log_scale + log_scaled_ndtr(law.t) + 0.5 * jnp.square(jnp.maximum(law.t, 0.0))
    active_prob = _active_prob(logit + log_ratio, was_active)
    active = u < active_prob
    lower = jnp.where(active, -law.t, 0.0)
    uniform = jnp.where(active, u / active_prob, 1.0)
    value = law.std * excess_from_uniform(uniform, lower, upper_tail(lower))
    # an active unit is told from a silent one by h > 0, also after rounding
    return jnp.where(active, jnp.maximum(value, jnp.finfo(u.dtype).tiny), 0.0)


def _invert_finite(
    u: Array,
    logit: Array,
    slab: FiniteSlab,
    r: Array,
    inv_v: Array,
    was_active: Array | None,
) -> Array:
    u, logit, r, inv_v, values, probs = same_rank(
        *(a[..., None] for a in (u, logit, r, inv_v)), slab.values, slab.probs
    )
    log_weights = jnp.log(probs) + inv_v * values * (r - 0.5 * values)
    log_ratio = logsumexp(log_weights, axis=-1, keepdims=True)
    if was_active is not None:
        (was_active,) = same_rank(was_active[..., None], shape=log_ratio.shape)
    active_prob = _active_prob(logit + log_ratio, was_active)
    active = u < active_prob
    upper = jnp.cumsum(jnp.exp(log_weights - log_ratio), axis=-1)
    uniform = jnp.where(active, u / active_prob, 1.0) * upper[..., -1:]
    level = jnp.sum(uniform > upper[..., :-1], axis=-1)
    chosen = jax.nn.one_hot(level, values.shape[-1], dtype=bool)
    value = jnp.sum(jnp.where(chosen, values, 0.0), axis=-1)
    return jnp.where(active[..., 0], value, 0.0)
