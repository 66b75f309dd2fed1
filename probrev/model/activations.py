"""Activations: nondecreasing maps of a noisy pre-activation, and what their values tell back.

An activation is a list of flats (`Flat`), where many pre-activations give one value, and increasing
stretches between them, where a value gives its pre-activation. A row of x with a value on a stretch
is *seen*: it is linear-Gaussian in h. One on a flat is *censored*. One that is 0 on no flat was
*dropped*, and says nothing of h. All else is asked of these: nothing outside this file knows an
activation's name.
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, override

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from probrev.model.flat import Flat
from probrev.numerics.truncated_normal import rectified_moments, upper_tail
from probrev.plumbing import door
from probrev.plumbing.refusal import Refusal

# Units in the last place by which x / gain may miss a flat's value.
ROUNDING = 4.0
# Where an activation is held against what it says of itself: no end of a flat is likely there.
CHECKED = np.linspace(-3.0, 3.0, 200) + 1e-4 * np.sqrt(2)
CHECK_TOLERANCE = 1e-3

Stretch = tuple[float, float]


class Location(NamedTuple):
    """Where values lie.

    Attributes:
        seen: on a stretch, or what has a density because nothing was dropped.
        on: on each of the flats.
        dropped: 0 because the row was dropped, and for no other reason.
    """

    seen: Bool[Array, "*shape"]
    on: tuple[Bool[Array, "*shape"], ...]
    dropped: Bool[Array, "*shape"]

    @property
    def possible(self) -> Bool[Array, "*shape"]:
        """Whether the activation and dropout can give the value at all."""
        return sum(self.on, self.seen | self.dropped)


class Activation(ABC):
    """A nondecreasing map, given by its flats, its stretches, and the inverse on these.

    A new activation is a frozen, hashable subclass: `flats`, `stretches`, `__call__`, `inverse` and
    `log_inverse_slope` are what every method of inference asks, so one that has them is served by
    all methods but those that refuse it in words. `moments` and `negative_slope` are extras. These
    are held against each other when a layer is made.

    Attributes:
        flats: from below, with different values.
        stretches: open intervals of the values that are taken where it increases.
        negative_slope: s of a map that is z above 0 and s z below, which theory knows in closed
            form; None for all others.

    Source: the view of an activation as a censored map is that of probrev's theory notes, after
    Tobin 1958.
    """

    flats: tuple[Flat, ...] = ()
    stretches: tuple[Stretch, ...] = ()
    negative_slope: float | None = None

    @abstractmethod
    def __call__(self, z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The values."""

    @abstractmethod
    def inverse(self, y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """The pre-activations that give values on a stretch, psi(y); anything finite elsewhere."""

    @abstractmethod
    def log_inverse_slope(self, y: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Log |psi'(y)| of values on a stretch; anything finite elsewhere."""

    def moments(
        self, mean: Float[Array, "*shape"], std: Float[Array, "*shape"]
    ) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """Mean and variance of the value at N(mean, std^2), std >= 0.

        Raises:
            ValueError: there is no closed form.
        """
        raise Refusal(f"the mean of a unit with activation {self} has no closed form")

    @property
    def is_rectifier(self) -> bool:
        """Whether it is ReLU, whose units are a spike and a slab given those above them."""
        return self.negative_slope == 0

    @property
    def stein_factor(self) -> float | None:
        """1 / E[w act(w + xi)] for Gaussian w and symmetric xi, where that is one number."""
        return None if self.negative_slope is None else 2.0 / (1.0 + self.negative_slope)

    @property
    def rests_at_zero(self) -> bool:
        """Whether kept units may be 0, so that a 0 says something of h."""
        return any(flat.value == 0 for flat in self.flats)

    def locate(self, y: Float[Array, "*shape"], keep_prob: ArrayLike) -> Location:
        """Where values y = x / gain lie.

        Args:
            y: the values.
            keep_prob: rho, at which a 0 on no flat is a value like any other if it is 1.
        """
        slack = ROUNDING * jnp.finfo(y.dtype).eps
        on = tuple(jnp.abs(y - flat.value) <= slack * abs(flat.value) for flat in self.flats)
        taken = sum(on, jnp.zeros(y.shape, bool))
        dropped = (y == 0) & ~taken & (jnp.asarray(keep_prob) < 1)
        inside = jnp.zeros_like(taken)
        for low, high in self.stretches:
            inside |= (y > low) & (y < high)
        return Location(inside & ~taken & ~dropped, on, dropped)


class _UnitSlope(Activation):
    """What has slope 1 on its stretches, and is z there."""

    @override
    def inverse(self, y):
        return y

    @override
    def log_inverse_slope(self, y):
        return jnp.zeros_like(y)


@dataclass(frozen=True)
class Relu(_UnitSlope):
    """max(z, 0), the activation of Arora, Liang and Ma 2015 (arXiv:1511.05653)."""

    flats = (Flat(0.0, upper=0.0),)
    stretches = ((0.0, math.inf),)
    negative_slope = 0.0

    @override
    def __call__(self, z):
        return jax.nn.relu(z)

    @override
    def moments(self, mean, std):
        return rectified_moments(mean, std)

    def __str__(self) -> str:
        return "relu"


@dataclass(frozen=True)
class Identity(_UnitSlope):
    """The unit is its pre-activation."""

    stretches = ((-math.inf, math.inf),)
    negative_slope = 1.0

    @override
    def __call__(self, z):
        return z

    @override
    def moments(self, mean, std):
        return mean + 0.0 * std, jnp.square(std) + 0.0 * mean

    def __str__(self) -> str:
        return "identity"


@dataclass(frozen=True)
class LeakyRelu(Activation):
    """max(z, slope z).

    Attributes:
        slope: below 0, in (0, 1).
    """

    slope: float
    stretches = ((-math.inf, math.inf),)

    def __post_init__(self):
        door.number(
            "lie in (0, 1), where at 0 it is Relu and at 1 Identity", lambda value: 0 < value < 1
        )("slope of LeakyRelu", self.slope)
        object.__setattr__(self, "negative_slope", float(self.slope))

    @override
    def __call__(self, z):
        return jnp.where(z > 0, z, self.slope * z)

    @override
    def inverse(self, y):
        return jnp.where(y > 0, y, y / self.slope)

    @override
    def log_inverse_slope(self, y):
        return jnp.where(y > 0, 0.0, -math.log(self.slope))

    @override
    def moments(self, mean, std):
        # With r the rectified value, act(z) = s z + (1 - s) r, and Cov(z, r) = std^2 P(z > 0).
        s = self.slope
        first, var = rectified_moments(mean, std)
        above = upper_tail(-mean / jnp.where(std > 0, std, 1.0))
        shared = jnp.square(std) * (s**2 + 2 * s * (1 - s) * above)
        return s * mean + (1 - s) * first, shared + (1 - s) ** 2 * var

    def __str__(self) -> str:
        return f"leaky_relu(slope={self.slope:g})"


@dataclass(frozen=True)
class ClippedRelu(_UnitSlope):
    """min(max(z, 0), top).

    Attributes:
        top: largest value, positive and finite.
    """

    top: float

    def __post_init__(self):
        door.positive("top of ClippedRelu", self.top)
        top = float(self.top)
        object.__setattr__(self, "flats", (Flat(0.0, upper=0.0), Flat(top, lower=top)))
        object.__setattr__(self, "stretches", ((0.0, top),))

    @override
    def __call__(self, z):
        return jnp.clip(z, 0.0, self.top)

    @override
    def moments(self, mean, std):
        # r(z) - r(z - top), and E[r(z) r(z - top)] = E[r(z - top)^2] + top E[r(z - top)].
        low, low_var = rectified_moments(mean, std)
        high, high_var = rectified_moments(mean - self.top, std)
        product = high_var + jnp.square(high) + self.top * high
        var = low_var + high_var - 2 * (product - low * high)
        return low - high, jnp.maximum(var, 0.0)

    def __str__(self) -> str:
        return f"clipped_relu(top={self.top:g})"


@dataclass(frozen=True)
class Threshold(_UnitSlope):
    """1 where z > 0, else 0: nothing but flats."""

    flats = (Flat(0.0, upper=0.0), Flat(1.0, lower=0.0))

    @override
    def __call__(self, z):
        return (z > 0).astype(z.dtype)

    @override
    def moments(self, mean, std):
        noisy = std > 0
        above = upper_tail(-mean / jnp.where(noisy, std, 1.0))
        above = jnp.where(noisy, above, (mean > 0).astype(above.dtype))
        return above, above * (1.0 - above)

    def __str__(self) -> str:
        return "threshold"


@dataclass(frozen=True)
class Increasing(Activation):
    """A strictly increasing activation of one's own, such as tanh or softplus.

    Attributes:
        function: of an array of pre-activations, elementwise, in JAX.
        inverse_function: psi, of an array of values.
        log_inverse_derivative: log psi'(y) of an array of values.
        low: what all values are above.
        high: what all values are below.
        name: to call it in errors and reports.
    """

    function: Callable[[Array], Array]
    inverse_function: Callable[[Array], Array]
    log_inverse_derivative: Callable[[Array], Array]
    low: float = -math.inf
    high: float = math.inf
    name: str = "increasing"

    def __post_init__(self):
        for name in ("function", "inverse_function", "log_inverse_derivative"):
            door.function(name, getattr(self, name))
        object.__setattr__(self, "stretches", ((float(self.low), float(self.high)),))

    @override
    def __call__(self, z):
        return self.function(z)

    @override
    def inverse(self, y):
        return self.inverse_function(self._inside(y))

    @override
    def log_inverse_slope(self, y):
        return self.log_inverse_derivative(self._inside(y))

    def _inside(self, y: Array) -> Array:
        """The values, and the one at 0 where they are no values of the function."""
        return jnp.where((y > self.low) & (y < self.high), y, self.function(jnp.zeros((), y.dtype)))

    def __str__(self) -> str:
        return self.name


NAMED: dict[str, Activation] = {
    "relu": Relu(), "identity": Identity(), "threshold": Threshold()
}  # fmt: skip


def as_activation(given: str | Activation) -> Activation:
    """The activation that a name or an object stands for.

    Raises:
        ValueError: an unknown name, what is neither, or an activation that contradicts itself.
    """
    found = NAMED.get(given) if isinstance(given, str) else given
    if not isinstance(found, Activation):
        known = ", ".join(f'"{name}"' for name in NAMED)
        raise Refusal(
            f"activation must be {known}, or an Activation such as LeakyRelu(0.1), "
            f"ClippedRelu(6.0) or Increasing(...); got {given!r}"
        )
    try:
        hash(found)
    except TypeError:
        raise Refusal(
            f"activation {type(found).__name__} must be hashable, since programs are compiled for "
            "it: make it a frozen dataclass whose fields are numbers and functions, not arrays"
        ) from None
    _check(found)
    return found


@functools.partial(jax.jit, static_argnums=1)
def _look_at(
    z: Float[Array, " point"], activation: Activation
) -> tuple[Array, Array, Location, Array, Array]:
    """What an activation makes of z, its slope, where that is, its inverse and its log slope."""
    y, slope = jax.jvp(activation, (z,), (jnp.ones_like(z),))
    place = activation.locate(y, 1.0)
    return y, slope, place, activation.inverse(y), activation.log_inverse_slope(y)


@functools.cache
def _check(activation: Activation) -> None:
    """Raises ValueError unless what an activation says of itself is true.

    That is looked at on z from -3 to 3, and on both sides of the ends of its flats.
    What a subclass overrides, and leaves, need not fit together; an inverse may be mistyped.
    """
    with jax.ensure_compile_time_eval():
        ends = [end for flat in activation.flats for end in flat[1:] if math.isfinite(end)]
        z = jnp.asarray(np.unique([CHECKED, *(end + CHECKED / 3 for end in ends)]))
        y, slope, place, inverse, log_slope = _look_at(z, activation)
    z, y, slope, inverse, log_slope = map(np.asarray, (z, y, slope, inverse, log_slope))
    on_flat = np.zeros(z.shape, bool)
    for flat, is_on in zip(activation.flats, map(np.asarray, place.on), strict=True):
        inside = (z > flat.lower) & (z < flat.upper)
        on_flat |= inside
        _demand(activation, is_on == inside, z, f"be {flat.value:g} on {flat} and nowhere else")
    rises = ~on_flat
    _demand(activation, np.append(True, np.diff(y) >= 0), z, "be nondecreasing")
    _demand(activation, np.asarray(place.seen) == rises, z, "have values in `stretches` off flats")
    _demand(activation, ~rises | _close(inverse, z), z, "have `inverse` undo it off flats")
    with np.errstate(divide="ignore"):
        undone = _close(log_slope, -np.log(slope))
    wanted = "have the log derivative of `inverse` as `log_inverse_slope`"
    _demand(activation, ~rises | undone, z, wanted)
    if activation.negative_slope is not None:
        plain = np.where(z > 0, z, activation.negative_slope * z)
        _demand(activation, _close(y, plain), z, "be z above 0 and `negative_slope` z below")


def _close(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.isclose(found, expected, rtol=CHECK_TOLERANCE, atol=CHECK_TOLERANCE)


def _demand(activation: Activation, holds: np.ndarray, z: np.ndarray, what: str) -> None:
    if not holds.all():
        raise Refusal(
            f"activation {activation} must {what}: it does not at z = {z[np.argmin(holds)]:.3g}"
        )
