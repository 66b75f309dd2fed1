"""Inference methods by name: how to call one, and which suit a model where the user names none."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from jaxtyping import PRNGKeyArray

from probrev.inference.exact.exact import exact
from probrev.inference.exact.plan import exact_plan_of
from probrev.inference.gibbs.gibbs import gibbs
from probrev.inference.gibbs.sweep import SECONDS_PER_WEIGHT, sweep_of
from probrev.inference.hmc import check_program, hmc
from probrev.inference.messages.message_passing import check_model as check_message_passing
from probrev.inference.messages.message_passing import message_passing
from probrev.inference.methods import METHODS
from probrev.model import door as model_door
from probrev.model.observations import Observations
from probrev.model.protocol import Model
from probrev.plumbing import door
from probrev.plumbing.refusal import Refusal
from probrev.posterior.posterior import Posterior

# What a default may cost for each observation, of one method; and what the best one may where the
# units are too few for message passing, which would be quick.
MAX_SECONDS, MAX_SECONDS_OF_FEW = 10.0, 100.0
# What serves a model that no other method does.
LAST_RESORT = "hmc"
APPROXIMATION = "message_passing"
# From here on independent units are a fair approximation (see `message_passing`).
MANY_UNITS = 200


class _Candidate(NamedTuple):
    """A method that serves a model: its cost in seconds for each observation, and what it does."""

    seconds: float
    reason: str

    @property
    def is_quick(self) -> bool:
        """Whether it takes no longer than a default may; what is not known may."""
        return not self.seconds > MAX_SECONDS


class _Method(NamedTuple):
    """How a method is called, and how it judges a model, with ValueError where it does not serve.

    Attributes:
        run: the method.
        takes_key: whether its first argument is a key; else it has an argument `seed`.
        judge: model -> what it would cost.
    """

    run: Callable[..., Posterior]
    takes_key: bool
    judge: Callable[[Any], _Candidate]


def infer(
    method: str, key: PRNGKeyArray, model: Model, obs: Observations, **settings: Any
) -> Posterior:
    """The posterior by the method of that name.

    Args:
        method: one of `methods.METHODS`.
        key: random key; methods that take a seed get one that is drawn with it.
        model: a model that the method can do.
        obs: observations.
        **settings: further arguments of the method.

    Raises:
        ValueError: there is no method of that name, or what it refuses.
    """
    if method not in METHODS:
        raise Refusal(
            f"method must be one of {', '.join(METHODS)}; got {method!r}: for another one call it "
            "yourself, and give compare what it returns"
        )
    run, takes_key, _ = _METHODS[method]
    if takes_key:
        return run(key, model, obs, **settings)
    return run(model, obs, **{"seed": int(jax.random.bits(key) >> 1), **settings})


def check_settings(method: str, settings: Mapping[str, Any]) -> None:
    """Raises ValueError for further arguments that the method of that name does not take."""
    run = _METHODS[method].run
    known = [
        name
        for name, one in inspect.signature(run).parameters.items()
        if one.kind is one.KEYWORD_ONLY and name not in ("progress", "checkpoint")
    ]
    for name in settings:
        if name not in known:
            raise Refusal(f"settings: {method} takes no {name!r}; it takes {', '.join(known)}")
    door.check(run, settings)


@door.guard(model=model_door.model)
def choose_methods(model: Model) -> dict[str, str]:
    """The best methods for a model of its size, the most trusted first, each with the reason.

    Exact inference where it takes seconds; Gibbs where that does, as a check of it or in its
    place; message passing where the units are many, or few and Gibbs would take minutes for each
    observation. Where none is quick, the quickest; where none
    serves, NumPyro's own kernels on the model's program.

    Args:
        model: any Model.

    Returns:
        Name of a method, see `methods.METHODS` -> why it was chosen.

    Raises:
        ValueError: no method here serves the model; says why.
    """
    candidates: dict[str, _Candidate] = {}
    refusals = []
    for name in METHODS:
        if name == LAST_RESORT and candidates:
            continue
        try:
            candidates[name] = _METHODS[name].judge(model)
        except ValueError as error:
            refusals.append(str(error))
    if not candidates:
        raise Refusal("no inference method here serves this model: " + "; ".join(refusals))
    quick = {name for name, candidate in candidates.items() if candidate.is_quick}
    if model.n_hidden < MANY_UNITS:
        others = {name: one.seconds for name, one in candidates.items() if name != APPROXIMATION}
        best = min(others, key=lambda name: others[name], default=APPROXIMATION)
        if quick == {APPROXIMATION} and others.get(best, math.nan) <= MAX_SECONDS_OF_FEW:
            quick.add(best)
        if len(quick) > 1:
            quick.discard(APPROXIMATION)
    chosen = quick or {min(candidates, key=lambda name: candidates[name].seconds)}
    return {name: reason for name, (_, reason) in candidates.items() if name in chosen}


def estimate_seconds(method: str, model: Model) -> float:
    """About how long a method takes for each observation, compilation apart; NaN if unknown."""
    return _METHODS[method].judge(model).seconds


def _exact(model: Model) -> _Candidate:
    plan = exact_plan_of(model)
    size = f"{plan.size:,} {plan.unit.removeprefix('num_')}"
    return _Candidate(plan.size * plan.seconds_per_unit, f"it is exact, and quick with {size}")


def _gibbs(model: Model) -> _Candidate:
    sweep = sweep_of(model)
    quick = f", and is quick with {sweep.size}" if sweep.size else ""
    return _Candidate(sweep.seconds, f"it samples the posterior itself{quick}")


def _messages(model: Any) -> _Candidate:
    check_message_passing(model)
    size = model.num_weights
    reason = f"it approximates the posterior in tens of passes over {size:,} weights"
    return _Candidate(size * SECONDS_PER_WEIGHT / 100, reason)


def _hmc(model: Model) -> _Candidate:
    check_program(model)
    return _Candidate(math.nan, "only NumPyro's own kernels, which run the program, sample it")


_METHODS = {
    "exact": _Method(exact, False, _exact),
    "gibbs": _Method(gibbs, True, _gibbs),
    "message_passing": _Method(message_passing, False, _messages),
    "hmc": _Method(hmc, True, _hmc),
}
