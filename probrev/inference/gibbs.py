"""Gibbs sampling of p(h | x), any size: one pure step for all chains and observations."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, override

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from numpyro.infer.mcmc import MCMCKernel

from probrev.inference.chain import run_chain
from probrev.layer import Layer
from probrev.model import LayeredModel, Observations
from probrev.posterior import Posterior, from_draws
from probrev.priors import SparsePrior, sample_prior
from probrev.progress import Progress
from probrev.tilted import log_slab_ratio, sample_tilted, unit_slab
from probrev.timing import stopwatch

# A relocation costs as much as a pass over all units, and helps only between correlated columns.
RELOCATION_PROB = 0.25


class GibbsState(NamedTuple):
    """State of all chains.

    Attributes:
        h: hidden vectors, (chain, obs, hidden).
        rng_key: key of the next step.
    """

    h: Float[Array, "chain obs hidden"]
    rng_key: PRNGKeyArray


class _Rows(NamedTuple):
    """The linear-Gaussian likelihood that the augmentation leaves, row by row.

    Attributes:
        precision: 1 / noise_var where the row was kept, 0 where it was dropped.
        residual: precision * (noisy pre-activation - W h).
    """

    precision: Float[Array, "chain obs visible"]
    residual: Float[Array, "chain obs visible"]


def gibbs(
    key: PRNGKeyArray,
    model: LayeredModel,
    obs: Observations,
    *,
    num_warmup: int = 500,
    num_samples: int = 2000,
    num_chains: int = 4,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> Posterior:
    """Draws from p(h | x) by Gibbs sampling, with dropout and rectified values made explicit.

    A sweep draws, for each silent row, whether it was kept and its negative pre-activation; then
    each unit's spike and value jointly, given all others; and in every fourth sweep or so it moves
    an active unit elsewhere. Chains start from draws of the prior.

    Args:
        key: random key.
        model: one layer with noise_std > 0, under a prior with a spike and a slab.
        obs: observations; all of them, and all chains, advance in one compiled call.
        num_warmup: sweeps per chain that are thrown away.
        num_samples: sweeps per chain that are kept.
        num_chains: independent chains per observation.
        checkpoint: file to save the chains in as they run, and to go on from where it holds them:
            an interrupted run resumes, a finished one is extended, bit for bit.
        progress: where to report progress, in sweeps.

    Raises:
        ValueError: the model is not one that Gibbs can sample, x does not fit it, or the
            checkpoint belongs to another run.

    Source: data augmentation after Albert and Chib 1993; the spike and its value are drawn jointly
    as in George and McCulloch 1997.
    """
    _check_model(model)
    model.check(obs)
    settings = {"num_warmup": num_warmup, "num_samples": num_samples, "num_chains": num_chains}
    with stopwatch() as timing:
        state = init_state(key, model, obs.x, num_chains)
        draws = run_chain(
            gibbs_step, state, (model, obs.x), checkpoint=checkpoint, progress=progress,
            num_warmup=num_warmup, num_samples=num_samples,
        )  # fmt: skip
    return from_draws("gibbs", draws, obs.x, model=model, settings=settings, timing=timing)


@partial(jax.jit, static_argnames="num_chains")
def init_state(
    key: PRNGKeyArray, model: LayeredModel, x: Float[Array, "obs visible"], num_chains: int
) -> GibbsState:
    """Starts every chain from a draw of the prior: over-dispersed, and blind to x."""
    key_start, rng_key = jax.random.split(key)
    h = sample_prior(key_start, model.prior, num_chains * x.shape[0])
    return GibbsState(h.reshape(num_chains, x.shape[0], model.n_hidden), rng_key)


def gibbs_step(
    state: GibbsState, model: LayeredModel, x: Float[Array, "obs visible"]
) -> GibbsState:
    """One sweep: every row's latents, every unit, and now and then a relocation."""
    layer, prior = model.layers[0], model.sparse_prior
    rng_key, key_rows, key_units, key_moves, key_coin = jax.random.split(state.rng_key, 5)
    rows = _augment(key_rows, layer, state.h, x)
    # What the rows say about each unit alone does not change while they are held fixed.
    information = rows.precision @ layer.weights**2
    h, rows = _update_units(key_units, prior, layer, information, state.h, rows)
    # Where single units cannot move at all, relocations are all there is.
    relocates = jax.random.bernoulli(key_coin, 1.0 if prior.active_range[0] else RELOCATION_PROB)
    h = jax.lax.cond(
        relocates,
        lambda: _relocate_units(key_moves, prior, layer, information, h, rows),
        lambda: h,
    )
    return GibbsState(h, rng_key)


def _augment(key: PRNGKeyArray, layer: Layer, h: Array, x: Array) -> _Rows:
    """Draws which rows were kept and their noisy pre-activations, given h and x."""
    z = layer.pre_activation(h)
    law = layer.distribution(z)
    kept, noisy = law.sample_latents(key, jnp.broadcast_to(x[None, :, :], z.shape))
    precision = kept / layer.noise_std**2
    return _Rows(precision, precision * (noisy - z))


