"""NumPyro distributions of one layer's units and of capped discrete hidden vectors.

`RectifiedDropout` is the law of one unit of a ReLU layer, with noise and dropout summed out;
`LinearDropout` the same without the rectifier. `CappedCategorical`, in a file of its own, is a
vector of discrete levels of which at most `max_active` differ from 0.
"""

# NumPyro's own distributions narrow the signatures of the base class in the same way.
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.scipy.special import erfc, log_ndtr
from jaxtyping import Array, ArrayLike, Bool, Float
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from probrev.model.capped_categorical import CappedCategorical
from probrev.numerics.broadcasting import same_rank
from probrev.numerics.truncated_normal import (
    HALF_LOG_TWO_PI,
    excess_from_uniform,
    open_uniform,
    upper_tail,
)

__all__ = ["CappedCategorical", "LinearDropout", "RectifiedDropout", "log_silence_prob"]


class _LayerUnit(dist.Distribution):
    """What the laws of a rectified and of a linear unit share: parameters, shapes, masks."""

    arg_constraints: ClassVar[dict[str, Any]] = {
        "pre_activation": constraints.real,
        "noise_std": constraints.nonnegative,
        "keep_prob": constraints.unit_interval,
        "gain": constraints.positive,
    }

    def __init__(
        self,
        pre_activation: ArrayLike,
        noise_std: ArrayLike,
        keep_prob: ArrayLike,
        gain: ArrayLike = 1.0,
        *,
        validate_args: bool | None = None,
    ):
        dtype = jnp.result_type(0.0, pre_activation, noise_std, keep_prob, gain)
        parameters = (jnp.asarray(p, dtype) for p in (pre_activation, noise_std, keep_prob, gain))
        self.pre_activation, self.noise_std, self.keep_prob, self.gain = same_rank(*parameters)
        super().__init__(batch_shape=self._parameter_shape(), validate_args=validate_args)

    def _parameter_shape(self) -> tuple[int, ...]:
        """Return the broadcast shape as it is now: under vmap, batch_shape keeps the outer one."""
        parameters = (self.pre_activation, self.noise_std, self.keep_prob, self.gain)
        return jnp.broadcast_shapes(*(jnp.shape(p) for p in parameters))

    def _with_value(self, value: ArrayLike) -> list[Array]:
        """Return value, pre_activation, noise_std, keep_prob and gain at one common rank."""
        parameters = (self.pre_activation, self.noise_std, self.keep_prob, self.gain)
        return list(same_rank(jnp.asarray(value, self.pre_activation.dtype), *parameters))

    def _draw(self, key: Array, sample_shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Draw the noisy pre-activation and the mask."""
        shape = sample_shape + self._parameter_shape()
        key_noise, key_mask = jax.random.split(key)
        noise = jax.random.normal(key_noise, shape, self.pre_activation.dtype)
        pre_activation, noise_std, keep_prob, _ = same_rank(
            self.pre_activation, self.noise_std, self.keep_prob, self.gain, shape=shape
        )
        kept = jax.random.bernoulli(key_mask, keep_prob, shape)
        return pre_activation + noise_std * noise, kept

    def _apply_gain(self, unit: Array) -> Array:
        gain, unit = same_rank(self.gain, unit)
        return gain * unit


class RectifiedDropout(_LayerUnit):
    """Law of one unit of a ReLU layer with dropout, noise and mask summed out.

    x = gain * max(pre_activation + noise_std * eps, 0) * d with eps ~ N(0, 1) and
    d ~ Bernoulli(keep_prob). With z, sigma, rho, alpha for the four parameters:

        x > 0: density (rho / alpha) N(x / alpha; z, sigma^2)
        x = 0: mass    (1 - rho) + rho Phi(-z / sigma)

    Args:
        pre_activation: z = weights @ h, any real value.
        noise_std: Standard deviation sigma >= 0 of the noise, in units of the pre-activation. At 0
            sampling, mean and variance are those of the deterministic rectifier, but there is no
            density: log_prob and sample_latents then mean nothing, and this is not checked.
        keep_prob: Probability rho in [0, 1] that the unit survives dropout.
        gain: Factor alpha > 0 on the rectified value.
        validate_args: As in NumPyro. All parameters broadcast; their shape is batch_shape.

    Raises:
        ValueError: If validation is on and a concrete parameter is out of range.

    Source:
        Arora, Liang and Ma 2015 (arXiv:1511.05653), section 2. Their model has no noise: sigma is
        an addition that makes the likelihood non-singular.
    """

    support: ClassVar[Any] = constraints.nonnegative

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw x by its definition."""
        pre_noise, kept = self._draw(key, sample_shape)
        return self._apply_gain(jnp.where(kept, jnp.maximum(pre_noise, 0.0), 0.0))

    @validate_sample
    def log_prob(self, value: ArrayLike) -> Array:
        """Return the log density (value > 0), log mass (0) or -inf (< 0).

        Finite, with finite gradients in value, pre_activation, noise_std and gain, wherever the
        law has support, out to |z| / sigma = 40 in either precision and for keep_prob 0 and 1.
        """
        x, z, noise_std, keep_prob, gain = self._with_value(value)
        density = _log_kept_density(x, z, noise_std, keep_prob, gain)
        mass = _log_silence_prob(z / noise_std, keep_prob)
        return jnp.where(x > 0, density, jnp.where(x == 0, mass, -jnp.inf))

    @property
    def mean(self) -> Array:
        """E[x] = alpha rho (z Phi(t) + sigma phi(t)), t = z / sigma."""
        rectified_mean, _ = self._rectified_moments()
        return self.gain * self.keep_prob * rectified_mean

    @property
    def variance(self) -> Array:
        """Var[x] = alpha^2 (rho Var[r] + rho (1 - rho) E[r]^2), r the rectified value."""
        mean, var = self._rectified_moments()
        keep_prob = self.keep_prob
        return self.gain**2 * (keep_prob * var + keep_prob * (1.0 - keep_prob) * mean**2)

    def _rectified_moments(self) -> tuple[Array, Array]:
        """Return mean and variance of max(z + sigma eps, 0)."""
        z, noise_std = self.pre_activation, self.noise_std
        noisy = noise_std > 0
        t = z / jnp.where(noisy, noise_std, 1.0)
        below, above = upper_tail(t), upper_tail(-t)
        density = jnp.exp(-0.5 * t * t - HALF_LOG_TWO_PI)
        mean = jnp.where(noisy, z * above + noise_std * density, jnp.maximum(z, 0.0))
        scaled_var = above + t * t * above * below + t * density * (below - above) - density**2
        return mean, noise_std**2 * jnp.maximum(scaled_var, 0.0)

    def sample_latents(
        self, key: Array, value: Float[Array, "..."]
    ) -> tuple[Bool[Array, "..."], Float[Array, "..."]]:
        """Draw the mask and the noisy pre-activation given the observed value, exactly.

        A positive value determines both: kept, zeta = x / alpha. At 0, with t = z / sigma and
        f = (1 - rho) + rho Phi(-t), the unit was kept with probability rho Phi(-t) / f, and then
        zeta ~ N(z, sigma^2) truncated to zeta <= 0. One uniform variate decides both.

        Args:
            key: Typed PRNG key.
            value: Observed values >= 0, broadcastable against batch_shape.

        Returns:
            kept, the mask; and pre_noise, zeta where kept. Where dropped zeta is z: it carries no
            information and is only there to be finite.
        """
        x, z, noise_std, keep_prob, gain = self._with_value(value)
        t = z / noise_std
        silent = upper_tail(t)
        total = (1.0 - keep_prob) + keep_prob * silent
        kept_prob = keep_prob * silent / jnp.where(total > 0, total, 1.0)
        kept_prob = jnp.where(keep_prob < 1.0, kept_prob, 1.0)
        shape = jnp.broadcast_shapes(x.shape, kept_prob.shape)
        u = open_uniform(key, shape, x.dtype)
        rectified = (x == 0) & (u < kept_prob)
        lower = jnp.where(rectified, t, 0.0)  # what is not used must not count as a deep bound
        uniform = jnp.where(rectified, u / kept_prob, 1.0)
        pre_noise = jnp.where(
            rectified, -noise_std * excess_from_uniform(uniform, lower, silent), z
        )
        return rectified | (x > 0), jnp.where(x > 0, x / gain, pre_noise)


class LinearDropout(_LayerUnit):
    """Law of one unit of an identity layer with dropout, noise and mask summed out.

    x = gain * (pre_activation + noise_std * eps) * d, in the notation of RectifiedDropout: density
    (rho / alpha) N(x / alpha; z, sigma^2) away from 0 and, if rho < 1, mass 1 - rho at 0.

    Args:
        pre_activation: z = weights @ h, any real value.
        noise_std: Standard deviation sigma >= 0 of the noise. At 0 there is no density: log_prob
            then means nothing, and this is not checked.
        keep_prob: Probability rho in [0, 1] that the unit survives dropout.
        gain: Factor alpha > 0.
        validate_args: As in NumPyro. All parameters broadcast; their shape is batch_shape.

    Raises:
        ValueError: If validation is on and a concrete parameter is out of range.
    """

    support: ClassVar[Any] = constraints.real

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw x by its definition."""
        pre_noise, kept = self._draw(key, sample_shape)
        return self._apply_gain(jnp.where(kept, pre_noise, 0.0))

    @validate_sample
    def log_prob(self, value: ArrayLike) -> Array:
        """Return the log density, or at 0 the log mass where keep_prob < 1."""
        x, z, noise_std, keep_prob, gain = self._with_value(value)
        density = _log_kept_density(x, z, noise_std, keep_prob, gain)
        return jnp.where((x == 0) & (keep_prob < 1), _safe_log(1.0 - keep_prob), density)

    @property
    def mean(self) -> Array:
        """E[x] = alpha rho z."""
        return self.gain * self.keep_prob * self.pre_activation + 0.0 * self.noise_std

    @property
    def variance(self) -> Array:
        """Var[x] = alpha^2 (rho sigma^2 + rho (1 - rho) z^2)."""
        keep_prob = self.keep_prob
        spread = self.noise_std**2 + (1.0 - keep_prob) * self.pre_activation**2
        return self.gain**2 * keep_prob * spread

    def sample_latents(
        self, key: Array, value: Float[Array, "..."]
    ) -> tuple[Bool[Array, "..."], Float[Array, "..."]]:
        """Return the mask and the noisy pre-activation, which the observed value determines.

        Args:
            key: Typed PRNG key, unused: the signature is that of RectifiedDropout.
            value: Observed values, broadcastable against batch_shape.

        Returns:
            kept, false where value is 0 and keep_prob < 1; and pre_noise = value / gain where kept,
            pre_activation elsewhere.
        """
        del key
        x, z, _, keep_prob, gain = self._with_value(value)
        kept = (x != 0) | (keep_prob >= 1)
        return kept, jnp.where(kept, x / gain, z)


def log_silence_prob(t: Float[Array, "*shape"], keep_prob: ArrayLike) -> Float[Array, "*shape"]:
    """Return log[(1 - rho) + rho Phi(-t)], the log mass of x = 0, at the cost of erfc and log.

    `RectifiedDropout.log_prob` computes the same in log space, at some ten times the cost; only
    where the mass underflows is that needed. Not meant for differentiation.

    Args:
        t: pre_activation / noise_std.
        keep_prob: rho in [0, 1], a scalar.
    """
    silence = (1.0 - keep_prob) + keep_prob * (0.5 * erfc(t * 0.5**0.5))
    tiny = jnp.finfo(silence.dtype).tiny
    # The barrier keeps erfc and log in two loops: fused into one they take half as long again. Both
    # stay outside the branches, where XLA uses all cores.
    log_silence = jnp.log(jnp.maximum(jax.lax.optimization_barrier(silence), tiny))
    deep_from = 0.95 * (-2 * jnp.log(tiny)) ** 0.5

    def without_dropout():
        deep = t > deep_from
        exact = lambda: jnp.where(deep, log_ndtr(-t), log_silence)  # noqa: E731
        return jax.lax.cond(deep.any(), exact, lambda: log_silence)

    return jax.lax.cond(keep_prob == 1, without_dropout, lambda: log_silence)


def _log_silence_prob(t: Array, keep_prob: Array) -> Array:
    return jnp.logaddexp(_safe_log(1.0 - keep_prob), _safe_log(keep_prob) + log_ndtr(-t))


def _log_kept_density(x: Array, z: Array, noise_std: Array, keep_prob: Array, gain: Array) -> Array:
    """Return log[(rho / alpha) N(x / alpha; z, sigma^2)]."""
    standardised = (x / gain - z) / noise_std
    log_normaliser = jnp.log(gain * noise_std) + HALF_LOG_TWO_PI
    return _safe_log(keep_prob) - log_normaliser - 0.5 * standardised**2


def _safe_log(prob: Array) -> Array:
    """Return log(prob), -inf at 0, with gradient 0 instead of infinity there."""
    return jnp.where(prob > 0, jnp.log(jnp.where(prob > 0, prob, 1.0)), -jnp.inf)
