"""Inference methods by name: how to call one, and which suit a model where the user names none."""

from typing import Any, NamedTuple

import jax
from jaxtyping import PRNGKeyArray

from probrev.boltzmann.machine import BoltzmannMachine
from probrev.inference.exact.exact import exact, plan_exact
from probrev.inference.gibbs.gibbs import find_sweep, gibbs
from probrev.inference.hmc import hmc
from probrev.inference.messages.message_passing import check_model as check_message_passing
from probrev.inference.messages.message_passing import message_passing
from probrev.model.layered_model import LayeredModel
from probrev.model.observations import Observations
from probrev.model.priors import SparsePrior, undeclared_members
from probrev.model.protocol import Model
from probrev.posterior.posterior import Posterior

_SEEDED = {"exact": exact, "message_passing": message_passing}
_SAMPLERS = {"gibbs": gibbs, "hmc": hmc}
# What a default may cost for each observation, of one method.
MAX_SECONDS = 10.0
# Seconds of a unit of each exact method, and of Gibbs (default settings) for each weight: rounded
# up from runs on 2 CPU cores.
SECONDS_PER_UNIT = {
    "enumeration": 3e-6,
    "collapsed_enumeration": 3e-6,
    "integration": 2e-3,
    "two_layer": 1e-4,
    "noiseless": 1e-5,
    "noiseless_enumeration": 3e-6,
}
GIBBS_SECONDS_PER_WEIGHT = 1.5e-5
# From here on independent units are a fair approximation (see `message_passing`).
MANY_UNITS = 200


class _Candidate(NamedTuple):
    """A method that serves a model: its cost in seconds for each observation, and what it does."""

    seconds: float
    reason: str


def infer(
    method: str, key: PRNGKeyArray, model: Model, obs: Observations, **settings: Any
) -> Posterior:
    """The posterior by the method of that name.

    Args:
        method: "exact", "gibbs", "hmc" or "message_passing".
        key: random key; methods that take a seed get one that is drawn with it.
        model: a model that the method can do.
        obs: observations.
        **settings: further arguments of the method.
    """
    if method in _SEEDED:
        settings = {"seed": int(jax.random.bits(key) >> 1), **settings}
        return _SEEDED[method](model, obs, **settings)
    return _SAMPLERS[method](key, model, obs, **settings)


def choose_methods(model: Model) -> dict[str, str]:
    """The best methods for a model of its size, the most trusted first, each with the reason.

    Exact inference where it takes seconds; Gibbs where that does, as a check of it or in its
    place; message passing where the units are many. Where none is quick, the quickest; where the
    prior is a NumPyro function, NumPyro's own kernels.

    Args:
        model: any Model.

    Returns:
        Name of a method ("exact", "gibbs", "message_passing", "hmc") -> why it was chosen.

    Raises:
        ValueError: no method here serves the model; says why.
    """
    if isinstance(model, LayeredModel) and not isinstance(model.prior, SparsePrior):
        return _hmc_only(model, "a prior that is a NumPyro function")
    candidates, refusals = {}, []
    for name, judge in (("exact", _exact), ("gibbs", _gibbs), ("message_passing", _messages)):
        try:
            candidates[name] = judge(model)
        except ValueError as error:
            refusals.append(str(error))
    if not candidates and isinstance(model, LayeredModel) and undeclared_members(model.prior):
        return _hmc_only(model, "a spike-and-slab prior with a law of its own")
    if not candidates:
        raise ValueError("no inference method here serves this model: " + "; ".join(refusals))
    quick = {name for name, (seconds, _) in candidates.items() if seconds <= MAX_SECONDS}
    few = isinstance(model, LayeredModel) and model.n_hidden < MANY_UNITS
    if few and len(quick) > 1:
        quick.discard("message_passing")
    chosen = quick or {min(candidates, key=lambda name: candidates[name].seconds)}
    return {name: reason for name, (_, reason) in candidates.items() if name in chosen}


def estimate_seconds(method: str, model: Model) -> float:
    """About how long a method takes for each observation, compilation apart; NaN if unknown."""
    judges = {"exact": _exact, "gibbs": _gibbs, "message_passing": _messages}
    if method not in judges:
        return float("nan")
    return judges[method](model).seconds


def _hmc_only(model: LayeredModel, prior: str) -> dict[str, str]:
    """NumPyro's own kernels, which run the prior's program."""
    if any(layer.noise_std == 0 for layer in model.layers):
        raise ValueError("noise_std = 0 gives x no density, so hmc has nothing to sample")
    return {"hmc": f"only NumPyro's own kernels sample {prior}"}


def _exact(model: Model) -> _Candidate:
    plan = plan_exact(model)
    # Of another Model it is not known what a state costs.
    known = isinstance(model, LayeredModel | BoltzmannMachine)
    seconds = plan.size * SECONDS_PER_UNIT[plan.method] if known else 0.0
    size = f"{plan.size:,} {plan.unit.removeprefix('num_')}"
    return _Candidate(seconds, f"it is exact, and quick with {size}")


def _gibbs(model: Model) -> _Candidate:
    find_sweep(model)
    assert isinstance(model, LayeredModel | BoltzmannMachine)
    size = model.num_weights
    reason = f"it samples the posterior itself, and is quick with {size:,} weights"
    return _Candidate(size * GIBBS_SECONDS_PER_WEIGHT, reason)


def _messages(model: Model) -> _Candidate:
    check_message_passing(model)
    assert isinstance(model, LayeredModel)
    size = model.num_weights
    reason = f"it approximates the posterior in tens of passes over {size:,} weights"
    return _Candidate(size * GIBBS_SECONDS_PER_WEIGHT / 100, reason)
