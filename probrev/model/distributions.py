"""NumPyro distributions of one layer's units and of capped discrete hidden vectors.

`LayerUnit` is the law of one unit of a layer, with noise and dropout summed out.
`CappedCategorical`, in a file of its own, is a vector of discrete levels of which at most
`max_active` differ from 0.
"""

# NumPyro's own distributions narrow the signatures of the base class in the same way.
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Bool, Float
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample

from probrev.model.activations import Activation
from probrev.model.capped_categorical import CappedCategorical
from probrev.model.flat import safe_log
from probrev.numerics.broadcasting import same_rank
from probrev.numerics.normal_interval import interval_excess
from probrev.numerics.truncated_normal import HALF_LOG_TWO_PI, open_uniform, upper_tail
from probrev.plumbing.readable import readable

__all__ = ["CappedCategorical", "LayerUnit"]


@readable
class LayerUnit(dist.Distribution):
    r"""Law of one unit of a layer, noise and mask of dropout summed out.

    x = gain * act(pre_activation + noise_std * eps) * d with eps ~ N(0, 1) and
    d ~ Bernoulli(keep_prob). With z, sigma, rho, alpha for the four parameters, y = x / alpha and
    psi the inverse of the activation where it increases:

        y on a stretch: density (rho / alpha) N(psi(y); z, sigma^2) |psi'(y)|
        y on a flat:    mass    rho P(the noisy pre-activation is on it), and at 0 plus 1 - rho
        y = 0, neither: mass    1 - rho; where rho = 1 it is a value like any other

    Args:
        activation: the activation.
        pre_activation: z = weights @ h + bias, any real value.
        noise_std: Standard deviation sigma >= 0 of the noise, in units of the pre-activation. At 0
            sampling, mean and variance are those of the deterministic activation, but there is no
            density: log_prob and sample_latents then mean nothing, and this is not checked.
        keep_prob: Probability rho in [0, 1] that the unit survives dropout.
        gain: Factor alpha > 0 on the activated value.
        validate_args: As in NumPyro. All parameters broadcast; their shape is batch_shape.

    Raises:
        ValueError: If validation is on and a concrete parameter is out of range.

    Source:
        Arora, Liang and Ma 2015 (arXiv:1511.05653), section 2, for the rectifier. Their model has
        no noise: sigma is an addition that makes the likelihood non-singular.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "pre_activation": constraints.real,
        "noise_std": constraints.nonnegative,
        "keep_prob": constraints.unit_interval,
        "gain": constraints.positive,
    }
    pytree_aux_fields = ("activation",)

    def __init__(
        self,
        activation: Activation,
        pre_activation: ArrayLike,
        noise_std: ArrayLike,
        keep_prob: ArrayLike,
        gain: ArrayLike = 1.0,
        *,
        validate_args: bool | None = None,
    ):
        self.activation = activation
        dtype = jnp.result_type(0.0, pre_activation, noise_std, keep_prob, gain)
        parameters = (jnp.asarray(p, dtype) for p in (pre_activation, noise_std, keep_prob, gain))
        self.pre_activation, self.noise_std, self.keep_prob, self.gain = same_rank(*parameters)
        super().__init__(batch_shape=self._parameter_shape(), validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        """Nonnegative or real numbers: what inside them is impossible has log density -inf."""
        values = [flat.value for flat in self.activation.flats]
        lowest = min((0.0, *values, *(low for low, _ in self.activation.stretches)))
        return constraints.nonnegative if lowest == 0 else constraints.real

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw x by its definition."""
        shape = sample_shape + self._parameter_shape()
        key_noise, key_mask = jax.random.split(key)
        noise = jax.random.normal(key_noise, shape, self.pre_activation.dtype)
        z, noise_std, keep_prob, gain = same_rank(
            self.pre_activation, self.noise_std, self.keep_prob, self.gain, shape=shape
        )
        kept = jax.random.bernoulli(key_mask, keep_prob, shape)
        return gain * jnp.where(kept, self.activation(z + noise_std * noise), 0.0)

    @validate_sample
    def log_prob(self, value: ArrayLike) -> Array:
        """Return the log density on a stretch, the log mass elsewhere, -inf where impossible.

        Finite, with finite gradients in value, pre_activation, noise_std and gain, wherever the
        law has support, out to |z| / sigma = 40 in either precision and for keep_prob 0 and 1.
        """
        x, z, noise_std, keep_prob, gain = self._with_value(value)
        activation, y = self.activation, x / gain
        place = activation.locate(y, keep_prob)
        found = jnp.where(place.dropped, safe_log(1.0 - keep_prob), -jnp.inf)
        for flat, is_on in zip(activation.flats, place.on, strict=True):
            found = jnp.where(is_on, flat.log_mass(z, noise_std, keep_prob), found)
        standardised = (activation.inverse(y) - z) / noise_std
        log_scale = activation.log_inverse_slope(y) - jnp.log(gain * noise_std) - HALF_LOG_TWO_PI
        density = safe_log(keep_prob) + log_scale - 0.5 * standardised**2
        return jnp.where(place.seen, density, found)

    @property
    def mean(self) -> Array:
        """E[x] = alpha rho E[act], where the activation knows its moments."""
        mean, _ = self.activation.moments(self.pre_activation, self.noise_std)
        return self.gain * self.keep_prob * mean

    @property
    def variance(self) -> Array:
        """Var[x] = alpha^2 (rho Var[act] + rho (1 - rho) E[act]^2), where it knows its moments."""
        mean, var = self.activation.moments(self.pre_activation, self.noise_std)
        keep_prob = self.keep_prob
        return self.gain**2 * (keep_prob * var + keep_prob * (1.0 - keep_prob) * mean**2)

    def sample_latents(
        self, key: Array, value: Float[Array, "..."]
    ) -> tuple[Bool[Array, "..."], Float[Array, "..."]]:
        """Draw the mask and the noisy pre-activation given the observed value, exactly.

        A value on a stretch determines both: kept, zeta = psi(x / alpha). On a flat the unit was
        kept with probability rho P / (floor + rho P), and then zeta ~ N(z, sigma^2) truncated to
        the flat. One uniform variate decides both.

        Args:
            key: Typed PRNG key.
            value: Observed values of positive probability, broadcastable against batch_shape.

        Returns:
            kept, the mask; and pre_noise, zeta where kept. Where dropped zeta is z: it carries no
            information and is only there to be finite.
        """
        x, z, noise_std, keep_prob, gain = self._with_value(value)
        activation, y = self.activation, x / gain
        place = activation.locate(y, keep_prob)
        shape = jnp.broadcast_shapes(x.shape, z.shape, keep_prob.shape)
        u = open_uniform(key, shape, x.dtype)
        kept, pre_noise = place.seen, jnp.where(place.seen, activation.inverse(y), z)
        for flat, is_on in zip(activation.flats, place.on, strict=True):
            bounds = flat.bounds(z, noise_std)
            inside, floor = flat.prob(bounds), flat.floor(keep_prob)
            total = floor + keep_prob * inside
            kept_prob = keep_prob * inside / jnp.where(total > 0, total, 1.0)
            kept_prob = jnp.where(floor > 0, kept_prob, 1.0)
            drawn = is_on & (u < kept_prob)
            # What is not used must not count as a deep bound.
            t, uniform = jnp.where(drawn, bounds.t, 0.0), jnp.where(drawn, u / kept_prob, 1.0)
            tail = upper_tail(bounds.t)
            excess = interval_excess(uniform, t, bounds.width, tail)
            latent = bounds.edge - bounds.sign * noise_std * excess
            kept, pre_noise = kept | drawn, jnp.where(drawn, latent, pre_noise)
        return kept, pre_noise

    def _parameter_shape(self) -> tuple[int, ...]:
        """Return the broadcast shape as it is now: under vmap, batch_shape keeps the outer one."""
        parameters = (self.pre_activation, self.noise_std, self.keep_prob, self.gain)
        return jnp.broadcast_shapes(*(jnp.shape(p) for p in parameters))

    def _with_value(self, value: ArrayLike) -> list[Array]:
        """Return value, pre_activation, noise_std, keep_prob and gain at one common rank."""
        parameters = (self.pre_activation, self.noise_std, self.keep_prob, self.gain)
        return list(same_rank(jnp.asarray(value, self.pre_activation.dtype), *parameters))
