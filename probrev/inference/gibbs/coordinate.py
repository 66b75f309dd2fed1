"""The coordinate update of Gibbs sampling, one for every layer, over many cases at once.

A case is one chain of one observation. Given a layer's dropout masks and noisy pre-activations,
the units above it have a linear-Gaussian likelihood; each is a spike and slab under its prior,
which at the top is the model's and below that follows from the layer above.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from probrev.model.layer import Layer
from probrev.model.slabs import rectified_slab
from probrev.model.tilted import Slab, invert_tilted, log_slab_ratio, sample_tilted, unit_slab
from probrev.numerics.truncated_normal import excess_from_uniform, open_uniform, upper_tail

# Numbers in all residuals together; below it, looking for those that change costs more than it
# saves (measured on 2 CPU cores).
MIN_SIZE_TO_SKIP = 2**14
# A relocation costs as much as a pass over all units, and helps only between correlated columns.
RELOCATION_PROB = 0.25


class UnitPrior(NamedTuple):
    """Spike and slab of each unit, given everything but the layer's own units and those below.

    Attributes:
        inclusion_logit: log odds that a unit is active, (hidden,) or (case, hidden).
        slab: law of an active unit, one for all, one for each along the last axis, or one for each
            case and unit.
        active_range: fewest and most active units.
    """

    inclusion_logit: Float[Array, "*#case hidden"]
    slab: Slab
    active_range: tuple[int, int]

    def law(self, unit: Int[Array, ""], v: None, shape: tuple[int, ...]) -> tuple[Array, Slab]:
        """Log odds and slab of a unit; the others say nothing of it."""
        del v
        logit = jnp.broadcast_to(self.inclusion_logit[..., unit], shape)
        return logit, unit_slab(self.slab, unit)

    def after(self, unit: Int[Array, ""], v: None, h: Array, uniform: Array) -> None:
        """Nothing but h is kept of a unit."""
        del unit, v, h, uniform


class CoupledPrior(NamedTuple):
    """Rectified units h = max(v, 0) whose v are jointly normal: each is given all others' v.

    Attributes:
        mean: of v.
        precision: inverse of their covariance.
    """

    mean: Float[Array, " hidden"]
    precision: Float[Array, "hidden hidden"]

    @property
    def active_range(self) -> tuple[int, int]:
        """Any number may be active."""
        return 0, self.mean.shape[0]

    def law(self, unit: Int[Array, ""], v: Array, shape: tuple[int, ...]) -> tuple[Array, Slab]:
        """Log odds and slab of a unit given the others' v."""
        del shape
        return rectified_slab(*self._given_others(unit, v), 1.0, 1.0)

    def after(self, unit: Int[Array, ""], v: Array, h: Array, uniform: Array) -> Array:
        """V with that of a unit whose h was drawn: h, or where that is 0 what is below it."""
        mean, std = self._given_others(unit, v)
        t = mean / std
        below = -std * excess_from_uniform(uniform, t, upper_tail(t))
        return v.at[:, unit].set(jnp.where(h > 0, h, below))

    def _given_others(
        self, unit: Int[Array, ""], v: Float[Array, "case hidden"]
    ) -> tuple[Float[Array, " case"], Float[Array, ""]]:
        row, gap = self.precision[unit], v - self.mean[None]
        return v[:, unit] - (gap @ row) / row[unit], jax.lax.rsqrt(row[unit])


class Rows(NamedTuple):
    """The linear-Gaussian likelihood that the augmentation leaves, row by row.

    Attributes:
        precision: 1 / noise_var where the row was kept, 0 where it was dropped.
        residual: precision * (noisy pre-activation - W h).
    """

    precision: Float[Array, "case visible"]
    residual: Float[Array, "case visible"]


