"""A sweep of Gibbs sampling over the layers of a LayeredModel, all chains together."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from probrev.inference.gibbs.auxiliary_step import check_prior, look_at_units, units_given
from probrev.inference.gibbs.coordinate import (
    RELOCATION_PROB,
    UnitPrior,
    count_relocations,
    relocate_unit,
    update_units,
)
from probrev.inference.gibbs.given_units import renew_given, sweep_coupled
from probrev.inference.gibbs.hamiltonian import Metric, learn
from probrev.inference.gibbs.held_sweep import HeldState, held_step, holds, init_held
from probrev.inference.gibbs.layered_state import LaidOut, LayeredState, init_layered, lay_out
from probrev.inference.gibbs.surrogate import (
    Surrogate,
    accept,
    fit_surrogate,
    log_neglected,
    rows_to_sweep,
    surrogate_rows,
)
from probrev.inference.gibbs.sweep import Sweep, sweep_of, weights_sweep
from probrev.inference.gibbs.warmth import Warmth, warm, what_to_fit
from probrev.model.conditional_prior import Auxiliary
from probrev.model.layer import Layer
from probrev.model.layered_model import LayeredModel
from probrev.model.prior_program import conditional_prior
from probrev.model.slabs import rectified_slab
from probrev.plumbing.refusal import Refusal

# Sweeps after warm-up that draw the latents of silent rows. Those with a surrogate mix some three
# times as fast, where it fits; these never fail.
AUGMENTATION_PROB = 0.5


def layered_step(
    state: LayeredState, model: LayeredModel | LaidOut, x: Float[Array, "obs visible"]
) -> LayeredState:
    """One sweep, from x up, with every row's latents or with surrogates in their place."""
    model, columns = lay_out(model)
    batch = state.h.shape[:2]
    rng_key, key, key_coin = jax.random.split(state.rng_key, 3)
    warming = state.num_steps < state.num_warmup
    augments = warming | jax.random.bernoulli(key_coin, AUGMENTATION_PROB)
    layers = (jnp.broadcast_to(x, (*batch, x.shape[-1])), *state.intermediates, state.h)
    signals = [layer.reshape(-1, layer.shape[-1]) for layer in layers]
    top = len(model.layers) - 1
    fold = lambda a: a.reshape(-1, *a.shape[2:])  # noqa: E731
    auxiliary = jax.tree.map(fold, state.auxiliary)
    given, metric = conditional_prior(model.prior), state.metric
    for level, layer in enumerate(model.layers):
        arguments = (layer, state.warmth[level].surrogate, signals[level + 1], signals[level])
        key_level = jax.random.fold_in(key, level)
        if metric is not None and level == top:
            auxiliary, signals[-1], metric = sweep_coupled(
                key_level, given, auxiliary, columns[level], *arguments, augments, metric,
                state.num_steps, warming,
            )  # fmt: skip
            continue
        prior = unit_prior(model, level, signals, auxiliary)
        signals[level + 1] = _sweep(
            key_level, prior, columns[level], *arguments, augments, relocates=level == top
        )
        if level == top and auxiliary:
            key_given = jax.random.fold_in(key, top + 1)
            arguments = (layer, state.warmth[top].surrogate, signals[-1], signals[-2])
            auxiliary, signals[-1] = renew_given(key_given, given, auxiliary, *arguments, augments)
    is_last = state.num_steps + 1 == state.num_warmup
    warmth = jax.lax.cond(
        warming, warm, lambda warmth, *arguments: warmth,
        state.warmth, state.num_steps, is_last, model.layers, x, signals[1:],
    )  # fmt: skip
    if metric is not None:
        metric = jax.lax.cond(
            warming, _learn, lambda metric, *arguments: metric,
            metric, state, model, warmth[top], x, signals,
        )  # fmt: skip
    *intermediates, h = (signal.reshape(*batch, -1) for signal in signals[1:])
    done = state.num_steps + 1
    unfold = lambda a: a.reshape(*batch, *a.shape[1:])  # noqa: E731
    auxiliary = jax.tree.map(unfold, auxiliary)
    return LayeredState(
        h, tuple(intermediates), auxiliary, rng_key, warmth, done, state.num_warmup, metric
    )


def _learn(
    metric: Metric,
    state: LayeredState,
    model: LayeredModel,
    warmth: Warmth,
    x: Float[Array, "obs visible"],
    signals: list[Array],
) -> Metric:
    """Takes a sweep of warm-up into account for the moves of all units together."""
    coupling, layer = conditional_prior(model.prior).coupling, model.layers[-1]
    assert coupling is not None

    def precision() -> Array:
        mean, var = warmth.mean, jnp.maximum(warmth.square - jnp.square(warmth.mean), 0.0)
        to_fit = what_to_fit(x, mean, len(model.layers) - 1)
        surrogate = fit_surrogate(layer, to_fit, mean, var)
        return surrogate_rows(layer, surrogate, signals[-2], mean).precision

    return learn(metric, coupling, layer, precision, signals[-1], state.num_steps, state.num_warmup)


