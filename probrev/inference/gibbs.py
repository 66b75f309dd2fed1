"""Gibbs sampling of p(h | x), any size and depth: one pure step for all chains together."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, override

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from numpyro.infer.mcmc import MCMCKernel

from probrev.inference.chain import run_chain
from probrev.inference.coordinate import UnitPrior, augment, relocate_unit, update_units
from probrev.layer import Layer
from probrev.model import LayeredModel, Model, Observations
from probrev.posterior import Moments, Posterior, from_draws
from probrev.priors import SparsePrior
from probrev.progress import Progress
from probrev.slabs import rectified_slab
from probrev.timing import stopwatch

# A relocation costs as much as a pass over all units, and helps only between correlated columns.
RELOCATION_PROB = 0.25
# Fixed, so that draws do not depend on the machine: two keep most cores busy (see `run_chain`).
NUM_GROUPS = 2


class GibbsState(NamedTuple):
    """State of all chains.

    Attributes:
        h: top hidden vectors, (chain, obs, hidden).
        intermediates: hidden vectors between x and h, the one next to x first.
        rng_key: key of the next step.
    """

    h: Float[Array, "chain obs hidden"]
    intermediates: tuple[Float[Array, "chain obs _"], ...]
    rng_key: PRNGKeyArray


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
    at the top it now and then moves an active unit elsewhere. Chains start from draws of the model.

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
            gibbs_step, init_groups(key, model, obs.x, num_chains), (model, obs.x),
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
    key: PRNGKeyArray, model: LayeredModel, x: Float[Array, "obs visible"], num_chains: int
) -> list[GibbsState]:
    """Starts of all chains, in groups of equal size that can run side by side."""
    num_groups = NUM_GROUPS if num_chains % NUM_GROUPS == 0 else 1
    return [
        init_state(jax.random.fold_in(key, group), model, x, num_chains // num_groups)
        for group in range(num_groups)
    ]


@partial(jax.jit, static_argnames="num_chains")
def init_state(
    key: PRNGKeyArray, model: LayeredModel, x: Float[Array, "obs visible"], num_chains: int
) -> GibbsState:
    """Starts the chains of a group from draws of the model: over-dispersed, and blind to x."""
    key_start, rng_key = jax.random.split(key)
    start = model.simulate(key_start, num_chains * x.shape[0])
    unfold = lambda h: h.reshape(num_chains, x.shape[0], -1)  # noqa: E731
    return GibbsState(unfold(start.h), tuple(map(unfold, start.intermediates)), rng_key)


def gibbs_step(
    state: GibbsState, model: LayeredModel, x: Float[Array, "obs visible"]
) -> GibbsState:
    """One sweep, from x up: every row's latents, every unit, now and then a relocation."""
    batch = state.h.shape[:2]
    rng_key, key = jax.random.split(state.rng_key)
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
            jax.random.fold_in(key, level), prior, layer, signals[level + 1], signals[level],
            relocates=level == top,
        )  # fmt: skip
    *intermediates, h = (signal.reshape(*batch, -1) for signal in signals[1:])
    return GibbsState(h, tuple(intermediates), rng_key)


def prior_from_above(layer: Layer, h: Float[Array, "case hidden"]) -> UnitPrior:
    """Prior of the units below a layer given those above, its noise and dropout summed out."""
    z = layer.pre_activation(h)
    logit, slab = rectified_slab(z, layer.noise_std, layer.keep_prob, layer.gain)
    return UnitPrior(logit, slab, (0, layer.n_visible))


def _sweep(
    key: PRNGKeyArray,
    prior: UnitPrior,
    layer: Layer,
    h: Float[Array, "case hidden"],
    x: Float[Array, "case visible"],
    *,
    relocates: bool,
) -> Float[Array, "case hidden"]:
    """Renews the units above a layer, given the signal x below it and their prior."""
    key_rows, key_units, key_coin, key_moves = jax.random.split(key, 4)
    rows = augment(key_rows, layer, h, x)
    # What the rows say about each unit alone does not change while they are held fixed.
    information = rows.precision @ layer.weights**2
    h, rows = update_units(key_units, prior, layer.weights, information, h, rows)
    if not relocates:
        return h

    def relocate(step, carry):
        key = jax.random.fold_in(key_moves, step)
        return relocate_unit(key, prior, layer.weights, information, *carry)

    # Where single units cannot move at all, relocations are all there is: one for each.
    fewest, _ = prior.active_range
    if fewest > 0:
        num_moves = fewest
    else:
        num_moves = jax.random.bernoulli(key_coin, RELOCATION_PROB).astype(int)
    h, _ = jax.lax.fori_loop(0, num_moves, relocate, (h, rows))
    return h


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
        return init_state(rng_key, self._model, model_args[0], num_chains=1)

    @override
    def sample(self, state, model_args, model_kwargs) -> GibbsState:
        """One sweep."""
        return gibbs_step(state, self._model, model_args[0])
