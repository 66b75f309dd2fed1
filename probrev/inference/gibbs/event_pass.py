"""A pass over the units of one case whose cost follows what changes.

The scan of `update_units` visits every unit. With one uniform for each drawn first, and the rows'
precision held, nothing that decides over a silent unit changes until another one does: all units
that stay silent up to the next change are passed over in one comparison. Same law as the scan, from
the same uniforms the same units.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from probrev.inference.gibbs.coordinate import UnitPrior, gaussian
from probrev.model.tilted import invert_tilted, log_slab_ratio, unit_slab


class Place(NamedTuple):
    """Where one case is.

    Attributes:
        h: the units.
        linear: what the rows say of each, all of h taken out: that at h = 0 less gram h.
    """

    h: Float[Array, " hidden"]
    linear: Float[Array, " hidden"]


class Linear(NamedTuple):
    """What is linear in h, of one case.

    Attributes:
        gram: W^T P W, of every observation: a slice of it would be a copy.
        obs: which observation the case is of.
        columns: W^T.
    """

    gram: Float[Array, "obs hidden hidden"]
    obs: Int[Array, ""]
    columns: Float[Array, "hidden visible"]

    def move(self, place: Place, unit: Int[Array, ""], new: Float[Array, ""]) -> Place:
        """The place with another value of a unit."""
        h, linear = place
        change = new - h[unit]
        linear = jax.lax.cond(
            change != 0, lambda: linear - change * self.gram[self.obs, unit], lambda: linear
        )
        return Place(jax.lax.dynamic_update_index_in_dim(h, new, unit, 0), linear)

    def linear_after(
        self, linear: Float[Array, " hidden"], change: Float[Array, " hidden"]
    ) -> Float[Array, " hidden"]:
        """What the rows say of each unit after h has changed."""
        return _add_changed(linear, -change, lambda unit: self.gram[self.obs, unit])

    def z_after(
        self, z: Float[Array, " visible"], change: Float[Array, " hidden"]
    ) -> Float[Array, " visible"]:
        """W h + bias after h has changed."""
        return _add_changed(z, change, lambda unit: self.columns[unit])


def _add_changed(
    total: Array, change: Float[Array, " hidden"], column: Callable[[Array], Array]
) -> Array:
    """A total and the columns of units that change, times their changes."""
    num_units = change.shape[0]

    def next_changed(start: Array) -> Array:
        return _first(start, lambda unit: change[unit] != 0, num_units)

    def add(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        unit, total = carry
        return next_changed(unit + 1), total + change[unit] * column(unit)

    start = next_changed(jnp.zeros((), int)), total
    return jax.lax.while_loop(lambda carry: carry[0] < num_units, add, start)[1]


def _first(start: Int[Array, ""], is_one: Callable[[Array], Array], end: int) -> Int[Array, ""]:
    """The first number from `start` that is one, or the end: one by one where that is quicker."""

    def one_by_one(start: Array) -> Array:
        return jax.lax.while_loop(lambda at: (at < end) & ~is_one(at), lambda at: at + 1, start)

    def at_once(start: Array) -> Array:
        every = jnp.arange(end)
        return jnp.min(jnp.where(is_one(every) & (every >= start), every, end))

    return jax.lax.platform_dependent(start, cpu=one_by_one, default=at_once)


def event_pass(
    uniform: Float[Array, " hidden"],
    wakes_at: Float[Array, " hidden"],
    prior: UnitPrior,
    information: Float[Array, " hidden"],
    rows: Linear,
    place: Place,
    backwards: Bool[Array, ""],
) -> Place:
    """Draws each unit in turn, spike and value jointly, given all others: see `update_units`.

    Args:
        uniform: one for each unit.
        wakes_at: where `place.linear` is less, a silent unit stays silent: `silent_below`.
        prior: of the units of this case.
        information: what the rows say about each unit alone: the diagonal of gram.
        rows: how units change what is said of others.
        place: before.
        backwards: whether the last unit comes first.

    Returns:
        The place after.
    """
    num_units = uniform.shape[0]
    fewest, most = prior.active_range
    wakes_at = jnp.where(place.h > 0, -jnp.inf, wakes_at)

    def unit_at(rank: Array) -> Array:
        return jnp.where(backwards, num_units - 1 - rank, rank)

    def next_event(linear: Array, start: Array, num_active: Array) -> Array:
        """Rank of the next unit that is active or may wake; the number of units if none is left."""

        def is_event(rank: Array) -> Array:
            unit = unit_at(rank)
            hit = linear[unit] >= wakes_at[unit]
            if most < num_units:
                hit &= (num_active < most) | (wakes_at[unit] == -jnp.inf)
            return hit

        return _first(start, is_event, num_units)

    def event(carry: tuple) -> tuple:
        at, place, num_active = carry
        unit = unit_at(at)
        old = place.h[unit]
        active = old > 0
        others = num_active - active
        logit, slab = prior.law(unit, None, ())
        if most < num_units:
            logit = jnp.where(others < most, logit, -jnp.inf)
        if fewest > 0:
            logit = jnp.where(others < fewest, jnp.inf, logit)
        precision = information[unit]
        r, v = gaussian(place.linear[unit] + precision * old, precision)
        new = invert_tilted(uniform[unit], logit, slab, r, v, active)
        place = rows.move(place, unit, new)
        num_active = others + (new > 0)
        return next_event(place.linear, at + 1, num_active), place, num_active

    num_active = (place.h > 0).sum()
    start = next_event(place.linear, jnp.zeros_like(num_active), num_active), place, num_active
    _, place, _ = jax.lax.while_loop(lambda carry: carry[0] < num_units, event, start)
    return place


def relocate(
    uniform: Float[Array, "3"],
    prior: UnitPrior,
    information: Float[Array, " hidden"],
    rows: Linear,
    here: Place,
) -> Place:
    """Draws a new place and value for one active unit, given all others: see `relocate_unit`."""
    active = here.h > 0

    def move() -> Place:
        leaving = _draw_unit(uniform[0], active.astype(information.dtype))
        freed = rows.move(here, leaving, jnp.zeros(()))
        r, v = gaussian(freed.linear, information)
        logit = jnp.broadcast_to(prior.inclusion_logit, r.shape) + log_slab_ratio(prior.slab, r, v)
        logit = jnp.where(freed.h > 0, -jnp.inf, logit)
        top = logit.max()  # inf where a unit is certain to be active
        mass = jnp.exp(jnp.where(logit == top, 0.0, logit - top))
        place = _draw_unit(uniform[1], mass)
        slab = unit_slab(prior.slab, place)
        new = invert_tilted(uniform[2], jnp.inf, slab, r[place], v[place])
        return rows.move(freed, place, new)

    return jax.lax.cond(active.any(), move, lambda: here)


def _draw_unit(uniform: Float[Array, ""], mass: Float[Array, " hidden"]) -> Int[Array, ""]:
    """A unit by its mass: the first up to which masses add up to more than that share of all."""

    def one_by_one(uniform: Array, mass: Array) -> Array:
        num_units = mass.shape[0]
        more = lambda unit, total: total + mass[unit]  # noqa: E731
        wanted = uniform * jax.lax.fori_loop(0, num_units, more, jnp.zeros_like(uniform))

        def add(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            unit, total = carry
            return unit + 1, total + mass[unit + 1]

        def goes_on(carry: tuple[Array, Array]) -> Array:
            unit, total = carry
            return (total <= wanted) & (unit < num_units - 1)  # none has a mass: any will do

        return jax.lax.while_loop(goes_on, add, (jnp.zeros((), int), mass[0]))[0]

    def at_once(uniform: Array, mass: Array) -> Array:
        total = jnp.cumsum(mass)
        return jnp.argmax(total > uniform * total[-1])

    return jax.lax.platform_dependent(uniform, mass, cpu=one_by_one, default=at_once)
