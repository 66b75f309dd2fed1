"""Gibbs sampling of p(h | x), any size and depth: one pure step for all chains together."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, override

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from numpyro.infer.mcmc import MCMCKernel

from probrev.inference.chain import run_chain
from probrev.inference.coordinate import UnitPrior, augment, relocate_unit, update_units
from probrev.inference.surrogate import (
    Surrogate,
    accept,
    fit_surrogate,
    log_neglected,
    surrogate_rows,
)
from probrev.layer import Layer
from probrev.model import LayeredModel, Model, Observations
from probrev.posterior import Moments, Posterior, from_draws
from probrev.priors import SparsePrior
from probrev.progress import Progress
from probrev.slabs import rectified_slab
from probrev.timing import stopwatch

# A relocation costs as much as a pass over all units, and helps only between correlated columns.
RELOCATION_PROB = 0.25
# Sweeps after warm-up that draw the latents of silent rows. Those with a surrogate mix some three
# times as fast, where it fits; these never fail.
AUGMENTATION_PROB = 0.5
# Fixed, so that draws do not depend on the machine: two keep most cores busy (see `run_chain`).
NUM_GROUPS = 2


class GibbsState(NamedTuple):
    """State of all chains.

    Attributes:
        h: top hidden vectors, (chain, obs, hidden).
        intermediates: hidden vectors between x and h, the one next to x first.
        rng_key: key of the next step.
        warmth: of each layer, what warm-up has learned for its proposals.
        num_steps: steps done.
        num_warmup: steps of warm-up; after them proposals no longer change.
    """

    h: Float[Array, "chain obs hidden"]
    intermediates: tuple[Float[Array, "chain obs _"], ...]
    rng_key: PRNGKeyArray
    warmth: tuple["Warmth", ...]
    num_steps: Int[Array, ""]
    num_warmup: Int[Array, ""]


class Warmth(NamedTuple):
    """Where the pre-activations of a layer were, and the surrogate fitted there.

    Attributes:
        mean: average of W h over warm-up, later steps counting more.
        square: the same of its square.
        surrogate: fitted when warm-up ends, and before it to the prior.
    """

    mean: Float[Array, "case visible"]
    square: Float[Array, "case visible"]
    surrogate: Surrogate


def gibbs(
    key: PRNGKeyArray,
    model: LayeredModel,
    obs: Observations,
    *,
    num_warmup: int = 500,
    num_samples: int = 2000,
    num_chains: int = 4,
    keep_layers: bool = False,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> Posterior:
    """Draws from p(h | x) by Gibbs sampling, with dropout and rectified values made explicit.

    A sweep goes up the layers. In each it draws which silent rows were kept and their negative
    pre-activations; then each unit's spike and value jointly, given all others and the layer above;
    at the top it now and then moves an active unit elsewhere. After warm-up every other sweep, at
    random, has a quadratic stand for silent rows instead, and is accepted or rejected as a whole:
    that holds on to less (see `surrogate`). Chains start from draws of the model.

    Args:
        key: random key.
        model: ReLU layers (the one next to x may be an identity), all with noise_std > 0, under a
            prior with a spike and a slab.
        obs: observations; all of them, and all chains, advance in one compiled call.
        num_warmup: sweeps per chain that are thrown away.
        num_samples: sweeps per chain that are kept.
        num_chains: independent chains per observation.
        keep_layers: keep the draws of intermediate layers too, as `h_1` (next to x), ...; their
            moments are kept in any case.
        checkpoint: file to save the chains in as they run, and to go on from where it holds them:
            an interrupted run resumes, a finished one is extended, bit for bit.
        progress: where to report progress, in sweeps.

    Raises:
        ValueError: the model is not one that Gibbs can sample, x does not fit it, or the
            checkpoint belongs to another run.

    Source: data augmentation after Albert and Chib 1993; the spike and its value are drawn jointly
    as in George and McCulloch 1997.
    """
    check_model(model)
    model.check(obs)
    settings = {"num_warmup": num_warmup, "num_samples": num_samples, "num_chains": num_chains}
    with stopwatch() as timing:
        chain = run_chain(
            gibbs_step, init_groups(key, model, obs.x, num_chains, num_warmup), (model, obs.x),
            keep=every_layer if keep_layers else top_layer, average=powers,
            num_warmup=num_warmup, num_samples=num_samples,
            checkpoint=checkpoint, progress=progress,
        )  # fmt: skip
    h, *intermediates = chain.draws
    means = [[power.mean(0) for power in layer] for layer in chain.means]
    moments = [Moments(mean, square - mean**2, active) for mean, square, active in means]
    return from_draws(
        "gibbs", h, obs.x, model=model, settings=settings, timing=timing,
        intermediates=moments, intermediate_draws=intermediates,
    )  # fmt: skip


def top_layer(state: GibbsState) -> tuple[Array, ...]:
    """The top hidden vectors."""
    return (state.h,)


def every_layer(state: GibbsState) -> tuple[Array, ...]:
    """All hidden vectors, the top first, then from x up."""
    return (state.h, *state.intermediates)


def powers(state: GibbsState) -> tuple[tuple[Array, ...], ...]:
    """What the moments of each intermediate layer are averages of."""
    return tuple((h, h**2, (h > 0).astype(h.dtype)) for h in state.intermediates)


def init_groups(
    key: PRNGKeyArray,
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    num_chains: int,
    num_warmup: int,
) -> list[GibbsState]:
    """Starts of all chains, in groups of equal size that can run side by side."""
    num_groups = NUM_GROUPS if num_chains % NUM_GROUPS == 0 else 1
    return [
        init_state(jax.random.fold_in(key, group), model, x, num_chains // num_groups, num_warmup)
        for group in range(num_groups)
    ]


@partial(jax.jit, static_argnames="num_chains")
def init_state(
    key: PRNGKeyArray,
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    num_chains: int,
    num_warmup: int,
) -> GibbsState:
    """Starts the chains of a group from draws of the model: over-dispersed, and blind to x."""
    key_start, rng_key = jax.random.split(key)
    start = model.simulate(key_start, num_chains * x.shape[0])
    unfold = lambda h: h.reshape(num_chains, x.shape[0], -1)  # noqa: E731
    assert start.h is not None
    layers = (*start.intermediates, start.h)
    warmth = []
    for layer, h in zip(model.layers, layers, strict=True):
        z = layer.pre_activation(h)
        spread = jnp.broadcast_to(jnp.square(z).mean(), z.shape)
        warmth.append(Warmth(z, jnp.square(z), fit_surrogate(layer, jnp.zeros_like(z), spread)))
    intermediates = tuple(map(unfold, start.intermediates))
    counts = jnp.asarray(0), jnp.asarray(num_warmup)
    return GibbsState(unfold(start.h), intermediates, rng_key, tuple(warmth), *counts)


def gibbs_step(
    state: GibbsState, model: LayeredModel, x: Float[Array, "obs visible"]
) -> GibbsState:
    """One sweep, from x up, with every row's latents or with surrogates in their place."""
    batch = state.h.shape[:2]
    rng_key, key, key_coin = jax.random.split(state.rng_key, 3)
    warming = state.num_steps < state.num_warmup
    augments = warming | jax.random.bernoulli(key_coin, AUGMENTATION_PROB)
    layers = (jnp.broadcast_to(x, (*batch, x.shape[-1])), *state.intermediates, state.h)
    signals = [layer.reshape(-1, layer.shape[-1]) for layer in layers]
    top = len(model.layers) - 1
    for level, layer in enumerate(model.layers):
        if level == top:
            sparse = model.sparse_prior
            prior = UnitPrior(sparse.inclusion_logit, sparse.tilting_slab, sparse.active_range)
        else:
            prior = prior_from_above(model.layers[level + 1], signals[level + 2])
        signals[level + 1] = _sweep(
            jax.random.fold_in(key, level), prior, layer, state.warmth[level].surrogate,
            signals[level + 1], signals[level], augments, relocates=level == top,
        )  # fmt: skip
    warmth = jax.lax.cond(
        warming, _warm, lambda *arguments: state.warmth, state, model.layers, signals[1:]
    )
    *intermediates, h = (signal.reshape(*batch, -1) for signal in signals[1:])
    done = state.num_steps + 1
    return GibbsState(h, tuple(intermediates), rng_key, warmth, done, state.num_warmup)


