"""Surrogate sweeps over the units next to x, of all cases, many at a time, by passes of events."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from probrev.inference.gibbs.coordinate import (
    RELOCATION_PROB,
    UnitPrior,
    count_relocations,
    gaussian,
)
from probrev.inference.gibbs.event_pass import Linear, Place, event_pass, relocate
from probrev.inference.gibbs.held_rows import HeldRows
from probrev.inference.gibbs.surrogate import Surrogate, log_neglected
from probrev.model.layer import Layer
from probrev.model.silence import SilenceTable
from probrev.model.tilted import silent_below
from probrev.numerics.truncated_normal import open_uniform
from probrev.plumbing.one_kernel import one_kernel


class Seat(NamedTuple):
    """Where one case is, and what was worked out there.

    Attributes:
        place: the units, and what the rows say of them.
        z: W h + bias.
        neglected: log likelihood less the surrogate's.
    """

    place: Place
    z: Float[Array, " visible"]
    neglected: Float[Array, ""]


def sweep_events(
    key: PRNGKeyArray,
    prior: UnitPrior,
    layer: Layer,
    columns: Float[Array, "hidden visible"],
    held: HeldRows,
    h: Float[Array, "case hidden"],
    x: Float[Array, "obs visible"],
    num_sweeps: Int[Array, ""],
    size: int,
) -> tuple[Float[Array, "case sweep hidden"], Int[Array, " case"]]:
    """Renews the units next to x by proposals that the surrogate's posterior is reversible under.

    A pass and then relocations, or the reverse of it all, by a coin; accepted or rejected as a
    whole, by what the surrogate leaves out of the likelihood.

    Args:
        key: random key.
        prior: of the units, the same in every case.
        layer: below them.
        columns: its W^T.
        held: what the rows of each observation say.
        h: the units; cases are (chain, obs), flattened.
        x: what is below.
        num_sweeps: how many sweeps.
        size: how many there is room for.

    Returns:
        The units after each sweep, the last one at the end of that room; and how many were
        accepted.
    """
    operands = key, prior.inclusion_logit, prior.slab, layer, columns, held, h, x, num_sweeps

    def one(index: Int[Array, ""], operands: tuple) -> tuple[Array, Array]:
        key, logit, slab, layer, columns, held, h, x, num_sweeps = operands
        obs = index % x.shape[0]
        case = _Case(
            UnitPrior(logit, slab, prior.active_range), layer, held.silence,
            Linear(held.gram, obs, columns),
            *_pick((held.information, held.linear, held.surrogate, x), obs),
        )  # fmt: skip
        key_case = jax.random.fold_in(key, index)

        def step(number: Int[Array, ""], carry: tuple[Seat, Array, Array]) -> tuple:
            seat, after, num_taken = carry
            seat, taken = case.sweep(jax.random.fold_in(key_case, number), seat)
            at = size - num_sweeps + number
            after = jax.lax.dynamic_update_index_in_dim(after, seat.place.h, at, 0)
            return seat, after, num_taken + taken

        after = jnp.zeros((size, h.shape[-1]), h.dtype)
        start = case.seat_at(_pick(h, index)), after, jnp.zeros((), int)
        return jax.lax.fori_loop(0, num_sweeps, step, start)[1:]

    @one_kernel
    def in_turn(indices: Int[Array, " case"], operands: tuple) -> tuple[Array, Array]:
        return jax.lax.map(lambda index: one(index, operands), indices)

    side_by_side = jax.vmap(one, in_axes=(0, None))
    return jax.lax.platform_dependent(
        jnp.arange(len(h)), operands, cpu=in_turn, default=side_by_side
    )


class _Case(NamedTuple):
    """One chain of one observation."""

    prior: UnitPrior
    layer: Layer
    silence: SilenceTable
    rows: Linear
    information: Float[Array, " hidden"]
    linear: Float[Array, " hidden"]
    surrogate: Surrogate
    x: Float[Array, " visible"]

    def sweep(self, key: PRNGKeyArray, old: Seat) -> tuple[Seat, Bool[Array, ""]]:
        """See `sweep_events`; and whether it was accepted."""
        num_units, most_moves = len(self.linear), max(self.prior.active_range[0], 1)
        uniform = open_uniform(key, (num_units + 3 * (1 + most_moves),), self.linear.dtype)
        units, (order, moving, coin) = uniform[:num_units], uniform[num_units : num_units + 3]
        backwards = order < 0.5
        num_moves = count_relocations(moving < RELOCATION_PROB, self.prior)
        v = gaussian(jnp.zeros_like(self.information), self.information)[1]
        wakes_at = silent_below(units, self.prior.inclusion_logit, self.prior.slab, v)

        def renew(place: Place) -> Place:
            return event_pass(
                units, wakes_at, self.prior, self.information, self.rows, place, backwards
            )

        def move(index: Int[Array, ""], place: Place) -> Place:
            where = jax.lax.dynamic_slice_in_dim(uniform, num_units + 3 * (1 + index), 3)
            return relocate(where, self.prior, self.information, self.rows, place)

        def move_all(place: Place) -> Place:
            return jax.lax.fori_loop(0, num_moves, move, place)

        def half(number: Int[Array, ""], place: Place) -> Place:
            return jax.lax.cond((number == 0) ^ backwards, renew, move_all, place)

        place = jax.lax.fori_loop(0, 2, half, old.place)
        new = self._seat(place, self.rows.z_after(old.z, place.h - old.place.h))
        taken = jnp.log(coin) < new.neglected - old.neglected
        return jax.lax.cond(taken, lambda: new, lambda: old), taken

    def seat_at(self, h: Float[Array, " hidden"]) -> Seat:
        """What is worked out for an h, from its active units."""
        place = Place(h, self.rows.linear_after(self.linear, h))
        return self._seat(place, self.rows.z_after(self.layer.bias, h))

    def _seat(self, place: Place, z: Float[Array, " visible"]) -> Seat:
        one = lambda leaf: leaf[None]  # noqa: E731
        surrogate = jax.tree.map(one, self.surrogate)
        neglected = log_neglected(self.layer, surrogate, one(self.x), one(z), self.silence)
        return Seat(place, z, neglected[0])


def _pick[T](tree: T, index: Int[Array, ""]) -> T:
    """An entry of every array along its first axis."""
    pick = lambda leaf: jax.lax.dynamic_index_in_dim(leaf, index, keepdims=False)  # noqa: E731
    return jax.tree.map(pick, tree)
