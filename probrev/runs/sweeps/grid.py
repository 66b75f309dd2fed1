"""What a sweep covers: every combination of parameter values, posterior and seed."""

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from probrev.inference.methods import METHODS
from probrev.inverses.rung_names import RUNGS
from probrev.plumbing.limits import MOST_COUNT
from probrev.plumbing.paths import check_path
from probrev.plumbing.readable import readable
from probrev.plumbing.refusal import Refusal
from probrev.runs import registry
from probrev.runs.settings import check_value, parse_value

# Names that the result uses for something else.
TAKEN = ("posterior", "seed", "inverse", "subject", "cell", "batch")
# More than a store, and whoever reads it, can hold.
MOST_CELLS = 10**6
DEFAULT_INVERSES = ("universal", "calibrated")


class Cell(NamedTuple):
    """One comparison of a sweep.

    Attributes:
        parameters: arguments of the model's `build`.
        method: inference method of the posterior.
        seed: of the observations, the nets and the sampler, and of the weights where they are
            drawn.
    """

    parameters: dict[str, Any]
    method: str
    seed: int


@readable
@dataclass(frozen=True)
class Grid:
    """A grid of independent comparisons: axes x posteriors x seeds, the seed running fastest.

    Attributes:
        model: a named model, or a path to a .py file with a function build.
        axes: values of each swept parameter of `build`, by name.
        fixed: values of parameters that stay the same.
        posteriors: inference methods ("exact", "gibbs", "hmc", "message_passing").
        inverses: rungs of the ladder, or inverses of the model file, to hold against each
            posterior.
        num_seeds: cells that differ in their seed alone: each draws its own weights (where the
            model has a parameter weight_seed that is not set) and observations.
        num_obs: observations per cell.
        settings: further arguments of a method, by its name.
        batch_size: cells that are computed, written and resumed together.

    Raises:
        ValueError: an unknown model, parameter, method or setting, or an axis without values.
    """

    model: str
    axes: Mapping[str, Sequence[Any] | np.ndarray]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    posteriors: tuple[str, ...] = ("exact",)
    inverses: tuple[str, ...] = DEFAULT_INVERSES
    num_seeds: int = 1
    num_obs: int = 32
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    batch_size: int = 10

    def __post_init__(self):
        if not isinstance(self.model, str):
            raise Refusal(f"model must be the name or the path of a model; got {self.model!r}")
        for name in ("posteriors", "inverses"):
            given = getattr(self, name)
            if not isinstance(given, list | tuple) or not all(isinstance(a, str) for a in given):
                raise Refusal(f"{name} must be a list of names; got {given!r}")
            object.__setattr__(self, name, tuple(given))
            _check_values(name, given)
        for name in ("axes", "fixed", "settings"):
            if not isinstance(getattr(self, name), Mapping):
                raise Refusal(f"{name} must be a table; got {getattr(self, name)!r}")
        for method, arguments in self.settings.items():
            if not isinstance(arguments, Mapping):
                raise Refusal(f"settings of {method} must be a table; got {arguments!r}")
        for method in (*self.posteriors, *self.settings):
            if method not in METHODS:
                raise Refusal(
                    f"unknown method {method!r}{registry.did_you_mean(method, METHODS)}; "
                    f"expected one of {', '.join(METHODS)}"
                )
        for name in ("num_seeds", "num_obs", "batch_size"):
            value = getattr(self, name)
            is_whole = isinstance(value, int) and not isinstance(value, bool)
            if not is_whole or value < 1:
                raise Refusal(f"{name} must be a whole number, at least 1; got {value!r}")
            if value > MOST_COUNT:
                raise Refusal(f"{name} must be at most {MOST_COUNT}; got {value}")
        axes = {name: _listed(name, values) for name, values in self.axes.items()}
        object.__setattr__(self, "axes", axes)
        object.__setattr__(self, "fixed", dict(self.fixed))
        self._check_parameters()
        for name in () if self.info.adds_inverses else self.inverses:
            if name not in RUNGS:
                raise Refusal(
                    f"unknown inverse {name!r}{registry.did_you_mean(name, RUNGS)}; expected one "
                    f"of {', '.join(RUNGS)}"
                )
        for method in self.settings:
            if method not in self.posteriors:
                raise Refusal(f"settings has {method!r}, which is none of the posteriors")
        if self.num_cells > MOST_CELLS:
            raise Refusal(f"the grid has {self.num_cells} cells; expected at most {MOST_CELLS}")

    def _check_parameters(self) -> None:
        for name, values in self.axes.items():
            _check_values(f"axis {name}", values)
            for value in values:
                self.read(name, value)
        for name, value in self.fixed.items():
            self.read(name, value)
        for clash in sorted(set(self.axes) & set(self.fixed)):
            raise Refusal(f"{clash} is both an axis and fixed: leave one out")
        for clash in sorted(set(self.axes) & set(TAKEN)):
            raise Refusal(f"an axis cannot be named {clash!r}: the result has one such")
        given = {**self.axes, **self.fixed}
        for parameter in self.info.parameters:
            if parameter.default is None and parameter.name not in given:
                raise Refusal(f"model {self.model} needs {parameter.name}: add it to `fixed`")

    @cached_property
    def info(self) -> registry.ModelInfo:
        """What the source of the model says about it."""
        return registry.describe(self.model)

    @property
    def shape(self) -> dict[str, int]:
        """Length of every dimension of the grid, the slowest first."""
        sizes = {name: len(values) for name, values in self.axes.items()}
        return {**sizes, "posterior": len(self.posteriors), "seed": self.num_seeds}

    @property
    def coords(self) -> dict[str, list[Any]]:
        """Values along every dimension."""
        values = {name: list(values) for name, values in self.axes.items()}
        return {**values, "posterior": list(self.posteriors), "seed": list(range(self.num_seeds))}

    @property
    def num_cells(self) -> int:
        """Cells in all."""
        return math.prod(self.shape.values())

    @property
    def num_batches(self) -> int:
        """Batches in all; the last may have fewer cells."""
        return math.ceil(self.num_cells / self.batch_size)

    def cells_of(self, batch: int) -> range:
        """Numbers of the cells in a batch."""
        start = batch * self.batch_size
        return range(start, min(start + self.batch_size, self.num_cells))

    def cell(self, number: int) -> Cell:
        """The cell of that number."""
        found = {}
        for name, size in reversed(self.shape.items()):
            number, place = divmod(number, size)
            found[name] = self.coords[name][place]
        method, seed = found.pop("posterior"), found.pop("seed")
        given = {**self.fixed, **found}
        parameters = {name: self.read(name, value) for name, value in given.items()}
        names = {parameter.name for parameter in self.info.parameters}
        if registry.WEIGHT_SEED in names and parameters.get("weights") is None:
            parameters.setdefault(registry.WEIGHT_SEED, seed)
        return Cell(parameters, method, seed)

    def as_json(self) -> str:
        """All of it as text, to keep beside the results."""
        return json.dumps(asdict(self), default=str)

    def read(self, name: str, value: Any) -> Any:
        """A parameter's value; text is read as --set reads it."""
        known = {parameter.name: parameter for parameter in self.info.parameters}
        if name not in known:
            raise Refusal(
                f"model {self.model} has no parameter {name!r}"
                f"{registry.did_you_mean(name, known)}; "
                f"its parameters: {', '.join(known) or 'none'}"
            )
        if isinstance(value, str):
            return parse_value(known[name], value)
        check_value(known[name], value)
        return value


