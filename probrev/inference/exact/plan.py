"""What an exact plan is, and which one a model offers."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, Float

from probrev.inference.exact.enumeration.enumeration import check_count, enumerate_posterior
from probrev.inference.exact.exact_result import ExactOptions, ExactResult
from probrev.model.kinds import Question, check_one_law, refusal
from probrev.model.protocol import DENSITIES, Model, method_of
from probrev.plumbing.readable import readable

Solve = Callable[[Any, Float[Array, "obs visible"], ExactOptions], ExactResult]
# Of a state of a finite prior, for each observation: rounded up from runs on 2 CPU cores.
SECONDS_PER_STATE = 3e-6


@readable
class ExactPlan(NamedTuple):
    """Which exact method serves a model, how much it has to do per observation, and the method.

    Attributes:
        method: its name: "enumeration", "integration", "two_layer", for a Boltzmann machine
            "collapsed_enumeration", or without noise "noiseless" (continuous slab) or
            "noiseless_enumeration" (finite slab).
        unit: what is counted: "num_states", "num_supports", "max_supports" or "num_integrals".
        size: how many of them.
        reason: what will have been done, in words.
        solve: (model, x, options) -> an `ExactResult`; `options` say how many draws and heaviest
            states to give, the seed, and where to report progress.
        seconds_per_unit: about how many one of them takes for each observation; NaN if unknown.
    """

    method: str
    unit: str
    size: int
    reason: str
    solve: Solve
    seconds_per_unit: float = math.nan


@Question("exact_plan", ExactPlan)
def exact_plan_of(model: Model) -> ExactPlan:
    """The exact method for a model, and its cost; cheap, nothing is computed.

    It is what the model offers by its method `exact_plan`, or that of its class; else its states
    are enumerated.

    Raises:
        ValueError: no exact method serves the model; says why.
    """
    try:
        states = method_of(model, "states")()
        method_of(model, "log_joint")
        check_one_law(model, uses=DENSITIES, others=("program", "generate", "simulate"))
    except ValueError as error:
        needs = (
            "needs a model with states() and log_joint(h, x), or with a method exact_plan that "
            f"returns a probrev.ExactPlan ({error})"
        )
        raise refusal("exact", model, needs) from error
    return plan_enumeration(states)


def plan_enumeration(states: Any, seconds_per_state: float = math.nan) -> ExactPlan:
    """Every state visited.

    Args:
        states: what the model lists.
        seconds_per_state: of one state, where it is known.

    Raises:
        ValueError: they are too many.
    """
    count = check_count(states)
    return ExactPlan(
        "enumeration", "num_states", count, f"all {count:,} states enumerated",
        enumerate_posterior, seconds_per_state,
    )  # fmt: skip
