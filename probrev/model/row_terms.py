"""What one observation of one layer says about h, in the form that is quickest to evaluate."""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erfc
from jaxtyping import Array, Float

from probrev.model.layer import Layer
from probrev.numerics.truncated_normal import HALF_LOG_TWO_PI, upper_tail
from probrev.plumbing.pytree import pytree

MAX_FACTORS = 16
# Silent rows are padded to one of about so many lengths per layer: few shapes, few compilations.
NUM_LENGTHS = 16
DEEP = 30.0


@pytree(
    data=("gram", "linear", "constant", "peak", "silent_weights", "keep_prob"), meta=("factors",)
)
@dataclass(frozen=True)
class RowTerms:
    """log p(x | h) for one x: a quadratic of h from the rows that are seen, masses of the silent.

        log p(x | h) = constant + linear . h - h^T gram h / 2 + sum_j log f(silent_weights_j . h)

    with f(t) = (1 - rho) + rho Phi(-t). Rows of silent_weights beyond the silent ones are 0; their
    log f(0) is taken off the constant.

    Attributes:
        gram: W_S^T W_S / sigma^2, S the rows seen, (hidden, hidden).
        linear: W_S^T y_S / sigma^2, y = x / gain, (hidden,).
        constant: the rest of the seen rows' log densities; -inf where x is impossible.
        peak: the most that log p(x | h) could be, every row seen meeting its mode and f = 1.
        silent_weights: W_j / sigma of the silent rows, (row, hidden).
        keep_prob: rho.
        factors: how many f are multiplied before one logarithm is taken; f >= 1 - rho keeps so many
            of them above the smallest normal number. 1 without dropout, where f may underflow.
    """

    gram: Float[Array, "hidden hidden"]
    linear: Float[Array, " hidden"]
    constant: Float[Array, ""]
    peak: Float[Array, ""]
    silent_weights: Float[Array, "row hidden"]
    keep_prob: Float[Array, ""]
    factors: int

    @property
    def has_dropout(self) -> bool:
        """Whether rho < 1, known when programs are compiled."""
        return self.factors > 1

    def log_likelihood(self, h: Float[Array, "state hidden"]) -> Float[Array, " state"]:
        """Log p(x | h) of every state."""
        return self.log_density(h) + self.log_silence(h @ self.silent_weights.T)

    def log_density(self, h: Float[Array, "state hidden"]) -> Float[Array, " state"]:
        """The terms of the rows that are seen, and the constant."""
        return self.constant + h @ self.linear - 0.5 * ((h @ self.gram) * h).sum(-1)

    def log_silence(self, t: Float[Array, "state row"]) -> Float[Array, " state"]:
        """Sum over rows of log f(t), with one logarithm for every `factors` rows."""
        if self.factors == 1:
            return _log_upper_tail(t).sum(-1)
        mass = (1 - self.keep_prob) + 0.5 * self.keep_prob * erfc(t * math.sqrt(0.5))
        groups = mass.reshape(*t.shape[:-1], -1, self.factors)
        return jnp.log(groups.prod(-1)).sum(-1)


def gather_terms(
    layer: Layer, x: Float[Array, " visible"], num_rows: int | None = None
) -> RowTerms:
    """Gathers what one observation says; not to be traced, since the silent rows are counted.

    Args:
        layer: with noise_std > 0.
        x: one observation.
        num_rows: length to pad the silent rows to, for observations that share compiled code; by
            default the next of about 16 lengths.
    """
    values, weights = np.asarray(x), np.asarray(layer.weights)
    keep_prob, noise_std, gain = (
        float(value) for value in (layer.keep_prob, layer.noise_std, layer.gain)
    )
    # An identity layer is silent by dropout alone: that says nothing about h.
    is_relu = layer.activation == "relu"
    silent = (values == 0) & (is_relu or keep_prob < 1)
    seen = weights[~silent] / noise_std
    y = values[~silent] / (gain * noise_std)
    log_scale = math.log(keep_prob / (gain * noise_std * math.sqrt(2 * math.pi)))
    constant = len(y) * log_scale - 0.5 * float(y @ y)
    rows = weights[silent] / noise_std
    if not is_relu:
        constant += len(rows) * math.log1p(-keep_prob) if len(rows) else 0.0
        rows = rows[:0]
    elif (values < 0).any():
        constant = -math.inf
    peak = constant + 0.5 * float(y @ y)
    padding = (num_rows or count_rows(layer, len(rows))) - len(rows)
    constant -= padding * math.log1p(-0.5 * keep_prob)
    rows = np.concatenate([rows, np.zeros((padding, layer.n_hidden))])
    return RowTerms(
        gram=jnp.asarray(seen.T @ seen, float),
        linear=jnp.asarray(seen.T @ y, float),
        constant=jnp.asarray(constant, float),
        peak=jnp.asarray(peak, float),
        silent_weights=jnp.asarray(rows, float),
        keep_prob=jnp.asarray(keep_prob, float),
        factors=_count_factors(keep_prob),
    )


def count_rows(layer: Layer, num_silent: int) -> int:
    """The length that so many silent rows are padded to."""
    step = MAX_FACTORS * -(-layer.n_visible // (MAX_FACTORS * NUM_LENGTHS))
    return max(1, -(-num_silent // step)) * step


def _log_upper_tail(t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Log Phi(-t) to rounding, without a branch: beyond 30 by Abramowitz and Stegun 26.2.12."""
    deep = jnp.maximum(t, DEEP)
    u = 1 / deep**2
    series = 1 - u * (1 - 3 * u * (1 - 5 * u * (1 - 7 * u)))
    asymptotic = -0.5 * deep**2 - jnp.log(deep) - HALF_LOG_TWO_PI + jnp.log(series)
    near = jnp.log(upper_tail(jnp.minimum(t, DEEP)))
    return jnp.where(t > DEEP, asymptotic, near)


def _count_factors(keep_prob: float) -> int:
    """Most factors, a power of 2, that cannot underflow: each is at least 1 - rho."""
    if keep_prob == 1:
        return 1
    smallest = math.log(float(jnp.finfo(float).tiny))
    factors = MAX_FACTORS
    while factors > 1 and factors * math.log1p(-keep_prob) < smallest:
        factors //= 2
    return factors