def _update_units(
    key: PRNGKeyArray,
    prior: SparsePrior,
    layer: Layer,
    information: Float[Array, "chain obs hidden"],
    h: Float[Array, "chain obs hidden"],
    rows: _Rows,
) -> tuple[Array, _Rows]:
    """Draws each unit in turn, spike and value jointly, given all others and the rows."""
    columns = layer.weights.T
    logits = prior.inclusion_logit
    fewest, most = prior.active_range

    def update(unit, carry):
        h, num_active, residual = carry
        column, old = columns[unit][None, None, :], h[..., unit]
        precision = information[..., unit]
        linear = (residual * column).sum(-1) + precision * old
        others = num_active - (old > 0)
        logit = jnp.where(others < most, logits[unit], -jnp.inf)
        logit = jnp.where(others < fewest, jnp.inf, logit)
        new = sample_tilted(
            jax.random.fold_in(key, unit),
            logit,
            unit_slab(prior.tilting_slab, unit),
            *_gaussian(linear, precision),
        )
        residual = residual + (old - new)[..., None] * column * rows.precision
        return h.at[..., unit].set(new), others + (new > 0), residual

    start = (h, (h > 0).sum(-1), rows.residual)
    h, _, residual = jax.lax.fori_loop(0, prior.n_hidden, update, start)
    return h, rows._replace(residual=residual)


def _relocate_units(
    key: PRNGKeyArray,
    prior: SparsePrior,
    layer: Layer,
    information: Float[Array, "chain obs hidden"],
    h: Float[Array, "chain obs hidden"],
    rows: _Rows,
) -> Array:
    """Draws a new place and value for an active unit, given all others and the rows.

    This passes between correlated columns without an empty state in between, and is the only move
    under a prior with a fixed number of active units: as many are moved as must be active.
    """

    def move(step, carry):
        h, residual = carry
        keys = jax.random.split(jax.random.fold_in(key, step), 3)
        active = h > 0
        leaving = jax.random.categorical(keys[0], jnp.where(active, 0.0, -jnp.inf))[..., None]
        any_active = active.any(-1, keepdims=True)
        old = jnp.take_along_axis(h, leaving, axis=-1)
        freed = residual + old * layer.weights.T[leaving[..., 0]] * rows.precision
        r, v = _gaussian(freed @ layer.weights, information)
        taken = active & (jnp.arange(prior.n_hidden)[None, None, :] != leaving)
        log_ratio = prior.inclusion_logit[None, None, :] + log_slab_ratio(prior.tilting_slab, r, v)
        place = jax.random.categorical(keys[1], jnp.where(taken, -jnp.inf, log_ratio))[..., None]
        values = sample_tilted(keys[2], jnp.full(r.shape, jnp.inf), prior.tilting_slab, r, v)
        new = jnp.take_along_axis(values, place, axis=-1)
        residual_moved = freed - new * layer.weights.T[place[..., 0]] * rows.precision
        h_moved = jnp.put_along_axis(h, leaving, 0.0, axis=-1, inplace=False)
        h_moved = jnp.put_along_axis(h_moved, place, new, axis=-1, inplace=False)
        return (
            jnp.where(any_active, h_moved, h),
            jnp.where(any_active, residual_moved, residual),
        )

    num_moves = max(1, prior.active_range[0])
    h, _ = jax.lax.fori_loop(0, num_moves, move, (h, rows.residual))
    return h


def _gaussian(linear: Array, precision: Array) -> tuple[Array, Array]:
    """Mean and variance of exp(linear h - precision h^2 / 2); (0, inf) where nothing is known."""
    known = precision > 0
    variance = jnp.where(known, 1 / jnp.where(known, precision, 1.0), jnp.inf)
    return jnp.where(known, linear, 0.0) * jnp.where(known, variance, 0.0), variance


def _check_model(model: LayeredModel) -> None:
    if not isinstance(model, LayeredModel):
        raise ValueError(f"gibbs samples a LayeredModel; got {type(model).__name__}")
    if len(model.layers) > 1:
        raise ValueError(
            f"gibbs samples models with one layer; this one has {len(model.layers)}: "
            "simulate and FeedforwardNet work at any depth"
        )
    if not isinstance(model.prior, SparsePrior):
        raise ValueError(
            "gibbs needs a prior with a spike and a slab (SpikeAndSlab or KSparse); "
            "for a prior written as a NumPyro function use hmc"
        )
    if model.layers[0].noise_std == 0:
        raise ValueError("gibbs needs noise_std > 0: without noise x pins h down and no unit moves")


class GibbsKernel(MCMCKernel):
    """`gibbs_step` as a kernel for `numpyro.infer.MCMC`, all observations in one chain's state.

    Run it as `MCMC(GibbsKernel(model), ...).run(key, x)` with x (num_obs, n_visible); the samples
    are h, (num_samples, 1, num_obs, n_hidden). With one chain they are those of `gibbs`.

    Args:
        model: see `gibbs`.
    """

    def __init__(self, model: LayeredModel):
        _check_model(model)
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
