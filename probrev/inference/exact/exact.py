"""Exact posteriors: one entry point, and the method that fits the model."""

from typing import NamedTuple

import jax

from probrev.boltzmann.machine import BoltzmannMachine
from probrev.inference.exact.enumeration.collapsed_enumeration import (
    count_collapsed,
    enumerate_collapsed,
)
from probrev.inference.exact.enumeration.enumeration import (
    check_count,
    count_states,
    enumerate_posterior,
)
from probrev.inference.exact.exact_result import NUM_CHAINS, ExactOptions, judge, make_groups
from probrev.inference.exact.integration.integration import check_continuous, integrate_supports
from probrev.inference.exact.noiseless.noiseless import (
    check_noiseless,
    check_supports,
    solve_noiseless,
)
from probrev.inference.exact.noiseless.noiseless_table import enumerate_noiseless
from probrev.inference.exact.two_layer import check_two_layer, integrate_two_layers
from probrev.model.layered_model import LayeredModel
from probrev.model.observations import Observations
from probrev.model.priors import SparsePrior
from probrev.model.protocol import Model, check_pytree
from probrev.model.slabs import FiniteSlab
from probrev.plumbing.progress import Progress
from probrev.plumbing.timing import stopwatch
from probrev.posterior.posterior import Posterior, make_tree

__all__ = ["ExactPlan", "count_states", "exact", "plan_exact"]

_METHODS = {
    "enumeration": enumerate_posterior,
    "collapsed_enumeration": enumerate_collapsed,
    "integration": integrate_supports,
    "noiseless": solve_noiseless,
    "noiseless_enumeration": enumerate_noiseless,
    "two_layer": integrate_two_layers,
}


class ExactPlan(NamedTuple):
    """Which exact method serves a model, and how much it has to do per observation.

    Attributes:
        method: "enumeration", "integration", "two_layer", for a Boltzmann machine
            "collapsed_enumeration", or without noise "noiseless" (continuous slab) or
            "noiseless_enumeration" (finite slab).
        unit: what is counted: "num_states", "num_supports", "max_supports" or "num_integrals".
        size: how many of them.
        reason: what will have been done, in words.
    """

    method: str
    unit: str
    size: int
    reason: str


def exact(
    model: Model,
    obs: Observations,
    *,
    num_draws: int = 4000,
    num_top: int = 100,
    seed: int = 0,
    progress: Progress | None = None,
) -> Posterior:
    """p(h | x), exact to rounding or to an error that is reported.

    - A Boltzmann machine: its odd layers enumerated, its even ones summed out.
    - Any other model with a finite list of states, noise_std > 0: complete enumeration.
    - One layer, a half-normal, exponential or truncated normal slab and few active units: integrals
      over the supports that matter, the others bounded.
    - Two layers at tiny size, finite top prior: the layer between is integrated out.
    - One ReLU layer with noise_std = 0: the points where the equations of the active rows hold,
      by enumeration (finite slab), least squares, or a search over few supports.

    The group `exact` holds moments, inclusion probabilities, log evidence, the heaviest states and
    two numbers that must not be added: `unvisited_mass`, a proved bound on the posterior mass that
    was left out, and `integration_error`, an estimate of the integrals' relative error (two rules
    compared). Where either misses its target (5e-4, 1e-4) for some observation, the status is
    "inaccurate". iid draws come beside them, so that every ArviZ function works.

    Args:
        model: any Model with `states()`, or a LayeredModel as above.
        obs: observations.
        num_draws: iid draws per observation, a multiple of 4 (they are laid out as 4 chains).
        num_top: how many of the heaviest states to keep.
        seed: seed of the draws; nothing else here is random.
        progress: where to report progress.

    Raises:
        ValueError: float64 is off, x does not fit the model, no exact method serves the model
            (says why, and what would), or some x has probability zero under it.
    """
    if not jax.config.jax_enable_x64:
        raise ValueError("exact needs float64: call numpyro.enable_x64() first")
    if num_draws % NUM_CHAINS:
        raise ValueError(f"num_draws must be a multiple of {NUM_CHAINS}; got {num_draws}")
    check_pytree(model)
    model.check(obs)
    plan = plan_exact(model)
    options = ExactOptions(num_draws, num_top, seed, progress)
    with stopwatch() as timing:
        result = _METHODS[plan.method](model, obs.x, options)
    settings = {"num_draws": num_draws, "num_top": num_top, "seed": seed}
    settings |= {"exact_method": plan.method, plan.unit: plan.size}
    status, reason = judge(result, plan.reason)
    tree = make_tree("exact", make_groups(result), obs.x, status, reason, settings, timing)
    return Posterior(tree, model)


def plan_exact(model: Model) -> ExactPlan:
    """The exact method for a model, and its cost; cheap, nothing is computed.

    Raises:
        ValueError: no exact method serves the model; says why.
    """
    if isinstance(model, LayeredModel) and len(model.layers) == 2:
        count = check_two_layer(model)
        reason = f"all {count:,} integrals over the layer between computed"
        return ExactPlan("two_layer", "num_integrals", count, reason)
    if isinstance(model, LayeredModel) and len(model.layers) == 1:
        return _plan_one_layer(model)
    if isinstance(model, BoltzmannMachine):
        count = count_collapsed(model)
        reason = f"all {count:,} states of the odd layers enumerated"
        return ExactPlan("collapsed_enumeration", "num_states", count, reason)
    count = check_count(model.states())
    return ExactPlan("enumeration", "num_states", count, f"all {count:,} states enumerated")


def _plan_one_layer(model: LayeredModel) -> ExactPlan:
    is_continuous = isinstance(model.prior, SparsePrior) and not isinstance(
        model.prior.slab, FiniteSlab
    )
    if model.layers[0].noise_std == 0:
        check_noiseless(model)
        if is_continuous:
            count = check_supports(model)
            reason = (
                f"active rows solved, by least squares or on each of at most {count:,} supports"
            )
            return ExactPlan("noiseless", "max_supports", count, reason)
        count = check_count(model.states())
        reason = f"all {count:,} states enumerated, those kept that solve the active rows"
        return ExactPlan("noiseless_enumeration", "num_states", count, reason)
    if is_continuous:
        count = check_continuous(model)
        reason = "supports integrated in order of promise; see unvisited_mass, integration_error"
        return ExactPlan("integration", "num_supports", count, reason)
    count = check_count(model.states())
    return ExactPlan("enumeration", "num_states", count, f"all {count:,} states enumerated")