def read_grid(path: str | Path) -> Grid:
    """Reads a grid from a TOML file, whose keys are the attributes of `Grid`.

    Raises:
        ValueError: the file is missing, is no TOML, or has a key that a grid has not.
    """
    check_path("path", path)
    path = Path(path)
    try:
        if not path.is_file():
            raise Refusal("no such file")
        if path.stat().st_size > registry.MOST_BYTES:
            raise Refusal(f"it has {path.stat().st_size} bytes")
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Refusal(f"cannot read the grid {path}: {said}") from error
    known = [one.name for one in fields(Grid)]
    for name in found:
        if name not in known:
            raise Refusal(
                f"{path}: unknown key {name!r}{registry.did_you_mean(name, known)}; "
                f"a grid has {', '.join(known)}"
            )
    for name in ("model", "axes"):
        if name not in found:
            raise Refusal(f"{path}: a grid needs {name!r}")
    try:
        return Grid(**found)
    except ValueError as error:
        raise Refusal(f"{path}: {error}") from error


def _listed(name: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, str) or not hasattr(values, "__len__"):
        raise Refusal(f"axis {name} must be a list of values; got {values!r}")
    return tuple(np.asarray(values).tolist() if isinstance(values, np.ndarray) else values)


def _check_values(name: str, values: Sequence[Any] | np.ndarray) -> None:
    if len(values) == 0:
        raise Refusal(f"{name} has no values")
    known = set()
    for value in values:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        one = value if is_number else str(value)  # 1 and 1.0 are one value
        if one in known:
            raise Refusal(f"{name} has {value} twice")
        known.add(one)
