"""What one observation of one layer says about h, in the form that is quickest to evaluate."""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from probrev.model.activations import Location
from probrev.model.flat import Flat
from probrev.model.layer import Layer
from probrev.model.silence import (
    curvature_range,
    log_upper_tail,
    silence_prob,
    silence_slope,
)
from probrev.plumbing.pytree import pytree

MAX_FACTORS = 16
# Censored rows are padded to one of about so many lengths per layer: few shapes, few compilations.
NUM_LENGTHS = 16


@pytree(
    data=(
        "gram", "linear", "constant", "peak", "weights", "offset", "keep_prob", "steepest", "kappa"
    ),
    meta=("num_certain", "factors"),
)  # fmt: skip
@dataclass(frozen=True)
class RowTerms:
    """log p(x | h) for one x: a quadratic of h from the rows seen, masses of those on a flat.

        log p(x | h) = constant + linear . h - h^T gram h / 2 + sum_j log f_j(t_j),
        t_j = weights_j . h + offset_j,  f_j(t) = (1 - k_j) + k_j Phi(-t),

    t_j how far the pre-activation of a censored row is from its flat, in units of the noise. Rows
    on a flat at 0 may have been dropped, k_j is rho; the others were kept for certain, k_j is 1.
    Rows of `weights` beyond the censored ones are 0; their log f(0) is taken off the constant.

    Attributes:
        gram: W_S^T W_S / sigma^2, S the rows seen, (hidden, hidden).
        linear: W_S^T y_S / sigma^2, y the pre-activation of those less the bias, (hidden,).
        constant: the rest of the seen rows' log densities; -inf where x is impossible.
        peak: the most that log p(x | h) could be, every row seen meeting its mode and f = 1.
        weights: of the censored rows, over sigma, away from the flat; certain ones first,
            (row, hidden).
        offset: (row,).
        keep_prob: rho.
        steepest: bound on -(log f_j)'' of every row.
        kappa: bound on (log f_j)'', >= 0, (row,).
        num_certain: rows with k_j = 1; all of them without dropout.
        factors: how many f are multiplied before one logarithm is taken; f >= 1 - rho keeps so many
            of them above the smallest normal number.
    """

    gram: Float[Array, "hidden hidden"]
    linear: Float[Array, " hidden"]
    constant: Float[Array, ""]
    peak: Float[Array, ""]
    weights: Float[Array, "row hidden"]
    offset: Float[Array, " row"]
    keep_prob: Float[Array, ""]
    steepest: Float[Array, ""]
    kappa: Float[Array, " row"]
    num_certain: int
    factors: int

    def log_likelihood(self, h: Float[Array, "state hidden"]) -> Float[Array, " state"]:
        """Log p(x | h) of every state."""
        t = h @ self.weights.T + self.offset[None, :]
        return self.log_density(h) + self.log_mass(t)

    def log_density(self, h: Float[Array, "state hidden"]) -> Float[Array, " state"]:
        """The terms of the rows that are seen, and the constant."""
        return self.constant + h @ self.linear - 0.5 * ((h @ self.gram) * h).sum(-1)

    def log_mass(self, t: Float[Array, "state row"]) -> Float[Array, " state"]:
        """Sum over rows of log f(t), with one logarithm for every `factors` rows."""
        certain, others = self._split(t)
        total = log_upper_tail(certain).sum(-1)
        if not others.shape[-1]:
            return total
        mass = silence_prob(others, self.keep_prob)
        groups = mass.reshape(*others.shape[:-1], -1, self.factors)
        log_mass = jnp.log(groups.prod(-1)).sum(-1)
        return total + log_mass if certain.shape[-1] else log_mass

    def slope(self, t: Float[Array, "*state row"]) -> Float[Array, "*state row"]:
        """(log f)' of every row."""
        certain, others = self._split(t)
        parts = (
            silence_slope(certain, self.keep_prob, has_dropout=False),
            silence_slope(others, self.keep_prob, has_dropout=True),
        )
        return jnp.concatenate([part for part in parts if part.shape[-1]] or [t], axis=-1)

    def log_mass_at_rest(self, is_dead: Float[Array, " row"]) -> Float[Array, ""]:
        """Sum of log f(offset) over some rows: what they weigh where t does not depend on h."""
        certain, others = self._split(self.offset)
        parts = log_upper_tail(certain), jnp.log(silence_prob(others, self.keep_prob))
        return jnp.where(is_dead, jnp.concatenate(parts), 0.0).sum()

    def alone(self) -> "RowTerms":
        """The terms with f alone, free of every unit: models of any width share programs then."""
        nothing = jnp.zeros((0, 0))
        return replace(self, gram=nothing, linear=jnp.zeros(0), weights=nothing)

    def _split(self, t: Float[Array, "*state row"]) -> tuple[Array, Array]:
        """Of rows that were kept for certain, and of the others."""
        return t[..., : self.num_certain], t[..., self.num_certain :]


