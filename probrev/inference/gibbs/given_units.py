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
from probrev.inference.gibbs.surrogate import (
    Surrogate,
    accept,
    log_neglected,
    rows_to_sweep,
    surrogate_rows,
)
from probrev.model.conditional_prior import Auxiliary, ConditionalPrior, Coupling
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
    columns: Float[Array, "hidden visible"],
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

    The one moves along what the rows leave open, the other passes between columns that are alike.
    What they are given is drawn given v.
    """
    coupling = prior.coupling
    assert coupling is not None
    key_v, key_all, key_each, key_u, key_relocate, key_move = jax.random.split(key, 6)
    v = jax.vmap(coupling.before)(jax.random.split(key_v, len(h)), auxiliary, h)
    v, metric = move_together(key_all, metric, coupling, layer, v, x, num_steps, warming)
    v = _sweep_each(key_each, coupling, columns, layer, surrogate, v, x, augments)
    auxiliary = jax.vmap(coupling.behind)(jax.random.split(key_u, len(h)), v)
    h = jnp.maximum(v, 0.0)

    def relocate() -> Array:
        key_rows, key_place = jax.random.split(key_move)
        rows = augment(key_rows, layer, layer.pre_activation(h), x)
        information = rows.precision @ layer.weights**2
        law = units_given(prior, auxiliary)
        return relocate_unit(key_place, law, columns, information, h, rows)[0]

    relocates = jax.random.bernoulli(key_relocate, 0.5 * RELOCATION_PROB)
    return auxiliary, jax.lax.cond(relocates, relocate, lambda: h), metric


def _sweep_each(
    key: PRNGKeyArray,
    coupling: Coupling,
    columns: Float[Array, "hidden visible"],
    layer: Layer,
    surrogate: Surrogate,
    old: Float[Array, "case hidden"],
    x: Float[Array, "case visible"],
    augments: Bool[Array, ""],
) -> Float[Array, "case hidden"]:
    """V of rectified units, each drawn given the v of all others."""
    key_rows, key_units, key_order, key_accept = jax.random.split(key, 4)
    z = layer.pre_activation(jnp.maximum(old, 0.0))
    rows = rows_to_sweep(key_rows, layer, surrogate, z, x, augments)
    information = rows.precision @ layer.weights**2
    backwards = ~augments & jax.random.bernoulli(key_order)
    v, _ = update_coupled_units(
        key_units, CoupledPrior(coupling.mean, coupling.precision), columns, information, old,
        rows, backwards=backwards,
    )  # fmt: skip

    def correct() -> Array:
        log_ratio = log_neglected(layer, surrogate, x, layer.pre_activation(jnp.maximum(v, 0.0)))
        return accept(key_accept, log_ratio - log_neglected(layer, surrogate, x, z), v, old)

    return jax.lax.cond(augments, lambda: v, correct)
