"""A flat of an activation: pre-activations that all give one value, and what that value says.

A row whose value is that of a flat is censored: its noisy pre-activation is known to lie between
the flat's ends, and at the value 0 it may have been dropped instead. With z the pre-activation,
sigma the noise and Z a standard normal variable, reflected so that t is the end that is nearer,

    mass = floor + rho P(t < Z < t + width),    floor = 1 - rho where the value is 0, else 0.

Source: the latents are those of Albert and Chib 1993; the masks are ours.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from probrev.model.silence import (
    SilenceTable,
    log_silence_prob,
    look_up_slope,
    sum_log_silence_prob,
)
from probrev.numerics.normal_interval import interval_law, log_interval_prob, second_moment
from probrev.numerics.truncated_normal import HALF_LOG_TWO_PI, upper_tail
from probrev.plumbing.readable import readable


class Score(NamedTuple):
    """First two derivatives of a log mass or density with respect to a row's pre-activation.

    Attributes:
        g: the first.
        information: minus the second; negative at some places where the row is, or may be, 0.
    """

    g: Float[Array, "..."]
    information: Float[Array, "..."]


class Bounds(NamedTuple):
    """A flat seen from a pre-activation: t < Z < t + width, Z standard normal.

    Attributes:
        t: the nearer end.
        width: of the interval; the number `math.inf` where it is open.
        edge: that end, as a pre-activation.
        sign: 1 where the flat lies below z, so that the latent is edge - sigma (Z - t); else -1.
    """

    t: Float[Array, "..."]
    width: Float[Array, "..."] | float
    edge: Float[Array, "..."] | float
    sign: Float[Array, "..."] | float


@readable
class Flat(NamedTuple):
    """Pre-activations from `lower` to `upper`, which all give `value`.

    Attributes:
        value: what the activation makes of them.
        lower: -inf or finite.
        upper: finite or inf; above `lower`.
    """

    value: float
    lower: float = -math.inf
    upper: float = math.inf

    @property
    def is_half_line(self) -> bool:
        """Whether one end is infinite, so that the mass is monotone in z."""
        return math.isinf(self.lower) or math.isinf(self.upper)

    def bounds(self, z: Float[Array, "..."], noise_std: ArrayLike) -> Bounds:
        """The flat as seen from z."""
        if math.isinf(self.lower):
            return Bounds((z - self.upper) / noise_std, math.inf, self.upper, 1.0)
        if math.isinf(self.upper):
            return Bounds((self.lower - z) / noise_std, math.inf, self.lower, -1.0)
        is_below = z > 0.5 * (self.lower + self.upper)
        t = jnp.where(is_below, z - self.upper, self.lower - z) / noise_std
        width = (self.upper - self.lower) / noise_std
        edge = jnp.where(is_below, self.upper, self.lower)
        return Bounds(t, jnp.broadcast_to(width, t.shape), edge, jnp.where(is_below, 1.0, -1.0))

    def floor(self, keep_prob: Float[Array, "..."]) -> Float[Array, "..."]:
        """Mass that the value has from dropout, whatever z."""
        return 1.0 - keep_prob if self.value == 0 else jnp.zeros_like(keep_prob)

    def log_mass(
        self, z: Float[Array, "..."], noise_std: ArrayLike, keep_prob: ArrayLike
    ) -> Float[Array, "..."]:
        """Log mass of the value in log space: finite, with finite derivatives, in either tail.

        Args:
            z: pre-activations.
            noise_std: sigma > 0.
            keep_prob: rho in [0, 1].
        """
        keep_prob = jnp.asarray(keep_prob, z.dtype)
        t, width, *_ = self.bounds(z, noise_std)
        inside = safe_log(keep_prob) + log_interval_prob(t, width)
        return jnp.logaddexp(safe_log(self.floor(keep_prob)), inside)

    def log_mass_quick(
        self, z: Float[Array, "..."], noise_std: ArrayLike, keep_prob: ArrayLike
    ) -> Float[Array, "..."]:
        """The same at a tenth of the cost where one end is infinite; not to be differentiated.

        Args:
            z: pre-activations.
            noise_std: sigma > 0, a scalar.
            keep_prob: rho in (0, 1], a scalar.
        """
        if not self.is_half_line:
            return self.log_mass(z, noise_std, keep_prob)
        t = self.bounds(z, noise_std).t
        if self.value == 0:
            return log_silence_prob(t, keep_prob)
        return jnp.log(keep_prob) + log_silence_prob(t, 1.0)

    def sum_log_mass(
        self,
        z: Float[Array, "*shape row"],
        noise_std: ArrayLike,
        keep_prob: ArrayLike,
        is_on: Bool[Array, "*#shape row"],
        table: SilenceTable | None = None,
    ) -> Float[Array, "*shape"]:
        """The sum of `log_mass_quick` over the rows that are on this flat.

        Args:
            z: pre-activations.
            noise_std: sigma > 0, a scalar.
            keep_prob: rho in (0, 1], a scalar.
            is_on: which rows are.
            table: of that rho, if there is one.
        """
        if self.is_half_line and self.value == 0:
            return sum_log_silence_prob(self.bounds(z, noise_std).t, keep_prob, is_on, table)
        return jnp.where(is_on, self.log_mass_quick(z, noise_std, keep_prob), 0.0).sum(-1)

    def log_mass_slope(
        self,
        z: Float[Array, "..."],
        noise_std: ArrayLike,
        keep_prob: ArrayLike,
        table: SilenceTable | None = None,
    ) -> Float[Array, "..."]:
        """Derivative of the log mass in z: the first of `score`.

        Args:
            z: pre-activations.
            noise_std: sigma > 0, a scalar.
            keep_prob: rho in (0, 1], a scalar.
            table: of that rho, if there is one.
        """
        exactly = lambda: self.score(z, noise_std, keep_prob).g  # noqa: E731
        if table is None or not self.is_half_line or self.value != 0:
            return exactly()
        t, _, _, sign = self.bounds(z, noise_std)
        by_table = lambda: sign * look_up_slope(table, t) / noise_std  # noqa: E731
        return jax.lax.cond(table.is_near, by_table, exactly)

    def prob(self, bounds: Bounds) -> Float[Array, "..."]:
        """P(t < Z < t + width), which may underflow."""
        if self.is_half_line:
            return upper_tail(bounds.t)
        return jnp.exp(log_interval_prob(bounds.t, bounds.width))

    def score(self, z: Float[Array, "..."], noise_std: ArrayLike, keep_prob: ArrayLike) -> Score:
        r"""First two derivatives of the log mass in z.

        With kept the probability that the row was kept, lam = E[Z] and v = Var[Z] in the interval:

            g = -sign kept lam / sigma,
            information = [kept (1 - v) - kept (1 - kept) lam^2] / sigma^2.

        Args:
            z: pre-activations.
            noise_std: sigma > 0.
            keep_prob: rho in (0, 1].
        """
        keep_prob = jnp.asarray(keep_prob, z.dtype)
        t, width, _, sign = self.bounds(z, noise_std)
        law = interval_law(t, width)
        kept = jax.nn.sigmoid(jnp.log(keep_prob) + law.log_prob - jnp.log(self.floor(keep_prob)))
        information = kept * law.concavity - kept * (1.0 - kept) * jnp.square(law.mean)
        return Score(-sign * kept * law.mean / noise_std, information / jnp.square(noise_std))

    def fisher_share(
        self, z: Float[Array, "..."], noise_std: ArrayLike, keep_prob: ArrayLike
    ) -> Float[Array, "..."]:
        """What the flat adds to a row's Fisher information about z, times sigma^2 / rho.

        A row without it would have E[Z^2] = 1 where it is kept; the flat takes its part of that,
        and gives the squared score of its mass.
        """
        keep_prob = jnp.asarray(keep_prob, z.dtype)
        bounds = self.bounds(z, noise_std)
        t, width = bounds.t, bounds.width
        slope = _density(t) - _density(t + width)
        mass = self.floor(keep_prob) + keep_prob * self.prob(bounds)
        mass = jnp.maximum(mass, jnp.finfo(t.dtype).tiny)  # where the squared slope vanishes first
        return keep_prob * jnp.square(slope) / mass - second_moment(t, width)


def _density(t: Array) -> Array:
    return jnp.exp(-0.5 * jnp.square(t) - HALF_LOG_TWO_PI)


def safe_log(prob: Array) -> Array:
    """Return log(prob), -inf at 0, with gradient 0 instead of infinity there."""
    return jnp.where(prob > 0, jnp.log(jnp.where(prob > 0, prob, 1.0)), -jnp.inf)