def augment(
    key: PRNGKeyArray,
    layer: Layer,
    z: Float[Array, "case visible"],
    x: Float[Array, "case visible"],
) -> Rows:
    """Draws which rows were kept and their noisy pre-activations, given z = W h and x below.

    Source: Albert and Chib 1993, data augmentation; the masks are ours.
    """
    kept, noisy = layer.distribution(z).sample_latents(key, x)
    precision = kept / layer.noise_std**2
    return Rows(precision, precision * (noisy - z))


def update_units(
    key: PRNGKeyArray,
    prior: UnitPrior,
    columns: Float[Array, "hidden visible"],
    information: Float[Array, "case hidden"],
    h: Float[Array, "case hidden"],
    rows: Rows,
    *,
    backwards: Bool[Array, ""] | bool = False,
) -> tuple[Float[Array, "case hidden"], Rows]:
    """Draws each unit in turn, spike and value jointly, given all others and the rows.

    A unit switches on or off by Metropolised Gibbs, then an active one draws its value.

    Args:
        key: random key.
        prior: of the units.
        columns: W^T of the layer below them.
        information: what the rows say about each unit alone: precision @ W^2.
        h: the units.
        rows: the likelihood.
        backwards: whether the last unit comes first. Either order leaves the law alone, and is the
            other one's reversal.

    Returns:
        The new units, and the rows with their residuals.

    Source: George and McCulloch 1997 (spike and value jointly); Liu 1996 (Metropolised Gibbs).
    """
    uniform = open_uniform(key, (h.shape[1], len(h)), h.dtype)
    h, rows, _ = _pass(
        prior, columns, information, h, rows, None, uniform, uniform, backwards=backwards
    )
    return h, rows


def update_coupled_units(
    key: PRNGKeyArray,
    prior: CoupledPrior,
    columns: Float[Array, "hidden visible"],
    information: Float[Array, "case hidden"],
    v: Float[Array, "case hidden"],
    rows: Rows,
    *,
    backwards: Bool[Array, ""] | bool = False,
) -> tuple[Float[Array, "case hidden"], Rows]:
    """Draws each unit's v in turn given all others' v and the rows, of which h = max(v, 0) is seen.

    Arguments as `update_units`, with v in the place of h. Returns the new v, and the rows.
    """
    uniforms = open_uniform(key, (2, v.shape[1], len(v)), v.dtype)
    h = jnp.maximum(v, 0.0)
    _, rows, v = _pass(prior, columns, information, h, rows, v, *uniforms, backwards=backwards)
    return v, rows


def _pass(
    prior: UnitPrior | CoupledPrior,
    columns: Float[Array, "hidden visible"],
    information: Float[Array, "case hidden"],
    h: Float[Array, "case hidden"],
    rows: Rows,
    v: Any,
    uniform: Float[Array, "hidden case"],
    uniform_below: Float[Array, "hidden case"],
    *,
    backwards: Bool[Array, ""] | bool,
) -> tuple[Array, Rows, Any]:
    """See `update_units` and `update_coupled_units`."""
    fewest, most = prior.active_range

    def update(step, carry):
        h, num_active, residual, v = carry
        unit = jnp.where(backwards, h.shape[1] - 1 - step, step)
        column, old = columns[unit], h[:, unit]
        active = old > 0
        others = num_active - active
        logit, slab = prior.law(unit, v, old.shape)
        if most < h.shape[1]:
            logit = jnp.where(others < most, logit, -jnp.inf)
        if fewest > 0:
            logit = jnp.where(others < fewest, jnp.inf, logit)
        precision = information[:, unit]
        r, var = gaussian(residual @ column + precision * old, precision)
        new = invert_tilted(uniform[unit], logit, slab, r, var, active)
        residual = _shift(residual, new - old, column, rows.precision)
        v = prior.after(unit, v, new, uniform_below[unit])
        return h.at[:, unit].set(new), others + (new > 0), residual, v

    start = (h, (h > 0).sum(-1), rows.residual, v)
    h, _, residual, v = jax.lax.fori_loop(0, h.shape[1], update, start)
    return h, rows._replace(residual=residual), v


