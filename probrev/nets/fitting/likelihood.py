"""The likelihood of a layer's parameters where x and h are both known, with two derivatives.

x = gain act(W h + bias + noise_std eps) d with act(z) = z above 0 and slope z below. Divided by
noise_std, a row that is seen has the residual

    r = s psi(x) - t z - b,   s = 1 / (gain noise_std), t = 1 / noise_std, b = bias / noise_std

with z = W h, and log density log(keep_prob s) - r^2 / 2; a row on the flat at 0 has the mass
1 - keep_prob + keep_prob Phi(-t z - b). At keep_prob = 1 that is concave in (s, t, b). Each b
meets the other parameters alone, so that a matrix of second derivatives is an arrow.

Source: Olsen 1978, Note on the uniqueness of the maximum likelihood estimator for the Tobit model;
dropout and rows of their own bias are ours.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, log_expit, log_ndtr, ndtr

from probrev.model.activations import Activation
from probrev.model.layer import Layer
from probrev.model.layer_values import explain_negative
from probrev.plumbing.refusal import Refusal

# Parameters that all rows share, as they are searched: on these scales none has an end.
SHARED = ("log_s", "log_t", "logit_keep")
HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


@dataclass(frozen=True)
class LayerData:
    """Pairs of x and h, as the likelihood of a layer sees them.

    Attributes:
        values: psi(x), what the pre-activation of a kept row was at gain 1; 0 elsewhere.
        z: W h.
        seen: rows that are linear in h.
        censored: rows on the flat at 0, or dropped.
        dropped: rows that were dropped for certain.
        log_slope: log psi'(x), summed over the rows that are seen, by observation.
        has_flat: whether all that is below 0 becomes 0.
    """

    values: Float[np.ndarray, "obs visible"]
    z: Float[np.ndarray, "obs visible"]
    seen: Bool[np.ndarray, "obs visible"]
    censored: Bool[np.ndarray, "obs visible"]
    dropped: Bool[np.ndarray, "obs visible"]
    log_slope: Float[np.ndarray, " obs"]
    has_flat: bool

    @property
    def fires(self) -> Bool[np.ndarray, " visible"]:
        """Rows of which some observation has a value."""
        return self.seen.any(0)

    def rows(self, chosen: np.ndarray) -> "LayerData":
        """Some of the rows."""
        parts = {name: getattr(self, name)[:, chosen] for name in ("values", "z", *_KINDS)}
        return replace(self, **parts)

    def draw(self, chosen: np.ndarray) -> "LayerData":
        """Some of the observations, perhaps several times."""
        parts = ("values", "z", *_KINDS, "log_slope")
        return replace(self, **{name: getattr(self, name)[chosen] for name in parts})


_KINDS = ("seen", "censored", "dropped")


def read_pairs(
    activation: Activation,
    weights: Float[np.ndarray, "visible hidden"],
    x: Float[np.ndarray, "obs visible"],
    h: Float[np.ndarray, "obs hidden"],
    keep_prob: float | None,
) -> LayerData:
    """What x and h are to the likelihood.

    Args:
        activation: z above 0 and a multiple of z below.
        weights: W.
        x: values of the layer.
        h: values above it.
        keep_prob: where it is known.

    Raises:
        ValueError: an activation of another form, or x that it cannot give.
    """
    if activation.negative_slope is None:
        raise Refusal(
            "layers can be fitted whose activation is z above 0 and a multiple of z below, as that "
            f"of relu, LeakyRelu and identity is; got {activation}"
        )
    at = jnp.asarray(x)
    place = activation.locate(at, jnp.asarray(1.0 if keep_prob == 1 else 0.5))
    if not np.asarray(place.possible).all():
        raise Refusal(
            f"x has values that a layer with activation {activation} cannot give, the smallest "
            f"is {x.min():.3g}{explain_negative(activation, x)}"
        )
    seen, dropped = np.asarray(place.seen), np.asarray(place.dropped)
    on = np.zeros_like(seen) if not place.on else np.asarray(place.on[0])
    values = np.where(seen, np.asarray(activation.inverse(at)), 0.0)
    slope = np.where(seen, np.asarray(activation.log_inverse_slope(at)), 0.0)
    return LayerData(values, h @ weights.T, seen, on, dropped, slope.sum(1), bool(place.on))


class Parameters(NamedTuple):
    """A layer's parameters as they are searched.

    Attributes:
        log_s: -log(gain noise_std).
        log_t: -log(noise_std).
        logit_keep: log odds of keep_prob; infinite at 1.
        b: bias / noise_std of each row.
    """

    log_s: float
    log_t: float
    logit_keep: float
    b: Float[np.ndarray, " visible"]

    @property
    def keep_prob(self) -> float:
        """Probability that a row survives dropout."""
        return float(expit(self.logit_keep))

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise on W h."""
        return float(np.exp(-self.log_t))

    @property
    def gain(self) -> float:
        """What an activated row is multiplied by."""
        return float(np.exp(self.log_t - self.log_s))

    @property
    def bias(self) -> Float[np.ndarray, " visible"]:
        """Bias of each row, in units of W h."""
        return self.b * self.noise_std

    def as_layer(self, weights: np.ndarray, activation: Activation) -> Layer:
        """The layer that has them."""
        return Layer(weights, self.keep_prob, self.noise_std, self.gain, activation, bias=self.bias)


