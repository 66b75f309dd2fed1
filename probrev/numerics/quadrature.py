"""Quadrature for a slab without a closed form, tilted by a normal likelihood."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float
from numpyro.distributions import biject_to

_WIDE_NODES = 512
_ADAPTED_NODES = 65
_ZOOM_NODES = 129
_NUM_ZOOMS = 3
_FINE_NODES = 1025
_LOG_CUTOFF = 40.0  # what lies e^-40 below the greatest value of the integrand is left out
_BATCH_SIZE = 1024  # elements whose nodes are in memory at one time

_LogIntegrand = Callable[[Array], tuple[Array, Array]]  # u -> h(u), log integrand


class _Nodes(NamedTuple):
    """A grid for one tilted slab: positions u, values h(u), log integrand with respect to u."""

    position: Float[Array, " node"]
    value: Float[Array, " node"]
    log_weight: Float[Array, " node"]


def log_likelihood_shape(h: Array, r: Array, inv_v: Array) -> Array:
    """Return log N(h; r, v) up to the constant log N(max(-r, 0); 0, v), without cancellation.

    This is -(h - max(r, 0))^2 / (2 v) - max(-r, 0) h / v.

    Args:
        h: Positions >= 0.
        r: Location of the likelihood, either sign.
        inv_v: 1 / v >= 0.

    Returns:
        The exponent, broadcast.
    """
    return -inv_v * (0.5 * jnp.square(h - jnp.maximum(r, 0.0)) + jnp.maximum(-r, 0.0) * h)


def integrate(
    slab: dist.Distribution, r: Float[Array, "..."], inv_v: Float[Array, "..."]
) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
    """Integrate slab(h) exp(log_likelihood_shape(h)) and its first two moments.

    The integral runs over u, with h = h(u) NumPyro's bijection from the line to the support (exp
    for (0, inf)), by the trapezoidal rule, which converges exponentially for a smooth integrand
    that vanishes at both ends; this also removes a singularity at h = 0. The range is found by a
    wide grid joined with points around r, then narrowed in 3 rounds to where the integrand is
    within e^-40 of its maximum. Relative error below 1e-8 (float64) for smooth slabs.

    Args:
        slab: Continuous scalar distribution with batch_shape ().
        r: Locations of the likelihood.
        inv_v: 1 / v >= 0, of the same shape.

    Returns:
        Log integral, mean and variance of h under the tilted slab.
    """

    def moments(nodes: _Nodes, *_: Array) -> tuple[Array, Array, Array]:
        weights = jnp.exp(nodes.log_weight - jnp.max(nodes.log_weight))
        total = jnp.sum(weights)
        mean = jnp.sum(weights * nodes.value) / total
        var = jnp.sum(weights * jnp.square(nodes.value - mean)) / total
        return _log_integral(nodes), mean, var

    return _map_elements(slab, moments, r, inv_v)


def integrate_and_invert(
    slab: dist.Distribution,
    level: Callable[..., Float[Array, ""]],
    r: Float[Array, "..."],
    inv_v: Float[Array, "..."],
    *more: Float[Array, "..."],
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Integrate as `integrate` does, and map levels through the inverse distribution function.

    The distribution function is of fourth order at the 1025 nodes of `integrate`, and its density
    is linear between them: it is off by less than 1e-4 for smooth slabs.

    Args:
        slab: Continuous scalar distribution with batch_shape ().
        level: (log integral, r, inv_v, *more) -> level in (0, 1], of one element.
        r: Locations of the likelihood.
        inv_v: 1 / v >= 0, of the same shape.
        more: what else levels depend on, of the same shape.

    Returns:
        Log integral, and the positive values at those levels of the tilted slab.
    """

    def quantile(nodes: _Nodes, *element: Array) -> tuple[Array, Array]:
        log_integral = _log_integral(nodes)
        wanted = level(log_integral, *element)
        weights = jnp.exp(nodes.log_weight - jnp.max(nodes.log_weight))
        cells = 0.5 * (weights[1:] + weights[:-1])
        # Euler-Maclaurin: the trapezoidal rule up to an inner node errs by slope / 12
        correction = jnp.asarray(jnp.gradient(weights)) / 12.0
        cumulative = jax.lax.cummax(jnp.cumsum(cells) - (correction[1:] - correction[0]))
        upper = cumulative / cumulative[-1]
        lower = jnp.concatenate([jnp.zeros_like(upper[:1]), upper[:-1]])
        cell = jnp.clip(jnp.searchsorted(upper, wanted), 0, cells.size - 1)
        width = jnp.maximum(upper[cell] - lower[cell], jnp.finfo(upper.dtype).tiny)
        inside = jnp.clip((wanted - lower[cell]) / width, 0.0, 1.0) * cells[cell]
        left, right = weights[cell], weights[cell + 1]
        root = jnp.sqrt(jnp.maximum(left * left + 2.0 * (right - left) * inside, 0.0))
        share = 2.0 * inside / jnp.maximum(left + root, jnp.finfo(left.dtype).tiny)
        step = nodes.position[1] - nodes.position[0]
        position = nodes.position[cell] + jnp.minimum(share, 1.0) * step
        return log_integral, biject_to(slab.support)(position)

    return _map_elements(slab, quantile, r, inv_v, *more)