def count_relocations(moves: Bool[Array, "*shape"], prior: UnitPrior) -> Int[Array, "*shape"]:
    """How many relocations a sweep has, given whether a coin of `RELOCATION_PROB` says to move.

    Where single units cannot move at all, relocations are all there is: one for each.
    """
    fewest, _ = prior.active_range
    return jnp.where(moves | (fewest > 0), max(fewest, 1), 0)


def relocate_unit(
    key: PRNGKeyArray,
    prior: UnitPrior,
    columns: Float[Array, "hidden visible"],
    information: Float[Array, "case hidden"],
    h: Float[Array, "case hidden"],
    rows: Rows,
) -> tuple[Float[Array, "case hidden"], Rows]:
    """Draws a new place and value for one active unit, given all others and the rows.

    This passes between correlated columns without an empty state in between, and is the only move
    under a prior with a fixed number of active units. Arguments as `update_units`.
    """
    key_leaving, key_place, key_value = jax.random.split(key, 3)
    active = h > 0
    leaving = jax.random.categorical(key_leaving, jnp.where(active, 0.0, -jnp.inf))
    any_active = active.any(-1)
    case = jnp.arange(len(h))
    old = h[case, leaving]
    freed = rows.residual + old[:, None] * columns[leaving] * rows.precision
    r, v = gaussian(jnp.einsum("cv,hv->ch", freed, columns), information)
    taken = active.at[case, leaving].set(False)
    logit = jnp.broadcast_to(prior.inclusion_logit, h.shape) + log_slab_ratio(prior.slab, r, v)
    place = jax.random.categorical(key_place, jnp.where(taken, -jnp.inf, logit))
    certain = jnp.full(len(h), jnp.inf)
    slab = unit_slab(prior.slab, place)
    new = sample_tilted(key_value, certain, slab, r[case, place], v[case, place])
    residual = freed - new[:, None] * columns[place] * rows.precision
    moved = h.at[case, leaving].set(0.0).at[case, place].set(new)
    h = jnp.where(any_active[:, None], moved, h)
    residual = jnp.where(any_active[:, None], residual, rows.residual)
    return h, rows._replace(residual=residual)


def gaussian(linear: Array, precision: Array) -> tuple[Array, Array]:
    """Mean and variance of exp(linear h - precision h^2 / 2); (0, inf) where nothing is known."""
    known = precision > 0
    variance = jnp.where(known, 1 / jnp.where(known, precision, 1.0), jnp.inf)
    return jnp.where(known, linear, 0.0) * jnp.where(known, variance, 0.0), variance


def _shift(
    residual: Float[Array, "case visible"],
    change: Float[Array, " case"],
    column: Float[Array, " visible"],
    precision: Float[Array, "case visible"],
) -> Float[Array, "case visible"]:
    """The residual after one unit's change, which under a sparse law happens in few cases."""

    def everywhere(residual: Array) -> Array:
        return residual - change[:, None] * column[None, :] * precision

    def where_changed(residual: Array) -> Array:
        changed = jnp.argsort(change == 0)  # those cases first

        def shift(index: Int[Array, ""], residual: Array) -> Array:
            # Unlike jnp's indexing these check no bounds, and the row is renewed in place.
            case = jax.lax.dynamic_index_in_dim(changed, index, keepdims=False)
            step = jax.lax.dynamic_index_in_dim(change, case) * column
            row = jax.lax.dynamic_index_in_dim(residual, case, keepdims=False)
            weight = jax.lax.dynamic_index_in_dim(precision, case, keepdims=False)
            return jax.lax.dynamic_update_index_in_dim(residual, row - step * weight, case, 0)

        return jax.lax.fori_loop(0, (change != 0).sum(), shift, residual)

    if residual.size < MIN_SIZE_TO_SKIP:
        return everywhere(residual)
    return jax.lax.platform_dependent(residual, cpu=where_changed, default=everywhere)