def _warm(state: GibbsState, layers: tuple[Layer, ...], signals: list[Array]) -> tuple[Warmth, ...]:
    """Takes a sweep of warm-up into account; after the last, fits the surrogates."""
    share = 2.0 / (state.num_steps + 3.0)  # weights grow with the steps done
    is_last = state.num_steps + 1 == state.num_warmup
    warmth = []
    for layer, old, h in zip(layers, state.warmth, signals, strict=True):
        z = layer.pre_activation(h)
        mean = old.mean + share * (z - old.mean)
        square = old.square + share * (jnp.square(z) - old.square)
        var = jnp.maximum(square - jnp.square(mean), 0.0)
        keep = lambda layer, mean, var, old=old: old.surrogate  # noqa: E731
        surrogate = jax.lax.cond(is_last, fit_surrogate, keep, layer, mean, var)
        warmth.append(Warmth(mean, square, surrogate))
    return tuple(warmth)


def prior_from_above(layer: Layer, h: Float[Array, "case hidden"]) -> UnitPrior:
    """Prior of the units below a layer given those above, its noise and dropout summed out."""
    z = layer.pre_activation(h)
    logit, slab = rectified_slab(z, layer.noise_std, layer.keep_prob, layer.gain)
    return UnitPrior(logit, slab, (0, layer.n_visible))


