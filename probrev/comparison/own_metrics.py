"""Metrics that a user gives: read at the door, measured beside the built-in ones."""

import functools
import inspect
import re
from collections.abc import Mapping
from typing import Any

import xarray as xr

from probrev.comparison.glossary import SENTENCES
from probrev.comparison.metrics import FAMILIES
from probrev.comparison.metrics.case import NAME, POSTERIOR, Case, Measured, Row, row_of_mean
from probrev.comparison.metrics.family import Metric, MetricFamily
from probrev.plumbing.arrays import check_real
from probrev.plumbing.refusal import Refusal, TypeRefusal

RETURNED = "a DataArray with dims ('inverse',) or ('inverse', 'obs'), or pr.Measured"


def read_metrics(given: Mapping[str, Metric | MetricFamily] | None) -> dict[str, MetricFamily]:
    """Metrics as families by name: a function as one whose only sentence is of its docstring.

    Args:
        given: see `compare`.

    Raises:
        TypeError: one is no function or family.
        ValueError: a name is taken, or a sentence is missing.
    """
    if not isinstance(given, Mapping | None):
        raise TypeRefusal(
            f"metrics must be functions or pr.MetricFamily by name; got {type(given).__name__}"
        )
    families: dict[str, MetricFamily] = {}
    taken = {*SENTENCES, *FAMILIES}
    for name, one in (given or {}).items():
        _check_name(name)
        families[name] = _as_family(name, one)
        names = {name, *families[name].sentences}
        if names & taken:
            raise Refusal(
                f"metrics[{name!r}]: {min(names & taken)!r} is built in or given already: choose "
                "another name"
            )
        taken |= names
    return families


def measure_own(case: Case, families: Mapping[str, MetricFamily]) -> dict[str, Measured]:
    """What each of a user's families finds, checked.

    Args:
        case: the posterior, and what is held against it.
        families: what `read_metrics` made of them.

    Raises:
        TypeError: one returns something else than figures.
        ValueError: one raises, or its figures do not fit; says which.
    """
    found = {}
    for name, family in families.items():
        try:
            one = family.measure(case)
        except Exception as error:
            raise Refusal(f"metric {name!r} raised {type(error).__name__}: {error}") from error
        if isinstance(one, xr.DataArray):
            one = _tabulate(name, one, case, family)
        if not isinstance(one, Measured):
            raise TypeRefusal(f"metric {name!r} must return {RETURNED}; got {type(one).__name__}")
        arrays = _check_arrays(name, one.arrays)
        found[name] = Measured(arrays, _check_rows(name, one.rows, case, family))
    return found


def _as_family(name: str, given: Any) -> MetricFamily:
    """A family as it is, and a function with its docstring."""
    if isinstance(given, MetricFamily):
        family = given
    else:
        family = MetricFamily(given, {name: _first_paragraph(given)})
    if not callable(family.measure):
        raise TypeRefusal(
            f"metrics[{name!r}] must be a function of a pr.Case, or a pr.MetricFamily of one; got "
            f"{type(family.measure).__name__}"
        )
    for metric, sentence in family.sentences.items():
        _check_name(metric)
        if not isinstance(sentence, str) or not sentence.strip():
            raise Refusal(
                f"metrics[{name!r}] says nothing for the glossary of the report: write a "
                f"docstring, or give pr.MetricFamily(function, {{{metric!r}: 'What it is.'}})"
            )
    if not family.sentences:
        raise Refusal(f"metrics[{name!r}] has no sentences: give one for each of its metrics")
    return family


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Refusal(f"names of metrics must match {NAME.pattern}; got {name!r}")


def _first_paragraph(function: Any) -> str:
    """Of its docstring, in one line; empty without one."""
    while isinstance(function, functools.partial):  # its own docstring is about partials
        function = function.func
    return " ".join(re.split(r"\n\s*\n", inspect.getdoc(function) or "")[0].split())


