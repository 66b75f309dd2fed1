"""State of the chains of a LayeredModel, and where they start."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.inference.gibbs.hamiltonian import Metric, init_metric
from probrev.inference.gibbs.surrogate import Surrogate, fit_surrogate, surrogate_rows
from probrev.inference.gibbs.warmth import Warmth, what_to_fit
from probrev.model.conditional_prior import Auxiliary
from probrev.model.layered_model import LayeredModel
from probrev.model.observations import Observations
from probrev.model.prior_program import conditional_prior


class LayeredState(NamedTuple):
    """State of all chains.

    Attributes:
        h: top hidden vectors, (chain, obs, hidden).
        intermediates: hidden vectors between x and h, the one next to x first.
        auxiliary: what the units of h are given, by name, each (chain, obs, ...).
        rng_key: key of the next step.
        warmth: of each layer, what warm-up has learned for its proposals.
        num_steps: steps done.
        num_warmup: steps of warm-up; after them proposals no longer change.
        metric: of moves of all units of h together, where they are coupled.
    """

    h: Float[Array, "chain obs hidden"]
    intermediates: tuple[Float[Array, "chain obs _"], ...]
    auxiliary: Auxiliary
    rng_key: PRNGKeyArray
    warmth: tuple[Warmth, ...]
    num_steps: Int[Array, ""]
    num_warmup: Int[Array, ""]
    metric: Metric | None


class LaidOut(NamedTuple):
    """A model and each W^T in memory of its own: columns of W are read one by one."""

    model: LayeredModel
    columns: tuple[Float[Array, "_ _"], ...]


def lay_out(model: LayeredModel | LaidOut) -> LaidOut:
    """Writes out each W^T, once for a run; nothing where that is done."""
    if isinstance(model, LaidOut):
        return model
    return LaidOut(model, tuple(layer.weights.T for layer in model.layers))


@partial(jax.jit, static_argnames="num_chains")
def init_layered(
    key: PRNGKeyArray,
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    num_chains: int,
    num_warmup: int,
) -> LayeredState:
    """Starts the chains of a group from draws of the model: over-dispersed, and blind to x."""
    key_start, rng_key = jax.random.split(key)
    start = model.simulate(key_start, num_chains * x.shape[0])
    unfold = lambda a: a.reshape(num_chains, x.shape[0], *a.shape[1:])  # noqa: E731
    assert start.h is not None
    layers = (*start.intermediates, start.h)
    warmth = []
    for layer, h in zip(model.layers, layers, strict=True):
        z = layer.pre_activation(h)
        spread = jnp.broadcast_to(jnp.square(z).mean(), z.shape)
        below = what_to_fit(x, z, len(warmth))
        surrogate = fit_surrogate(layer, below, jnp.zeros_like(z), spread)
        warmth.append(Warmth(z, jnp.square(z), surrogate))
    intermediates = tuple(map(unfold, start.intermediates))
    names = conditional_prior(model.prior).auxiliary
    auxiliary = {name: unfold(start.sites[name]) for name in names}
    counts = jnp.asarray(0), jnp.asarray(num_warmup)
    metric = _init_metric(model, x, start, warmth[-1].surrogate)
    return LayeredState(
        unfold(start.h), intermediates, auxiliary, rng_key, tuple(warmth), *counts, metric
    )


def _init_metric(
    model: LayeredModel, x: Float[Array, "obs visible"], start: Observations, surrogate: Surrogate
) -> Metric | None:
    """The metric where chains start, if units are coupled."""
    given = conditional_prior(model.prior)
    if given.coupling is None:
        return None
    h, layer = start.h, model.layers[-1]
    assert h is not None
    below = start.intermediates[-1] if start.intermediates else jnp.tile(x, (len(h) // len(x), 1))
    rows = surrogate_rows(layer, surrogate, below, layer.pre_activation(h))
    assert given.marginal is not None
    active = jax.nn.sigmoid(given.marginal.inclusion_logit)
    return init_metric(given.coupling, layer, rows.precision, jnp.broadcast_to(active, h.shape))