class Arrow(NamedTuple):
    """A symmetric matrix whose rows for b are diagonal among each other.

    Attributes:
        shared: of the parameters that all rows share.
        mixed: of these with each b.
        own: of each b with itself.
    """

    shared: Float[np.ndarray, "shared shared"]
    mixed: Float[np.ndarray, "shared visible"]
    own: Float[np.ndarray, " visible"]

    def solve(
        self, first: Float[np.ndarray, "shared *right"], second: Float[np.ndarray, "visible *right"]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Solves for both parts of a right side, or of several."""
        scaled = self.mixed / self.own
        found = np.linalg.solve(self.shared - scaled @ self.mixed.T, first - scaled @ second)
        own = self.own.reshape(-1, *[1] * (second.ndim - 1))
        return found, (second - np.tensordot(self.mixed.T, found, 1)) / own


class Slopes(NamedTuple):
    """Log likelihood and its first derivatives.

    Attributes:
        log_likelihood: of each observation.
        shared: derivatives by log_s, log_t and logit_keep.
        own: by b; by t z + b, of each row, as well.
    """

    log_likelihood: Float[np.ndarray, " obs"]
    shared: Float[np.ndarray, "obs 3"]
    own: Float[np.ndarray, "obs visible"]


def log_likelihood(data: LayerData, at: Parameters) -> Float[np.ndarray, "obs visible"]:
    """Log p(x_j | h) of each row: a density where it is seen, else a mass."""
    s, t = np.exp(at.log_s), np.exp(at.log_t)
    v = t * data.z + at.b
    log_keep, log_drop = log_expit(at.logit_keep), log_expit(-at.logit_keep)
    found = log_keep + at.log_s - HALF_LOG_2PI - 0.5 * (s * data.values - v) ** 2
    silent = np.logaddexp(log_drop, log_keep + log_ndtr(-v))
    return np.select([data.seen, data.censored], [found, silent], log_drop)


def differentiate(data: LayerData, at: Parameters) -> Slopes:
    """Log likelihood and its derivatives, by observation."""
    return _Terms(data, at).slopes


def differentiate_twice(data: LayerData, at: Parameters) -> tuple[Slopes, Arrow]:
    """The same, and the second derivatives of its sum."""
    terms = _Terms(data, at)
    return terms.slopes, terms.hessian


class _Terms:
    """What both derivatives are made of, row by row.

    With q = 1 - keep_prob + keep_prob Phi(-v) the mass of a censored row, v = t z + b,
    g = -d log q / dv and e = -d log q / d logit_keep.
    """

    def __init__(self, data: LayerData, at: Parameters):
        self.data, self.keep = data, at.keep_prob
        self.spread = self.keep * expit(-at.logit_keep)  # d keep_prob / d logit_keep
        self.tz, self.su = np.exp(at.log_t) * data.z, np.exp(at.log_s) * data.values
        self.v = self.tz + at.b
        self.rows = log_likelihood(data, at)
        self.r = np.where(data.seen, self.su - self.v, 0.0)
        self.log_density = -0.5 * self.v**2 - HALF_LOG_2PI
        log_g = log_expit(at.logit_keep) + self.log_density - self.rows
        self.g = np.exp(np.where(data.censored, log_g, -np.inf))
        # 1 / q, where it matters: without dropout q may be too small for it
        may_drop = data.censored & (self.spread > 0)
        self.inverse = np.exp(np.where(may_drop, -self.rows, -np.inf))
        self.e = self.spread * self.inverse * ndtr(self.v)
        self.by_v = self.r - self.g

    @property
    def slopes(self) -> Slopes:
        data, keep = self.data, self.keep
        by_keep = np.where(data.seen, 1 - keep, np.where(data.dropped, -keep, -self.e))
        by_scale = data.seen * (1 - self.r * self.su)
        shared = [by_scale.sum(1), (self.by_v * self.tz).sum(1), by_keep.sum(1)]
        return Slopes(self.rows.sum(1) + data.log_slope, np.stack(shared, axis=1), self.by_v)

    @property
    def hessian(self) -> Arrow:
        data, tz, su = self.data, self.tz, self.su
        by_vv = np.where(data.seen, -1.0, self.g * (self.v - self.g))
        by_vs = data.seen * su
        by_vk = -self.spread * np.exp(self.log_density) * self.inverse**2
        by_kk = np.where(data.censored, -(1 - 2 * self.keep) * self.e - self.e**2, -self.spread)
        st, tk = (by_vs * tz).sum(), (by_vk * tz).sum()
        shared = [
            [-(by_vs * su + self.r * su).sum(), st, 0.0],
            [st, (by_vv * tz**2 + self.by_v * tz).sum(), tk],
            [0.0, tk, by_kk.sum()],
        ]
        mixed = np.stack([by_vs.sum(0), (by_vv * tz).sum(0), by_vk.sum(0)])
        return Arrow(np.array(shared), mixed, by_vv.sum(0))
