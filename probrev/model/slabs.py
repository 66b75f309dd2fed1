"""Slabs: the laws that an active hidden unit may have, and what is known about each.

A slab is a `FiniteSlab`, a `LogQuadraticSlab` or any continuous NumPyro distribution on (0, inf).
`canonical_slab` brings the NumPyro distributions with a log-quadratic density to that form; the
formulas for tilting a slab are in `probrev.model.tilted`.
"""

# NumPyro's own distributions narrow the signatures of the base class in the same way.
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jaxtyping import Array, ArrayLike, Float, Int
from numpyro.distributions import constraints
from numpyro.distributions.truncated import LeftTruncatedDistribution
from numpyro.distributions.util import validate_sample
from numpyro.util import not_jax_tracer

from probrev.model.silence import log_silence_prob
from probrev.numerics.broadcasting import same_rank
from probrev.numerics.truncated_normal import HALF_LOG_TWO_PI, log_mills
from probrev.plumbing.arrays import as_floats, check_real
from probrev.plumbing.door import shown
from probrev.plumbing.readable import readable
from probrev.plumbing.refusal import Refusal, TypeRefusal


class _OneOf(constraints.Constraint):
    """Membership in a finite set of numbers, the last dimension of `values`."""

    is_discrete = True

    def __init__(self, values: Float[Array, "... levels"]):
        self.values = values

    def __call__(self, x: ArrayLike) -> Array:
        value, values = same_rank(jnp.asarray(x)[..., None], self.values)
        return jnp.any(value == values, axis=-1)

    def feasible_like(self, prototype: ArrayLike) -> Array:
        return jnp.broadcast_to(self.values[..., 0], jnp.shape(prototype))

    def tree_flatten(self) -> tuple[tuple[Array], tuple[tuple[str, ...], dict]]:
        return (self.values,), (("values",), {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _OneOf) and bool(np.array_equal(self.values, other.values))

    __hash__ = None  # pyright: ignore[reportAssignmentType]


@readable
class FiniteSlab(dist.Distribution):
    """Discrete law on finitely many positive values.

    P(h = values[k]) = probs[k].

    Args:
        values: (K,), or (m, K) for a slab per unit: positive, finite, distinct in each row.
        probs: Same last dimension and broadcastable rows: nonnegative, summing to 1 in each row.
        validate_args: As in NumPyro. Concrete values and probs are checked in any case.

    Raises:
        ValueError: If a value is not positive and finite, values repeat, or probs are no
            probabilities.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "values": constraints.dependent(is_discrete=False, event_dim=1),
        "probs": constraints.simplex,
    }

    def __init__(
        self,
        values: Float[ArrayLike, "*unit levels"],
        probs: Float[ArrayLike, "*unit levels"],
        *,
        validate_args: bool | None = None,
    ):
        check_real("values of a slab", values)
        check_real("probs of a slab", probs)
        values, probs = (a if isinstance(a, Array) else np.asarray(a) for a in (values, probs))
        _check_finite_slab(values, probs)
        dtype = jnp.result_type(0.0, values, probs)
        shape = jnp.broadcast_shapes(np.shape(values), np.shape(probs))
        self.values: Float[Array, "*unit levels"] = jnp.broadcast_to(
            as_floats(values, dtype), shape
        )
        self.probs: Float[Array, "*unit levels"] = jnp.broadcast_to(as_floats(probs, dtype), shape)
        super().__init__(batch_shape=shape[:-1], validate_args=validate_args)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """() or one entry per unit, as it is now: under vmap the outer shape would be wrong."""
        return self.values.shape[:-1]

    @property
    def support(self) -> constraints.Constraint:
        """The given values."""
        return _OneOf(self.values)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw from the values."""
        shape = sample_shape + self.values.shape[:-1]
        index = jax.random.categorical(key, jnp.log(self.probs), shape=shape)
        one_hot = jax.nn.one_hot(index, self.values.shape[-1], dtype=bool)
        one_hot, values = same_rank(one_hot, self.values)
        return jnp.sum(jnp.where(one_hot, values, 0.0), axis=-1)

    @validate_sample
    def log_prob(self, value: ArrayLike) -> Array:
        """Return the log probability of a value that matches exactly, -inf for any other."""
        value, values, probs = same_rank(
            jnp.asarray(value, self.values.dtype)[..., None], self.values, self.probs
        )
        return jnp.log(jnp.sum(jnp.where(value == values, probs, 0.0), axis=-1))

    @property
    def mean(self) -> Array:
        """E[h]."""
        return jnp.sum(self.probs * self.values, axis=-1)

    @property
    def variance(self) -> Array:
        """Var[h]."""
        return jnp.sum(self.probs * (self.values - self.mean[..., None]) ** 2, axis=-1)


@readable
class LogQuadraticSlab(NamedTuple):
    """A density exp(log_density_at_zero + slope h - curvature h^2 / 2) on h > 0.

    Half-normal, exponential and truncated-normal slabs are of this form, and so is the conditional
    prior of an intermediate layer's unit. The total mass need not be 1: inclusion probability,
    moments and draws of a tilted law depend on log_density_at_zero + inclusion_logit alone. Only
    `log_evidence` wants a normalised slab.

    Attributes:
        log_density_at_zero: Log density at h = 0+, any real number.
        slope: Derivative of the log density at 0; negative where curvature is 0.
        curvature: Minus its second derivative, >= 0.

    The three broadcast against each other, and with the last dimensions of what they are tilted
    by. They may be traced; nothing is checked.
    """

    log_density_at_zero: Float[Array, "..."]
    slope: Float[Array, "..."]
    curvature: Float[Array, "..."]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Broadcast shape of the three numbers: () or one entry per unit."""
        return jnp.broadcast_shapes(*(jnp.shape(leaf) for leaf in self))


Slab = FiniteSlab | LogQuadraticSlab | dist.Distribution


def canonical_slab(slab: Slab) -> Slab:
    """Bring a slab to the form with the cheapest formulas.

    HalfNormal, Exponential and TruncatedNormal(low=0) become a LogQuadraticSlab; any other slab is
    returned as it is. A truncated normal whose `low` is traced stays as it is too (its bound cannot
    be seen), so convert before jit.

    Args:
        slab: Any slab that `check_slab` accepts.

    Returns:
        The same law.
    """
    if isinstance(slab, dist.HalfNormal):
        return truncated_normal_slab(jnp.zeros_like(slab.scale), slab.scale)
    if isinstance(slab, dist.Exponential):
        rate = jnp.asarray(slab.rate)
        return LogQuadraticSlab(jnp.log(rate), -rate, jnp.zeros_like(rate))
    if isinstance(slab, LeftTruncatedDistribution) and _is_normal_above_zero(slab):
        normal: Any = slab.base_dist
        return truncated_normal_slab(normal.loc, normal.scale)
    return slab


def rectified_slab(
    pre_activation: Float[Array, "..."],
    noise_std: ArrayLike,
    keep_prob: ArrayLike,
    gain: ArrayLike,
) -> tuple[Float[Array, "..."], LogQuadraticSlab]:
    """Return the law of a unit of a ReLU layer as a spike and slab, to tilt it by what lies below.

    With z, sigma, rho, alpha for the arguments the spike has mass (1 - rho) + rho Phi(-z / sigma)
    and the slab density (rho / alpha) N(h / alpha; z, sigma^2) on h > 0.

    Args:
        pre_activation: z, any real value.
        noise_std: sigma > 0, a scalar or of the shape of z.
        keep_prob: rho in (0, 1], a scalar.
        gain: alpha > 0, a scalar.

    Returns:
        Minus the log mass of the spike, as inclusion logit; and the slab, not normalised: the two
        together are the law, either alone means nothing.
    """
    t = pre_activation / noise_std
    spread = gain * noise_std
    log_density = jnp.log(keep_prob / spread) - HALF_LOG_TWO_PI - 0.5 * jnp.square(t)
    curvature = jnp.broadcast_to(1.0 / jnp.square(spread), t.shape)
    return -log_silence_prob(t, keep_prob), LogQuadraticSlab(log_density, t / spread, curvature)


def truncated_normal_slab(loc: ArrayLike, scale: ArrayLike) -> LogQuadraticSlab:
    """Return N(loc, scale^2) on h > 0, of log normaliser log scale + log[Phi/phi](loc / scale)."""
    return _truncated_normal_slab(jnp.asarray(loc), jnp.asarray(scale))


@jax.jit  # one program, where a prior is made outside of any, and not a hundred
def _truncated_normal_slab(
    loc: Float[Array, "..."], scale: Float[Array, "..."]
) -> LogQuadraticSlab:
    precision = 1.0 / jnp.square(scale)
    log_density = -jnp.log(scale) - log_mills(loc / scale)
    return LogQuadraticSlab(log_density, loc * precision, precision)


def _is_normal_above_zero(slab: LeftTruncatedDistribution) -> bool:
    if not isinstance(slab.base_dist, dist.Normal) or not not_jax_tracer(slab.low):
        return False
    return bool(np.all(np.asarray(slab.low) == 0))


def unit_slab(slab: Slab, unit: int | Int[Array, "*case"]) -> Slab:
    """Return the slab of one unit, for loops over hidden units.

    Args:
        slab: A slab for all units (batch_shape (), returned as it is), one per unit along its
            last dimension, or one per case and unit.
        unit: Index of the unit; may be traced, and may be an array with a unit for each case.

    Returns:
        A slab without the dimension of units, or with that of cases in its place.

    Raises:
        ValueError: If the slab is per unit, but neither finite nor log-quadratic.
    """
    if slab.batch_shape == ():
        return slab
    index = jnp.asarray(unit)
    place: tuple[Any, ...] = (..., index)
    if index.ndim and len(slab.batch_shape) > 1:
        place = (jnp.arange(len(index)), index)
    if isinstance(slab, FiniteSlab):
        values, probs = (leaf[(*place, slice(None))] for leaf in (slab.values, slab.probs))
        return FiniteSlab(values, probs, validate_args=False)
    if isinstance(slab, LogQuadraticSlab):
        leaves = (jnp.broadcast_to(leaf, slab.batch_shape) for leaf in slab)
        return LogQuadraticSlab(*(leaf[place] for leaf in leaves))
    raise _batched_slab_error(slab)


def has_closed_form(slab: Slab) -> bool:
    """Whether a slab, as `canonical_slab` brings it, may differ between cases and units."""
    return isinstance(slab, FiniteSlab | LogQuadraticSlab)


def num_values(slab: Slab) -> int:
    """How many values a slab has that are told apart: those of a finite one, else the one drawn."""
    return slab.values.shape[-1] if isinstance(slab, FiniteSlab) else 1


def check_slab(slab: object) -> None:
    """Raise unless the object can be a slab.

    Args:
        slab: What a user passed as slab.

    Raises:
        TypeError: If it is neither a NumPyro distribution nor a LogQuadraticSlab.
        ValueError: If it is not scalar, is discrete without being a FiniteSlab, has support
            outside (0, inf), or has a batch shape that its formulas do not cover.
    """
    if isinstance(slab, FiniteSlab | LogQuadraticSlab):
        return _check_at_most_one_dimension(slab)
    name = type(slab).__name__
    if not isinstance(slab, dist.Distribution):
        raise TypeRefusal(
            "slab must be a NumPyro distribution on (0, inf), a FiniteSlab or a LogQuadraticSlab; "
            f"got {shown(slab)}"
        )
    if slab.event_shape != () or slab.support is None:
        raise Refusal(f"slab {name} must be a scalar distribution, has {slab.event_shape=}.")
    if slab.support.is_discrete:
        raise Refusal(f"slab {name} is discrete: give its values as FiniteSlab(values, probs).")
    low = getattr(slab.support, "lower_bound", -math.inf)
    if not_jax_tracer(low) and not np.all(np.asarray(low) >= 0):
        raise Refusal(
            f"slab {name} has support {slab.support}: it must lie inside (0, inf), since the mass "
            "at 0 is the spike. Use for example HalfNormal, Exponential, TruncatedNormal(low=0)."
        )
    if isinstance(canonical_slab(slab), LogQuadraticSlab):
        return _check_at_most_one_dimension(slab)
    if slab.batch_shape != ():
        raise _batched_slab_error(slab)


def _check_at_most_one_dimension(slab: Slab) -> None:
    if len(slab.batch_shape) > 1:
        raise Refusal(
            f"slab {type(slab).__name__} must have batch_shape () or (n_hidden,), got "
            f"{slab.batch_shape}."
        )


def _batched_slab_error(slab: Slab) -> Refusal:
    return Refusal(
        f"slab {type(slab).__name__} has batch_shape {slab.batch_shape}, but only FiniteSlab, "
        "HalfNormal, Exponential and TruncatedNormal(low=0), built with array parameters, may "
        "differ between units: use a slab of batch_shape ()."
    )


def _check_finite_slab(values: ArrayLike, probs: ArrayLike) -> None:
    """Raise what the docstring of FiniteSlab says, as far as the arrays are concrete."""
    if np.ndim(values) < 1 or np.ndim(probs) < 1 or np.shape(values)[-1] != np.shape(probs)[-1]:
        raise Refusal(
            "values and probs must be arrays with the same last dimension, got shapes "
            f"{np.shape(values)} and {np.shape(probs)}."
        )
    if not_jax_tracer(values):
        values = np.asarray(values)
        if not np.all(np.isfinite(values) & (values > 0)):
            raise Refusal(
                f"values of a slab must be positive and finite, got {values}: the mass at 0 is "
                "the spike, and hidden units are never negative."
            )
        if np.any(np.diff(np.sort(values, axis=-1), axis=-1) == 0):
            raise Refusal(f"values of a slab must be distinct, got {values}: merge their probs.")
    if not_jax_tracer(probs):
        probs = np.asarray(probs)
        if not np.all(probs >= 0) or not np.allclose(probs.sum(axis=-1), 1.0, atol=1e-6):
            raise Refusal(f"probs of a slab must be >= 0 and sum to 1, got {probs}.")
