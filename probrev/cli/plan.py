"""What `probrev compare` was asked for."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from probrev.inference.methods import METHODS
from probrev.inverses.rung_names import RUNGS
from probrev.plumbing.refusal import Refusal
from probrev.runs import registry
from probrev.runs.registry import WEIGHT_SEED
from probrev.runs.settings import parse_settings


@dataclass(frozen=True)
class Plan:
    """A request, checked as far as can be without loading the model.

    Attributes:
        info: the model file.
        assignments: --set, as typed.
        posteriors: methods; empty for the model's own choice.
        inverses: names; empty for every rung of the ladder.
        num_obs: observations to simulate; None for as many looks as the verdicts need.
        num_weights: draws of the weights.
        seed: of everything random but the model's own parameters.
    """

    info: registry.ModelInfo
    assignments: tuple[str, ...]
    posteriors: tuple[str, ...]
    inverses: tuple[str, ...]
    num_obs: int | None
    num_weights: int
    seed: int

    def __post_init__(self):
        check_names("posterior", self.posteriors, METHODS)
        check_names("inverse", self.inverses, None if self.info.adds_inverses else RUNGS)
        settings = self.settings
        if self.num_weights > 1 and ("weights" in settings or self._first_weight_seed is None):
            raise Refusal(
                f"--num-weights {self.num_weights}: the weights of model {self.info.name} are not "
                f"drawn from a parameter {WEIGHT_SEED}; leave --num-weights out"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """--set, as arguments of `build`."""
        return parse_settings(self.info, self.assignments)

    @property
    def weight_seeds(self) -> list[int]:
        """The seeds of the weights: the one in force, and those that follow it."""
        first = self._first_weight_seed
        assert first is not None
        return list(range(first, first + self.num_weights))

    @property
    def _first_weight_seed(self) -> int | None:
        defaults = {parameter.name: parameter.default for parameter in self.info.parameters}
        default = defaults.get(WEIGHT_SEED)
        return self.settings.get(WEIGHT_SEED, None if default is None else int(default))

    @property
    def identity(self) -> dict[str, Any]:
        """What the run depends on, to know its checkpoints by."""
        command = shlex.join(self.command(self.posteriors))
        return {"command": command, "model_source": self.info.source}

    def command(self, methods: Sequence[str]) -> list[str]:
        """Words of the command that repeats it: every choice written out, but not the folder."""
        words = ["probrev", "compare", self.info.name]
        for option, values in (
            ("--set", self.assignments),
            ("--posterior", methods),
            ("--inverse", self.inverses),
            ("--num-obs", [] if self.num_obs is None else [self.num_obs]),
            ("--num-weights", [self.num_weights]),
            ("--seed", [self.seed]),
        ):
            for value in values:
                words += [option, str(value)]
        return words


def check_names(option: str, names: Sequence[str], known: Sequence[str] | None) -> None:
    """Raises ValueError for a name that is not known, where the known ones are, or is there twice.

    Args:
        option: without its dashes.
        names: as given.
        known: all that there are; None where they are not known yet.
    """
    for number, name in enumerate(names):
        if known is not None and name not in known:
            raise Refusal(
                f"--{option} {name}: unknown{registry.did_you_mean(name, known)}; "
                f"expected one of {', '.join(known)}"
            )
        if name in names[:number]:
            raise Refusal(f"--{option} {name}: given twice; give it once")
