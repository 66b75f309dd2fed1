"""The evidence log p(x) of models too large to sum: by particles that are annealed to x."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.boltzmann.machine import BoltzmannMachine
from probrev.inference.gibbs.auxiliary_step import (
    fixes_count,
    renew_auxiliary,
    switch_jointly,
    units_given,
)
from probrev.inference.gibbs.coordinate import Rows, augment, update_units
from probrev.inference.gibbs.layered_sweep import check_layered
from probrev.inference.partition import (
    Estimate,
    check_sizes,
    estimate_log_mean,
    machine_log_evidence,
)
from probrev.inference.populations import NUM_POPULATIONS, check_populations, resample
from probrev.inference.program_evidence import check_tempered, program_log_evidence
from probrev.model import door as model_door
from probrev.model.conditional_prior import sample_jointly
from probrev.model.kinds import Question, refusal
from probrev.model.layered_model import LayeredModel
from probrev.model.observations import Observations
from probrev.model.prior_program import conditional_prior, is_given
from probrev.model.protocol import Model, check_obs
from probrev.plumbing import door
from probrev.plumbing.refusal import Refusal

# Numbers in one temporary array, (case, visible): observations are taken in groups of that size.
GROUP_ELEMENTS = 2**22
# (key, model, obs, num_chains, num_temperatures) -> log p(x), (obs,).
Estimator = Callable[[PRNGKeyArray, Any, Observations, int, int], Estimate]


@door.guard(
    key=door.random_key,
    model=model_door.model,
    obs=model_door.observations,
    num_chains=door.count(),
    num_temperatures=door.count(),
)
def estimate_log_evidence(
    key: PRNGKeyArray,
    model: Model,
    obs: Observations,
    *,
    num_chains: int = 1000,
    num_temperatures: int = 1000,
) -> Estimate:
    """Log p(x) of every observation, (obs,), at any size.

    Of one layer by sequential Monte Carlo, row by row: chains start from the prior, which is the
    posterior given no row of x; at each step the rows that are next in a random order join in. What
    x gains is the chains' mean of p(x_j | h); chains are resampled by it, and each makes a Gibbs
    sweep given the rows so far, of what units are given too. There are 8 populations that never
    meet. Each is unbiased for p(x); the value is the logarithm of their mean and its error that of
    their spread, 7 degrees of freedom. On average the value is low by half the squared error.

    Of any other model with a NumPyro program, several layers or a prior that is a plain function,
    alike, but through the program: chains start from a run of it, the likelihood of x is raised to
    powers that go from 0 to 1, and what the program draws is renewed by NUTS (continuous sites) and
    by Metropolis' proposals of other values (discrete ones, which need finitely many).

    Of a Boltzmann machine by annealed importance sampling, from independent units to the machine
    and to p(h | x), see `estimate_log_partition`: log p(x) = b_0^T x + log Z_x - log Z, with one
    estimate of log Z for all observations, so that their errors are correlated.

    An error of a layer near 1 is as large as 8 populations can show: one of them carries the whole
    mean, and the true error is larger; take more chains.

    Standard errors miss modes that no chain has visited. Where doubling `num_chains` or
    `num_temperatures` moves the value by many of them, they are too small.

    Args:
        key: random key.
        model: a Boltzmann machine; a LayeredModel with noise_std > 0 under any prior but `KSparse`;
            any model with a NumPyro `program(x)` of finite density; or a model with a method
            `log_evidence_estimator` that returns a function (key, model, obs, num_chains,
            num_temperatures) -> an estimate and its standard error.
        obs: observations.
        num_chains: chains per observation; of a layer a multiple of 8.
        num_temperatures: steps of the path; of a layer at least as many as x has rows let them
            join one by one.

    Returns:
        An estimate and its standard error, each (obs,).

    Raises:
        ValueError: another model, x does not fit it, fewer than two chains, or no step.

    Source: Chopin 2002 and Del Moral, Doucet and Jasra 2006 (one layer); Neal 2001, and for
    Boltzmann machines Salakhutdinov and Murray 2008.
    """
    check_sizes(num_chains, num_temperatures)
    estimate = log_evidence_estimator_of(model)
    check_obs(model, obs)
    return estimate(key, model, obs, num_chains, num_temperatures)


@Question("log_evidence_estimator", Callable)
def log_evidence_estimator_of(model: Model) -> Estimator:
    """What estimates the evidence of a model: what it offers, or what its class does.

    Raises:
        ValueError: nothing does; says what would.
    """
    if getattr(model, "program", None) is None:
        raise refusal(
            "estimate_log_evidence",
            model,
            "needs a Boltzmann machine, a LayeredModel, or a model with a NumPyro program(x) or a "
            "method log_evidence_estimator",
        )
    check_tempered(model)
    return program_log_evidence


@log_evidence_estimator_of.register
def _of_machine(model: BoltzmannMachine) -> Estimator:
    del model
    return machine_log_evidence


@log_evidence_estimator_of.register
def _of_layered(model: LayeredModel) -> Estimator:
    if len(model.layers) > 1 or not (model.has_sparse_prior or is_given(model.prior)):
        return program_log_evidence
    check_layered(model, "estimate_log_evidence")
    if fixes_count(model.prior):
        raise Refusal(
            "estimate_log_evidence needs a SpikeAndSlab prior: its chains start from it and renew "
            f"one unit at a time; got {type(model.prior).__name__}, which fixes the number of "
            "active ones"
        )
    return _layered_log_evidence


def _layered_log_evidence(
    key: PRNGKeyArray,
    model: LayeredModel,
    obs: Observations,
    num_chains: int,
    num_temperatures: int,
) -> Estimate:
    """Log p(x) of one layer, each population of chains by itself."""
    check_populations(num_chains)
    key_order, key_chains = jax.random.split(key)
    rank = jax.random.permutation(key_order, model.n_visible)
    size = max(1, GROUP_ELEMENTS // (num_chains * model.n_visible))
    log_evidence = [
        _add_rows(
            jax.random.fold_in(key_chains, start), model, obs.x[start : start + size], rank,
            num_chains, num_temperatures,
        )
        for start in range(0, obs.num_obs, size)
    ]  # fmt: skip
    return estimate_log_mean(np.concatenate(log_evidence))


@partial(jax.jit, static_argnames=("num_chains", "num_temperatures"))
def _add_rows(
    key: PRNGKeyArray,
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    rank: Int[Array, " visible"],
    num_chains: int,
    num_temperatures: int,
) -> Float[Array, "obs population"]:
    """Log p(x) by each population; `rank` is each row's place in the order in which they join."""
    (layer,), prior = model.layers, conditional_prior(model.prior)
    squares, columns = layer.weights**2, layer.weights.T
    shape = (x.shape[0] * NUM_POPULATIONS, num_chains // NUM_POPULATIONS)
    cases = jnp.repeat(x, num_chains, axis=0)

    def step(carry: tuple, number: Array) -> tuple[tuple, None]:
        h, u, log_evidence = carry
        key_step = jax.random.fold_in(key, number)
        keys = jax.random.split(key_step, 4)
        before, now = ((at * layer.n_visible) // num_temperatures for at in (number, number + 1))
        joins = ((rank >= before) & (rank < now)).astype(h.dtype)
        z = layer.pre_activation(h)
        log_weight = (layer.distribution(z).log_prob(cases) @ joins).reshape(shape)
        log_evidence += jax.nn.logsumexp(log_weight, axis=1) - jnp.log(shape[1])
        parent = resample(keys[0], log_weight)
        h, z, u = jax.tree.map(lambda leaf: leaf[parent], (h, z, u))
        heard = jnp.broadcast_to((rank < now).astype(z.dtype), z.shape)
        rows = augment(keys[1], layer, z, cases)
        rows = Rows(rows.precision * heard, rows.residual * heard)
        information = rows.precision @ squares
        backwards = jax.random.bernoulli(keys[2])
        arguments = (columns, information, h, rows)
        h, rows = update_units(keys[3], units_given(prior, u), *arguments, backwards=backwards)
        if u:
            key_given, key_switch = jax.random.split(jax.random.fold_in(key_step, 4))
            u = renew_auxiliary(key_given, prior, u, h)
            if prior.num_switches:
                z = layer.pre_activation(h)
                u, h = switch_jointly(key_switch, prior, layer.weights, u, h, rows, z, None)
        return (h, u, log_evidence), None

    start = sample_jointly(jax.random.fold_in(key, num_temperatures), prior, len(cases))
    first = *start, jnp.zeros(shape[0], x.dtype)
    (*_, log_evidence), _ = jax.lax.scan(step, first, jnp.arange(num_temperatures))
    return log_evidence.reshape(x.shape[0], NUM_POPULATIONS)
