"""A model file's model, built, and what its file adds: observations, inverses and checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import PRNGKeyArray

from probrev.comparison.decision import check_names
from probrev.inference.methods import METHODS
from probrev.inverses.estimates import Inverse
from probrev.inverses.ladder import build_ladder, list_rungs
from probrev.inverses.rung_names import RUNGS
from probrev.model import door as model_door
from probrev.model.observations import Observations
from probrev.model.protocol import check_obs, simulate
from probrev.nets.fitting.checks import Check
from probrev.plumbing import door
from probrev.plumbing.refusal import Refusal, TypeRefusal
from probrev.runs import registry


@dataclass(frozen=True)
class BuiltModel:
    """What a model file's `build` returned, and with which arguments.

    Attributes:
        build: the file's function.
        arguments: those that it got, defaults too.
        model: what it returned.
        own_inverses: those that the file adds to the ladder, by name.
        checks: of the model's fit to a real net, which its file has; None of others.
    """

    build: registry.Build
    arguments: dict[str, Any]
    model: Any
    own_inverses: dict[str, Inverse]
    checks: Sequence[Check] | None

    @property
    def inverse_names(self) -> tuple[str, ...]:
        """Every inverse that can be asked for: rungs of the ladder, then the file's own."""
        return (*list_rungs(self.model), *self.own_inverses)

    def observe(self, key: PRNGKeyArray, num_obs: int) -> Observations:
        """Observations by the model file's own `observe`, or else simulated by the model.

        Raises:
            TypeError: what the file or the model returns is no observations.
            ValueError: neither makes any.
        """
        if not registry.has_hook(self.build, "observe"):
            return simulate(self.model, key, num_obs)
        given = {"key": key, "model": self.model, "num_obs": num_obs}
        obs = registry.call_hook(self.build, "observe", self.arguments, **given)
        if not isinstance(obs, Observations):
            raise TypeRefusal(f"observe must return probrev.Observations; got {type(obs).__name__}")
        model_door.observations("what observe returns", obs)
        try:
            check_obs(self.model, obs)
        except ValueError as error:
            raise Refusal(f"observe: {error}") from error
        return obs

    def inverses(self, key: PRNGKeyArray, names: Sequence[str]) -> dict[str, Inverse]:
        """The inverses with these names, in their order."""
        rungs = [name for name in names if name not in self.own_inverses]
        found = {**build_ladder(key, self.model, rungs), **self.own_inverses}
        return {name: found[name] for name in names}


def build_model(build: registry.Build, settings: dict[str, Any]) -> BuiltModel:
    """Builds a model, and the inverses that its file has of its own.

    Raises:
        TypeError: the file's `inverses` returns no dict.
        ValueError: one of them has the name of a rung of the ladder, which tables tell it by.
    """
    arguments = registry.arguments(build, settings)
    model = build(**settings)
    model_door.model("what build returns", model)
    own = registry.call_hook(build, "inverses", arguments, model=model)
    if not registry.has_hook(build, "inverses"):
        own = {}
    if not isinstance(own, dict):
        raise TypeRefusal(
            f"inverses must return a dict of callables by name; got {type(own).__name__}"
        )
    door.by_name(door.function)("inverses", own)
    if own:
        try:
            check_names(METHODS, own, ())
        except ValueError as error:
            raise Refusal(f"inverses: {error}") from error
    taken = [name for name in own if name in (*RUNGS, *list_rungs(model))]
    if taken:
        raise Refusal(
            f"inverses has {taken[0]!r}, which is a rung of the ladder: choose another name"
        )
    checks = registry.call_hook(build, "checks", arguments, model=model)
    if checks is not None:
        door.all_of(door.instance_of(Check, "a probrev.Check"))("checks", checks)
    return BuiltModel(build, arguments, model, own, checks)