def unit_prior(
    model: LayeredModel, level: int, signals: list[Array], auxiliary: Auxiliary
) -> UnitPrior:
    """Prior of the units above a layer, given x and the hidden vectors, the one next to x first.

    Args:
        model: the model.
        level: which layer.
        signals: x and the hidden vectors.
        auxiliary: what the units at the top are given.
    """
    if level + 1 < len(model.layers):
        return prior_from_above(model.layers[level + 1], signals[level + 2])
    return units_given(conditional_prior(model.prior), auxiliary)


def prior_from_above(layer: Layer, h: Float[Array, "case hidden"]) -> UnitPrior:
    """Prior of the units below a layer given those above, its noise and dropout summed out."""
    z = layer.pre_activation(h)
    logit, slab = rectified_slab(z, layer.noise_std, layer.keep_prob, layer.gain)
    return UnitPrior(logit, slab, (0, layer.n_visible))


def _sweep(
    key: PRNGKeyArray,
    prior: UnitPrior,
    columns: Float[Array, "hidden visible"],
    layer: Layer,
    surrogate: Surrogate,
    h: Float[Array, "case hidden"],
    x: Float[Array, "case visible"],
    augments: Bool[Array, ""],
    *,
    relocates: bool,
) -> Float[Array, "case hidden"]:
    """Renews the units above a layer, given the signal x below it and their prior.

    With latents in place of silent rows the pass is a Gibbs update. With a surrogate it is a
    proposal that the surrogate's posterior is reversible under, since its order is a coin's: units
    and then relocations, or the reverse of it all.
    """
    key_rows, key_order, key_units, key_coin, key_moves, key_accept = jax.random.split(key, 6)
    z = layer.pre_activation(h)
    rows = rows_to_sweep(key_rows, layer, surrogate, z, x, augments)
    # What the rows say about each unit alone does not change while they are held fixed.
    information = rows.precision @ layer.weights**2
    backwards = ~augments & jax.random.bernoulli(key_order)

    def relocate(step, carry):
        key = jax.random.fold_in(key_moves, step)
        return relocate_unit(key, prior, columns, information, *carry)

    fewest, _ = prior.active_range
    num_moves = count_relocations(jax.random.bernoulli(key_coin, RELOCATION_PROB), prior)
    new = h
    if relocates and fewest > 0:
        new, rows = jax.lax.fori_loop(0, num_moves * backwards, relocate, (new, rows))
    arguments = (prior, columns, information, new, rows)
    new, rows = update_units(key_units, *arguments, backwards=backwards)
    if relocates:
        may_move = ~backwards if fewest > 0 else augments
        new, rows = jax.lax.fori_loop(0, num_moves * may_move, relocate, (new, rows))

    def correct():
        log_ratio = log_neglected(layer, surrogate, x, layer.pre_activation(new))
        log_ratio -= log_neglected(layer, surrogate, x, z)
        return accept(key_accept, log_ratio, new, h)

    return jax.lax.cond(augments, lambda: new, correct)


def _init(
    key: PRNGKeyArray,
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    num_chains: int,
    num_warmup: int,
) -> LayeredState | HeldState:
    """Starts chains, of the kind of sweep that is the quickest."""
    init = init_held if holds(model, len(x)) else init_layered
    return init(key, model, x, num_chains, num_warmup)


def _step(
    state: LayeredState | HeldState, model: LayeredModel | LaidOut, x: Float[Array, "obs visible"]
) -> LayeredState | HeldState:
    """One sweep of the kind that chains were started for."""
    if isinstance(state, HeldState):
        return held_step(state, model, x)
    return layered_step(state, model, x)


def check_layered(model: LayeredModel, method: str = "gibbs") -> None:
    """Raises ValueError unless these sweeps can sample the model; says what can.

    Args:
        model: the model.
        method: what makes the sweeps, to name in the error.
    """
    check_prior(method, model.prior)
    for level, layer in enumerate(model.layers):
        if layer.noise_std == 0:
            raise Refusal(
                f"{method} needs noise_std > 0, and that of layers[{level}] is 0: "
                "without noise x pins h down and no unit moves"
            )
        if level > 0 and not layer.activation.is_rectifier:
            raise Refusal(
                f"{method} needs ReLU layers above the one next to x; layers[{level}] has "
                f"activation {layer.activation}, so the units below it are no spike and slab"
            )


@sweep_of.register
def layered_sweep(model: LayeredModel) -> Sweep:
    """The sweep of a LayeredModel."""
    check_layered(model)
    prior = conditional_prior(model.prior)
    num_each = 0 if look_at_units(prior).has_closed_form else 1 + prior.num_switches
    sweep = weights_sweep(_init, _step, model.num_weights, num_each * model.n_hidden)
    return sweep._replace(lay_out=jax.jit(lay_out))