def _tabulate(name: str, figures: xr.DataArray, case: Case, family: MetricFamily) -> Measured:
    """Figures of a single metric: one per inverse, or one per inverse and observation."""
    if len(family.sentences) > 1:
        raise Refusal(
            f"metric {name!r} returned a DataArray, but has sentences for "
            f"{', '.join(family.sentences)}: return pr.Measured with rows of each"
        )
    if {*figures.dims} not in ({"inverse"}, {"inverse", "obs"}):
        raise Refusal(f"metric {name!r} must return {RETURNED}; got dims {figures.dims}")
    check_real(f"what metric {name!r} returns", figures.data)
    for dim in figures.dims:
        _check_labels(name, str(dim), figures, case)
    figures = figures.sel({dim: case.estimates[dim] for dim in figures.dims}).copy()
    (metric,) = family.sentences
    rows = []
    for inverse in case.estimates["inverse"].to_numpy():
        own = figures.sel(inverse=inverse).to_numpy()
        if own.ndim:
            rows.append(row_of_mean(metric, inverse, own))
        else:
            rows.append(Row(metric, inverse, float(own)))
    return Measured({metric: figures}, rows)


def _check_labels(name: str, dim: str, figures: xr.DataArray, case: Case) -> None:
    """Raises ValueError unless each of the case's inverses, or observations, has its figure."""
    wanted = case.estimates.indexes[dim]
    if dim not in figures.indexes:
        raise Refusal(
            f"metric {name!r} has no labels along {dim}: take the coordinate of case.estimates"
        )
    labels = figures.indexes[dim]
    missing = [*wanted.difference(labels, sort=False)]
    if missing:
        raise Refusal(f"metric {name!r} has no figure for {dim} {missing[0]!r}")
    if len(labels) > len(wanted):
        raise Refusal(
            f"metric {name!r} has {len(labels)} figures along {dim}; case.estimates has "
            f"{len(wanted)}"
        )


def _check_arrays(name: str, arrays: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Arrays as the file of the run can hold them."""
    for key, array in arrays.items():
        if not isinstance(array, xr.DataArray) or not NAME.fullmatch(key):
            raise TypeRefusal(
                f"arrays of metric {name!r} must be DataArrays by name, letters and digits; got "
                f"{type(array).__name__} under {key!r}"
            )
        check_real(f"array {key!r} of metric {name!r}", array.data)
    kept = {key: array.as_numpy().reset_coords(drop=True).copy() for key, array in arrays.items()}
    try:
        return {str(key): array for key, array in xr.Dataset(kept).items()}
    except ValueError as error:
        raise Refusal(f"arrays of metric {name!r} do not fit together: {error}") from error


def _check_rows(name: str, rows: list[Row], case: Case, family: MetricFamily) -> list[Row]:
    """Rows with plain numbers, each of another metric or subject."""
    samplers = [] if case.samples is None else case.samples["sampler"].to_numpy()
    subjects = {POSTERIOR, *case.estimates["inverse"].to_numpy(), *samplers}
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        if not isinstance(row, Row):
            raise TypeRefusal(f"rows of metric {name!r} must be pr.Row; got {type(row).__name__}")
        if row.metric not in family.sentences:
            raise Refusal(
                f"metric {name!r} has a row of {row.metric!r}, and no sentence says what that is: "
                "give a pr.MetricFamily with a sentence for every metric"
            )
        if row.subject not in subjects:
            raise Refusal(
                f"metric {name!r} has a row of subject {row.subject!r}; it must be an inverse or "
                f"{POSTERIOR!r}"
            )
        if row[:2] in found:
            raise Refusal(f"metric {name!r} has two rows of {row.metric!r}, {row.subject!r}")
        try:
            numbers = [float(number) for number in row[2:]]
        except (TypeError, ValueError):
            raise TypeRefusal(f"figures of metric {name!r} must be numbers; got {row}") from None
        found[row[:2]] = Row(row.metric, str(row.subject), *numbers)
    return [*found.values()]
