"""The part of a sweep that is the top's alone: units that are spikes and slabs given something."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from probrev.inference.gibbs.auxiliary_step import (
    renew_auxiliary,
    rescale_jointly,
    switch_jointly,
    units_given,
)
from probrev.inference.gibbs.coordinate import (
    RELOCATION_PROB,
    CoupledPrior,
    Rows,
    augment,
    relocate_unit,
    update_coupled_units,
)
from probrev.inference.gibbs.hamiltonian import Metric, move_together
from probrev.inference.gibbs.surrogate import Surrogate, accept, log_neglected, surrogate_rows
from probrev.model.conditional_prior import Auxiliary, ConditionalPrior
from probrev.model.layer import Layer


def renew_given(
    key: PRNGKeyArray,
    prior: ConditionalPrior,
    auxiliary: Auxiliary,
    layer: Layer,
    surrogate: Surrogate,
    h: Float[Array, "case hidden"],
    x: Float[Array, "case visible"],
    augments: Bool[Array, ""],
) -> tuple[Auxiliary, Float[Array, "case hidden"]]:
    """Renews what the units at the top are given, and with discrete variables the units."""
    key_given, key_rows, key_scale, key_switch = jax.random.split(key, 4)
    auxiliary = renew_auxiliary(key_given, prior, auxiliary, h)
    if prior.scales:
        auxiliary, h = rescale_jointly(key_scale, prior, layer, auxiliary, h, x)
    if not prior.num_switches:
        return auxiliary, h
    z = layer.pre_activation(h)

    def switch(rows: Rows, log_left_out: Any) -> tuple[Auxiliary, Array]:
        return switch_jointly(key_switch, prior, layer.weights, auxiliary, h, rows, z, log_left_out)

    return jax.lax.cond(
        augments,
        lambda: switch(augment(key_rows, layer, z, x), None),
        lambda: switch(
            surrogate_rows(layer, surrogate, x, z),
            lambda z: log_neglected(layer, surrogate, x, z),
        ),
    )


def sweep_coupled(
    key: PRNGKeyArray,
    prior: ConditionalPrior,
    auxiliary: Auxiliary,
    layer: Layer,
    surrogate: Surrogate,
    h: Float[Array, "case hidden"],
    x: Float[Array, "case visible"],
    augments: Bool[Array, ""],
    metric: Metric,
    num_steps: Int[Array, ""],
    warming: Bool[Array, ""],
) -> tuple[Auxiliary, Float[Array, "case hidden"], Metric]:
    """A sweep of rectified units: all together, then each given the v of all others.

    What they are given is drawn given v.
    """
    coupling = prior.coupling
    assert coupling is not None
    key_v, key_rows, key_units, key_order, key_accept, key_u, key_coin, key_move, key_all = (
        jax.random.split(key, 9)
    )
    old = jax.vmap(coupling.before)(jax.random.split(key_v, len(h)), auxiliary, h)
    old, metric = move_together(key_all, metric, coupling, layer, old, x, num_steps, warming)
    z = layer.pre_activation(jnp.maximum(old, 0.0))
    rows = jax.lax.cond(
        augments,
        lambda: augment(key_rows, layer, z, x),
        lambda: surrogate_rows(layer, surrogate, x, z),
    )
    information = rows.precision @ layer.weights**2
    backwards = ~augments & jax.random.bernoulli(key_order)
    v, rows = update_coupled_units(
        key_units, CoupledPrior(coupling.mean, coupling.precision), layer.weights, information, old,
        rows, backwards=backwards,
    )  # fmt: skip

    def correct() -> Array:
        log_ratio = log_neglected(layer, surrogate, x, layer.pre_activation(jnp.maximum(v, 0.0)))
        return accept(key_accept, log_ratio - log_neglected(layer, surrogate, x, z), v, old)

    v = jax.lax.cond(augments, lambda: v, correct)
    auxiliary = jax.vmap(coupling.behind)(jax.random.split(key_u, len(h)), v)
    h = jnp.maximum(v, 0.0)

    def relocate() -> Array:
        law = units_given(prior, auxiliary)
        return relocate_unit(key_move, law, layer.weights, information, h, rows)[0]

    moves = augments & jax.random.bernoulli(key_coin, RELOCATION_PROB)
    return auxiliary, jax.lax.cond(moves, relocate, lambda: h), metric
