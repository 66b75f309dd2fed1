"""Sweeps over the units of a single layer, whose cost follows what changes once it has warmed up.

After warm-up a surrogate for silent rows no longer changes, so what rows say of units is held (see
`held_rows`), and a sweep is a pass of events (see `event_pass`). Many such sweeps are done at once
and handed out one by one: done one at a time, most of their time would be their calls.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from probrev.inference.gibbs.auxiliary_step import units_given
from probrev.inference.gibbs.coordinate import (
    RELOCATION_PROB,
    UnitPrior,
    augment,
    count_relocations,
    relocate_unit,
    update_units,
)
from probrev.inference.gibbs.event_sweep import sweep_events
from probrev.inference.gibbs.held_rows import HeldRows, can_hold, hold_rows
from probrev.inference.gibbs.layered_state import LaidOut, lay_out
from probrev.inference.gibbs.surrogate import fit_surrogate
from probrev.inference.gibbs.warmth import average_in
from probrev.model.layer import Layer
from probrev.model.layered_model import LayeredModel
from probrev.model.prior_program import conditional_prior
from probrev.model.slabs import has_closed_form, num_values
from probrev.plumbing.one_kernel import MOST_NUMBERS, do_if, one_kernel

# Share of sweeps that draw the latents of silent rows, which never fail: at least, in warm-up, and
# at most. The others cost a small part of one and, where the surrogate fits, mix faster; the less
# they are accepted the longer are the times without, so that more is added, times (1 - share
# accepted in warm-up)^3 of the worst case.
LATENTS_SHARE, LATENTS_SHARE_WARMING, LATENTS_SHARE_MOST, FOR_REJECTIONS = 0.01, 0.1, 0.5, 1.4
# Fewest weights: of a smaller layer the other sweeps take less time than compiling these.
MIN_WEIGHTS = 4096
# Sweeps that are done at once, and most that their units may take.
AT_ONCE, AT_ONCE_BYTES = 49, 2**24


class HeldState(NamedTuple):
    """State of all chains.

    Attributes:
        h: hidden vectors, (chain, obs, hidden).
        rng_key: key of the next sweeps.
        mean: average of W h + bias over warm-up, later steps counting more, (case, visible).
        square: the same of its square.
        num_steps: steps done.
        num_warmup: steps of warm-up; after them proposals no longer change.
        held: what rows of x say of the units next to them: fitted after a quarter, after half and
            at the end of warm-up.
        ahead: hidden vectors after sweeps that are done and were not handed out, the next one at
            minus `num_ahead`.
        num_ahead: how many they are.
        num_tried: sweeps of warm-up with held rows, since the last fit before its end.
        num_taken: how many of them were accepted, of each case.
    """

    h: Float[Array, "chain obs hidden"]
    rng_key: PRNGKeyArray
    mean: Float[Array, "case visible"]
    square: Float[Array, "case visible"]
    num_steps: Int[Array, ""]
    num_warmup: Int[Array, ""]
    held: HeldRows
    ahead: Float[Array, "case sweep hidden"]
    num_ahead: Int[Array, ""]
    num_tried: Int[Array, ""]
    num_taken: Int[Array, " case"]


def holds(model: LayeredModel, num_obs: int) -> bool:
    """Whether these sweeps serve: one layer under spikes and slabs of closed form, of some size."""
    given, layer = conditional_prior(model.prior), model.layers[0]
    if len(model.layers) > 1 or given.coupling is not None or given.auxiliary:
        return False
    if layer.weights.size < MIN_WEIGHTS or not can_hold(num_obs, layer):
        return False
    units = given.given({})
    slab, (fewest, _) = units.tilting_slab, units.active_range
    of_slab = layer.n_hidden * num_values(slab)
    largest = max(layer.n_visible, of_slab, layer.n_hidden + 3 * (2 + fewest))
    return has_closed_form(slab) and largest <= MOST_NUMBERS


@partial(jax.jit, static_argnames="num_chains")
def init_held(
    key: PRNGKeyArray,
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    num_chains: int,
    num_warmup: int,
) -> HeldState:
    """Starts the chains of a group from draws of the model: over-dispersed, and blind to x."""
    key_start, rng_key = jax.random.split(key)
    (layer,), num_cases = model.layers, num_chains * x.shape[0]
    h = model.simulate(key_start, num_cases).h
    assert h is not None
    z = layer.pre_activation(h)
    square = jnp.square(z)
    spread = jnp.broadcast_to(square.mean(), z.shape)
    size = max(1, min(AT_ONCE, AT_ONCE_BYTES // h.nbytes))
    return HeldState(
        h.reshape(num_chains, x.shape[0], -1), rng_key, z, square, jnp.asarray(0),
        jnp.asarray(num_warmup), _hold(layer, jnp.zeros_like(z), spread, x),
        jnp.zeros((num_cases, size, h.shape[-1]), h.dtype), jnp.asarray(0), jnp.asarray(0),
        jnp.zeros(num_cases, int),
    )  # fmt: skip


def held_step(
    state: HeldState, model: LayeredModel | LaidOut, x: Float[Array, "obs visible"]
) -> HeldState:
    """Hands out a sweep; where none is left, does one with latents or many with held rows."""
    laid_out = lay_out(model)
    state = do_if(state.num_ahead == 0, lambda state: _go_ahead(state, laid_out, x), state)
    size = state.ahead.shape[1]
    h = jax.lax.dynamic_index_in_dim(state.ahead, size - state.num_ahead, 1, keepdims=False)
    return state._replace(
        h=h.reshape(state.h.shape),
        num_steps=state.num_steps + 1,
        num_ahead=state.num_ahead - 1,
    )


def _go_ahead(state: HeldState, laid_out: LaidOut, x: Float[Array, "obs visible"]) -> HeldState:
    """Does the next sweeps."""
    (layer,), (columns,) = laid_out.model.layers, laid_out.columns
    given = units_given(conditional_prior(laid_out.model.prior), {})
    num_cases, size, _ = state.ahead.shape
    warming = state.num_steps < state.num_warmup
    first, second = state.num_warmup // 4, state.num_warmup // 2
    rejected = 1.0 - state.num_taken.min() / jnp.maximum(state.num_tried, 1)
    rejected = jnp.where(state.num_tried > 0, rejected, 0.0)
    share = jnp.where(warming, LATENTS_SHARE_WARMING, LATENTS_SHARE)
    share = jnp.minimum(share + FOR_REJECTIONS * rejected**3, LATENTS_SHARE_MOST)
    num_sweeps = jnp.where(warming, 1, jnp.clip((0.5 / share).astype(int), 1, size))
    share = jnp.where(warming & (state.num_steps < first), 1.0, share)
    rng_key, key, augments = _draw_kind(state.rng_key, num_sweeps, share)
    old = state.h.reshape(num_cases, -1)

    def with_latents(ahead: Array) -> Array:
        below = jnp.tile(x, (num_cases // len(x), 1))
        return ahead.at[:, -1].set(_sweep_latents(key, given, layer, columns, old, below))

    def with_held(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        del carry
        return sweep_events(key, given, layer, columns, state.held, old, x, num_sweeps, size)

    ahead, taken = do_if(~augments, with_held, (state.ahead, jnp.zeros(num_cases, int)))
    ahead = do_if(augments, with_latents, ahead)

    def learn(averages: tuple[Array, Array]) -> tuple[Array, Array]:
        return average_in(*averages, layer.pre_activation(ahead[:, -1]), state.num_steps)

    mean, square = do_if(warming, learn, (state.mean, state.square))
    done = state.num_steps + 1
    ends = done == state.num_warmup
    fits_now = (done == first) | (done == second) | ends
    held = do_if(fits_now, lambda held: _hold(layer, mean, square, x), state.held)
    tried = (warming & ~augments).astype(int)
    counts = state.num_tried + tried, state.num_taken + tried * taken
    anew = fits_now & ~ends
    return state._replace(
        rng_key=rng_key, mean=mean, square=square, held=held, ahead=ahead,
        num_ahead=jnp.where(augments, 1, num_sweeps),
        num_tried=jnp.where(anew, 0, counts[0]), num_taken=jnp.where(anew, 0, counts[1]),
    )  # fmt: skip


def _hold(
    layer: Layer,
    mean: Float[Array, "case visible"],
    square: Float[Array, "case visible"],
    x: Float[Array, "obs visible"],
) -> HeldRows:
    """The rows under a surrogate for all chains of an observation together."""
    mean, square = (a.reshape(-1, *x.shape).mean(0) for a in (mean, square))
    var = jnp.maximum(square - jnp.square(mean), 0.0)
    return hold_rows(layer, fit_surrogate(layer, x, mean, var), x)


def _draw_kind(
    key: PRNGKeyArray, num_sweeps: Int[Array, ""], share: Float[Array, ""]
) -> tuple[PRNGKeyArray, PRNGKeyArray, Bool[Array, ""]]:
    """The key of the next sweeps; that of these; and whether it is one with latents.

    Args:
        key: random key.
        num_sweeps: how many they are, if not.
        share: of sweeps with latents.
    """

    @one_kernel
    def draw(key: PRNGKeyArray, prob: Array) -> tuple[PRNGKeyArray, PRNGKeyArray, Array]:
        following, key, key_coin = jax.random.split(key, 3)
        return following, key, jax.random.bernoulli(key_coin, prob)

    many = share * num_sweeps
    return draw(key, many / (1.0 - share + many))


def _sweep_latents(
    key: PRNGKeyArray,
    prior: UnitPrior,
    layer: Layer,
    columns: Float[Array, "hidden visible"],
    h: Float[Array, "case hidden"],
    x: Float[Array, "case visible"],
) -> Float[Array, "case hidden"]:
    """Renews the units given latents of silent rows, which are drawn first: a Gibbs update."""
    key_rows, key_units, key_coin, key_moves = jax.random.split(key, 4)
    rows = augment(key_rows, layer, layer.pre_activation(h), x)
    information = rows.precision @ layer.weights**2
    h, rows = update_units(key_units, prior, columns, information, h, rows)

    def relocate(step: Int[Array, ""], carry: tuple) -> tuple:
        key = jax.random.fold_in(key_moves, step)
        return relocate_unit(key, prior, columns, information, *carry)

    num_moves = count_relocations(jax.random.bernoulli(key_coin, RELOCATION_PROB), prior)
    return jax.lax.fori_loop(0, num_moves, relocate, (h, rows))[0]