def _log_integral(nodes: _Nodes) -> Array:
    return logsumexp(nodes.log_weight) + jnp.log(nodes.position[1] - nodes.position[0])


def _map_elements(
    slab: dist.Distribution,
    function: Callable[..., tuple[Array, ...]],
    r: Array,
    inv_v: Array,
    *more: Array,
):
    """Apply a function of the final nodes to each element, a bounded number at a time."""
    wide = jnp.linspace(-1.0, 1.0, _WIDE_NODES, dtype=r.dtype) * _span(r.dtype)
    wide_value, wide_log_prior = _log_prior(slab, wide)

    def one(element: tuple[Array, ...]):
        location, precision, *_ = element

        def log_integrand(position: Array) -> tuple[Array, Array]:
            value, log_prior = _log_prior(slab, position)
            return value, log_prior + log_likelihood_shape(value, location, precision)

        wide_log = wide_log_prior + log_likelihood_shape(wide_value, location, precision)
        bracket = _first_bracket(slab, log_integrand, wide, wide_log, location, precision)
        for _ in range(_NUM_ZOOMS):
            position = jnp.linspace(*bracket, _ZOOM_NODES, dtype=r.dtype)
            bracket = _bracket(position, log_integrand(position)[1])
        position = jnp.linspace(*bracket, _FINE_NODES, dtype=r.dtype)
        return function(_Nodes(position, *log_integrand(position)), *element)

    shape = r.shape
    flat = tuple(jnp.ravel(a) for a in (r, inv_v, *more))
    result = jax.lax.map(one, flat, batch_size=_BATCH_SIZE)
    return jax.tree.map(lambda leaf: leaf.reshape(shape), result)


def _log_prior(slab: dist.Distribution, position: Array) -> tuple[Array, Array]:
    """Return h(u) and log[slab(h(u)) dh/du], -inf where that cannot be evaluated."""
    transform = biject_to(slab.support)
    value = transform(position)
    log_prior = slab.log_prob(value) + transform.log_abs_det_jacobian(position, value)
    usable = jnp.isfinite(log_prior) & jnp.isfinite(value)
    return jnp.where(usable, value, 1.0), jnp.where(usable, log_prior, -jnp.inf)


def _span(dtype: jnp.dtype) -> float:
    """Return the greatest |u| for which exp(u)^2 and its inverse are ordinary numbers."""
    return 0.49 * float(np.log(jnp.finfo(dtype).max))


def _first_bracket(
    slab: dist.Distribution,
    log_integrand: _LogIntegrand,
    wide: Array,
    wide_log: Array,
    location: Array,
    precision: Array,
) -> tuple[Array, Array]:
    """Bracket the integrand by the wide grid joined with points around the likelihood's peak."""
    span = _span(wide.dtype)
    std = jnp.where(precision > 0, jax.lax.rsqrt(jnp.where(precision > 0, precision, 1.0)), 1.0)
    offsets = jnp.linspace(-9.0, 9.0, _ADAPTED_NODES, dtype=wide.dtype)
    tiny = jnp.finfo(wide.dtype).tiny
    peaks = jnp.maximum(location, 0.0) + offsets * std
    position = biject_to(slab.support).inv(jnp.maximum(peaks, tiny))
    position = jnp.where(jnp.isfinite(position), jnp.clip(position, -span, span), 0.0)
    joined = jnp.concatenate([wide, position])
    return _bracket(joined, jnp.concatenate([wide_log, log_integrand(position)[1]]))


def _bracket(position: Array, log_value: Array) -> tuple[Array, Array]:
    """Return the nodes next outside of all nodes within the cutoff of the greatest value."""
    inside = log_value > jnp.max(log_value) - _LOG_CUTOFF
    low = jnp.min(jnp.where(inside, position, jnp.inf))
    high = jnp.max(jnp.where(inside, position, -jnp.inf))
    below = jnp.max(jnp.where(position < low, position, -jnp.inf))
    above = jnp.min(jnp.where(position > high, position, jnp.inf))
    return jnp.where(jnp.isfinite(below), below, low), jnp.where(jnp.isfinite(above), above, high)
