"""A saved run, read with its models."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from probrev.comparison.comparison import Comparison, read
from probrev.comparison.models import MODELS, Models, StoredModels
from probrev.plumbing import door
from probrev.plumbing.refusal import Refusal, taken_for
from probrev.runs import registry
from probrev.runs.fault import cause

GIVE_IT = "give pr.load, or pr.verify, the model itself"


@door.guard(path=door.path)
def load(path: str | Path, *, model: Any = None) -> Comparison:
    """Reads a comparison that `Comparison.save` wrote, with its models.

    Models of built-in kinds are made again from their numbers, each posterior's own. One with
    functions in it, such as a prior that is a program, is made again by the model file that the run
    names, if that has the text which the run has, and only then is the file run. What was made is
    held against what was saved, its class, its numbers and what it simulates, and is left out where
    they differ: `result.model` and `result.posteriors["gibbs"].model` are None then, and
    `result.models.why_unknown` says why.

    Args:
        path: a run.nc.
        model: for what cannot be made again, the model itself; or several, by the names of the
            posteriors that were computed under them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a saved comparison, or `model` is none of the run's; says in
            what it differs.
    """
    return with_models(read(path), path, model)


def with_models(result: Comparison, path: str | Path, model: Any = None) -> Comparison:
    """A comparison as it was read, with its models; see `load`."""
    if MODELS not in result.tree:
        if model is not None:
            raise Refusal(f"{path} has nothing to hold a model against")
        return replace(result, models=Models(why_unknown="the run was saved without its models"))
    with taken_for(path, "a saved comparison"):
        stored = StoredModels(result.tree[MODELS].to_dataset())
        for name in (None, *result.posteriors):
            stored.number_of(name)
    if isinstance(model, Mapping):
        for name, one in model.items():
            if name not in result.posteriors:
                raise Refusal(f"model names {name!r}, which is none of the run's posteriors")
            stored.offer(stored.number_of(name), one)
    elif model is not None:
        _offer_anywhere(stored, model)
    with taken_for(path, "a saved comparison"):
        _run_source(stored, {str(name): value for name, value in result.tree.attrs.items()})
        return replace(result, models=stored.models())


def _offer_anywhere(stored: StoredModels, model: Any) -> None:
    """Takes a model for the one of the run that it is: that of x, or else one that is unknown."""
    first = stored.number_of()
    others = [number for number in stored.unknown if number != first]
    refusals = []
    for number in (first, *others):
        try:
            stored.offer(number, model)
        except ValueError as error:
            refusals.append(str(error))
    if len(refusals) == 1 + len(others):
        raise Refusal("; ".join(dict.fromkeys(refusals)))


def _run_source(stored: StoredModels, provenance: Mapping[str, str]) -> None:
    """Makes what is not known by the model file that the run names."""
    if not stored.unknown or stored.is_too_wide:
        return
    try:
        made = _build(provenance)
    except ValueError as error:
        for number in stored.unknown:
            stored.explain(number, str(error))
        return
    for number in stored.unknown:
        try:
            stored.offer(number, made)
        except ValueError as error:
            stored.explain(number, f"made again by its file: {error}")


def _build(provenance: Mapping[str, str]) -> Any:
    """The model of the run's file, with the run's parameters.

    Raises:
        ValueError: the run names no file, it is not there, or it is not as it was.
    """
    if not {"model", "model_source", "parameters"} <= provenance.keys():
        raise Refusal(f"{GIVE_IT}: pr.load(path, model=...)")
    name, source, parameters = (
        json.loads(provenance[key]) for key in ("model", "model_source", "parameters")
    )
    if registry.describe(name).source != source:
        raise Refusal(f"model file {name} is not as it was; {GIVE_IT}")
    arrays = [key for key, value in parameters.items() if isinstance(value, dict)]
    if arrays:
        raise Refusal(f"the run has {arrays[0]} by its hash only; {GIVE_IT}")
    build = registry.load(name)
    try:
        return build(**parameters)
    except (Exception, SystemExit) as error:
        raise Refusal(f"model file {name}: {cause(error, typed=True)}") from error