class RowLengths(NamedTuple):
    """Lengths that censored rows are padded to: those kept for certain, and the others."""

    certain: int
    others: int


def has_terms(layer: Layer) -> bool:
    """Whether a layer's rows have this form: every flat of its activation has an infinite end."""
    return all(flat.is_half_line for flat in layer.activation.flats)


def gather_terms(
    layer: Layer, x: Float[Array, " visible"], lengths: RowLengths | None = None
) -> RowTerms:
    """Gathers what one observation says; not to be traced, since the censored rows are counted.

    Args:
        layer: with noise_std > 0, and an activation whose flats have an infinite end each.
        x: one observation.
        lengths: what to pad to, for observations that share compiled code (`row_lengths` of them
            all); by default those of this one.
    """
    lengths = row_lengths(layer, x[None]) if lengths is None else lengths
    keep_prob, noise_std = float(layer.keep_prob), float(layer.noise_std)
    place = jax.tree.map(np.asarray, layer.locate(x))
    seen = np.asarray(layer.weights)[place.seen] / noise_std
    y = np.asarray(layer.seen_pre_activation(x) - layer.bias)[place.seen] / noise_std
    certain, others = _censored_rows(layer, place)
    constant = float(layer.log_seen_scale(x)) - 0.5 * float(y @ y)
    constant += len(certain) * math.log(keep_prob)
    if place.dropped.any():
        constant += place.dropped.sum() * math.log1p(-keep_prob)
    if not place.possible.all():
        constant = -math.inf
    peak = constant + 0.5 * float(y @ y)
    for part, length, prob in zip((certain, others), lengths, (1.0, keep_prob), strict=True):
        constant -= (length - len(part)) * math.log1p(-0.5 * prob)
    rows = np.concatenate(
        [
            np.pad(part, ((0, length - len(part)), (0, 0)))
            for part, length in zip((certain, others), lengths, strict=True)
        ]
    )
    steepest, kappa = np.repeat(
        [curvature_range(1.0), curvature_range(keep_prob)], lengths, axis=0
    ).T
    numbers = (
        seen.T @ seen, seen.T @ y, constant, peak, rows[:, :-1], rows[:, -1], keep_prob,
        steepest.max(initial=0.0), kappa,
    )  # fmt: skip
    return RowTerms(
        *(jnp.asarray(number, float) for number in numbers),
        num_certain=lengths.certain,
        factors=_count_factors(keep_prob),
    )


def row_lengths(layer: Layer, x: Float[Array, "obs visible"]) -> RowLengths:
    """Lengths that the censored rows of some observations fit in: multiples of about n / 16."""
    step = MAX_FACTORS * -(-layer.n_visible // (MAX_FACTORS * NUM_LENGTHS))
    counts = [np.zeros(len(x), int), np.zeros(len(x), int)]
    for flat, is_on in zip(layer.activation.flats, layer.locate(x).on, strict=True):
        counts[not _is_certain(layer, flat)] += np.asarray(is_on).sum(1)
    most = [int(np.max(count)) for count in counts]
    if not any(most):
        most[float(layer.keep_prob) < 1] = 1
    return RowLengths(*(-(-count // step) * step for count in most))


def _is_certain(layer: Layer, flat: Flat) -> bool:
    """Whether a row on a flat was kept for certain."""
    return flat.value != 0 or float(layer.keep_prob) == 1


def _censored_rows(layer: Layer, place: Location) -> list[Float[np.ndarray, "row hidden+1"]]:
    """Weights over sigma and offsets of rows on flats: those kept for certain, and the others."""
    weights, bias = np.asarray(layer.weights), np.asarray(layer.bias)
    noise_std = float(layer.noise_std)
    parts = [[np.zeros((0, layer.n_hidden + 1))], [np.zeros((0, layer.n_hidden + 1))]]
    for flat, is_on in zip(layer.activation.flats, place.on, strict=True):
        t, _, _, sign = flat.bounds(bias[is_on], noise_std)
        rows = np.column_stack([sign * weights[is_on] / noise_std, t])
        parts[not _is_certain(layer, flat)].append(rows)
    return [np.concatenate(part) for part in parts]


def _count_factors(keep_prob: float) -> int:
    """Most factors, a power of 2, that cannot underflow: each is at least 1 - rho."""
    if keep_prob == 1:
        return 1
    smallest = math.log(float(jnp.finfo(float).tiny))
    factors = MAX_FACTORS
    while factors > 1 and factors * math.log1p(-keep_prob) < smallest:
        factors //= 2
    return factors