def _sweep(
    key: PRNGKeyArray,
    prior: UnitPrior,
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
    rows = jax.lax.cond(
        augments,
        lambda: augment(key_rows, layer, z, x),
        lambda: surrogate_rows(layer, surrogate, x, z),
    )
    # What the rows say about each unit alone does not change while they are held fixed.
    information = rows.precision @ layer.weights**2
    backwards = ~augments & jax.random.bernoulli(key_order)

    def relocate(step, carry):
        key = jax.random.fold_in(key_moves, step)
        return relocate_unit(key, prior, layer.weights, information, *carry)

    # Where single units cannot move at all, relocations are all there is: one for each.
    fewest, _ = prior.active_range
    if fewest > 0:
        num_moves = fewest
    else:
        num_moves = jax.random.bernoulli(key_coin, RELOCATION_PROB).astype(int)
    new = h
    if relocates and fewest > 0:
        new, rows = jax.lax.fori_loop(0, num_moves * backwards, relocate, (new, rows))
    arguments = (prior, layer.weights, information, new, rows)
    new, rows = update_units(key_units, *arguments, backwards=backwards)
    if relocates:
        may_move = ~backwards if fewest > 0 else augments
        new, rows = jax.lax.fori_loop(0, num_moves * may_move, relocate, (new, rows))

    def correct():
        log_ratio = log_neglected(layer, surrogate, x, layer.pre_activation(new))
        log_ratio -= log_neglected(layer, surrogate, x, z)
        return accept(key_accept, log_ratio, new, h)

    return jax.lax.cond(augments, lambda: new, correct)


def check_model(model: Model) -> None:
    """Raises ValueError unless Gibbs can sample the model; says what can."""
    if not isinstance(model, LayeredModel):
        raise ValueError(f"gibbs samples a LayeredModel; got {type(model).__name__}")
    if not isinstance(model.prior, SparsePrior):
        raise ValueError(
            "gibbs needs a prior with a spike and a slab (SpikeAndSlab or KSparse); "
            "for a prior written as a NumPyro function use hmc"
        )
    for level, layer in enumerate(model.layers):
        if layer.noise_std == 0:
            raise ValueError(
                f"gibbs needs noise_std > 0, and that of layers[{level}] is 0: "
                "without noise x pins h down and no unit moves"
            )
        if level > 0 and layer.activation != "relu":
            raise ValueError(
                f"gibbs needs ReLU layers above the one next to x; layers[{level}] has "
                f"activation {layer.activation!r}, so the units below it may be negative"
            )


class GibbsKernel(MCMCKernel):
    """`gibbs_step` as a kernel for `numpyro.infer.MCMC`, all observations in one chain's state.

    Run it as `MCMC(GibbsKernel(model), ...).run(key, x)` with x (num_obs, n_visible); the samples
    are h, (num_samples, 1, num_obs, n_hidden). With one chain they are those of `gibbs`.

    Args:
        model: see `gibbs`.
    """

    def __init__(self, model: LayeredModel):
        check_model(model)
        self._model = model

    @property
    def model(self) -> LayeredModel:
        """The model whose posteriors are drawn from."""
        return self._model

    @property
    @override
    def sample_field(self) -> str:
        return "h"

    @override
    def init(self, rng_key, num_warmup, init_params, model_args, model_kwargs) -> Any:
        """Starts from a draw of the prior; `init_params` is not used."""
        return init_state(rng_key, self._model, model_args[0], 1, num_warmup)

    @override
    def sample(self, state, model_args, model_kwargs) -> GibbsState:
        """One sweep."""
        return gibbs_step(state, self._model, model_args[0])
