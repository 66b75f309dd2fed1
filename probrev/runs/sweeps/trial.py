"""A grid, tried before anything is written: models are built, settings held against methods."""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from probrev.inference.choice import check_settings, estimate_seconds
from probrev.plumbing.refusal import Refusal
from probrev.runs import registry
from probrev.runs.built_model import BuiltModel, build_model
from probrev.runs.fault import refusing
from probrev.runs.sweeps.grid import Grid


def try_grid(grid: Grid) -> str:
    """Builds a model for every value of every axis; says how much there is to do, and how long.

    Of other parameters the first values are taken, or the last ones where those are refused: a
    cell that only some combination makes impossible is a row with its error.

    Returns:
        "4 cells in 1 batch, about 1 min".

    Raises:
        ValueError: a value that build refuses, an inverse that no model has, or a setting that
            its method does not take.
    """
    for method, settings in grid.settings.items():
        check_settings(method, settings)
    with refusing(grid.model, grid.info.path):
        build = registry.load(grid.model)
    models = [_built(grid, build, *one) for one in _values(grid)]
    known = models[0].inverse_names
    for name in grid.inverses:
        if name not in known:
            raise Refusal(
                f"unknown inverse {name!r}{registry.did_you_mean(name, known)}; expected one of "
                f"{', '.join(known)}"
            )
    seconds = [_seconds(grid, one.model, method) for one in models for method in grid.posteriors]
    about = sum(seconds) / len(seconds) * grid.num_cells * grid.num_obs
    batches = f"{grid.num_batches} batch{'es' if grid.num_batches > 1 else ''}"
    long = f", about {max(1, math.ceil(about / 60))} min" if math.isfinite(about) else ""
    cells = f"{grid.num_cells} cell{'s' if grid.num_cells > 1 else ''}"
    return f"{cells} in {batches}{long}"


def _values(grid: Grid) -> Iterator[tuple[str, Any]]:
    """Each value of each axis; one without a name where there are no axes."""
    yield from ((name, value) for name, values in grid.axes.items() for value in values)
    if not grid.axes:
        yield "", None


def _built(grid: Grid, build: registry.Build, axis: str, value: Any) -> BuiltModel:
    first, last = (grid.cell(number).parameters for number in (0, grid.num_cells - 1))
    own: Mapping[str, Any] = {axis: grid.read(axis, value)} if axis else {}
    about = f"axis {axis} = {value!r}: " if axis else ""
    with refusing(grid.model, grid.info.path, about):
        try:
            return build_model(build, {**first, **own})
        except Exception:
            with suppress(Exception):
                return build_model(build, {**last, **own})
            raise


def _seconds(grid: Grid, model: Any, method: str) -> float:
    """About how long a cell's observation takes; NaN where that is not known or it is refused."""
    try:
        return estimate_seconds(method, model)
    except ValueError:
        return math.nan
