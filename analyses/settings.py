"""What a user can set of an analysis: `--set name=value`, and what `--help` says of it."""

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from probrev.runs.registry import ModelParameter, describe, did_you_mean
from probrev.runs.settings import parse_value

Sizes = Mapping[str, Mapping[str, Any]]
SCALARS = (int, float, bool, str, Path, NoneType)
CONTAINERS = (tuple, list, Sequence, Union, UnionType)


class Settings(NamedTuple):
    """The arguments of a `compute`, by what text can say of them.

    Attributes:
        own: those that can be given as text, by name.
        mute: names of those that cannot.
        model: the named model whose parameters `compute` takes too; "" if it takes none.
        parameters: those of the model, by name.
        lengths: how many values the text of a setting must have, where that is not free.
    """

    own: Mapping[str, ModelParameter]
    mute: Sequence[str]
    model: str
    parameters: Mapping[str, ModelParameter]
    lengths: Mapping[str, int]


def list_settings(
    compute: Callable[..., None], model: str = "", without: Sequence[str] = ()
) -> Settings:
    """Reads them off the signature of `compute`, and off the source of the model.

    Args:
        compute: what it takes by keyword can be set.
        model: named model whose parameters it takes by `**`.
        without: of those, the ones that it chooses itself.
    """
    doc = inspect.getdoc(compute) or ""
    meanings = dict(re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", doc, re.M))
    taken = inspect.signature(compute).parameters.values()
    named = {one.name: one for one in taken if one.kind is one.KEYWORD_ONLY}
    own = {
        name: ModelParameter(
            name=name,
            annotation=_source(one.annotation),
            default=None if one.default is one.empty else write_value(one.default),
            meaning=" ".join(meanings.get(name, "").split()),
        )
        for name, one in named.items()
        if _is_text(one.annotation)
    }
    taken_from_model = describe(model).parameters if model else ()
    parameters = {one.name: one for one in taken_from_model if one.name not in {*without, *named}}
    lengths = {name: len(get_args(named[name].annotation)) for name in own if _is_row(named[name])}
    return Settings(own, [name for name in named if name not in own], model, parameters, lengths)


def parse_settings(settings: Settings, assignments: Sequence[str]) -> dict[str, Any]:
    """Values of the arguments that the user has set.

    Raises:
        ValueError: not of the form name=value, no such argument, one that text cannot give, the
            same one twice, or a value that its annotation does not allow.
    """
    known = {**settings.parameters, **settings.own}
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        can = f"what can be set: {', '.join([*settings.own, *settings.parameters]) or 'nothing'}"
        if not equals:
            raise ValueError(f"--set {assignment}: expected name=value; {can}")
        if name in settings.mute:
            raise ValueError(f"--set {assignment}: {name} cannot be given as text; {can}")
        if name not in known:
            close = did_you_mean(name, known)
            raise ValueError(f"--set {assignment}: nothing is called {name!r}{close}; {can}")
        if name in values:
            raise ValueError(f"--set {assignment}: {name} is set twice; give it once")
        values[name] = parse_value(known[name], text)
        if name in settings.lengths and len(values[name]) != settings.lengths[name]:
            raise ValueError(f"{assignment}: expected {known[name].annotation}, got {text!r}")
    return values


def describe_settings(settings: Settings, sizes: Sizes) -> str:
    """What can be set, with the values at every size."""
    lines = [f"what --set changes, with its values at the size {' or '.join(sizes)}:"]
    lines += [_describe(one, sizes) for one in settings.own.values()]
    if settings.parameters:
        lines.append(f"parameters of the model {settings.model}:")
        lines += [_describe(one, {}) for one in settings.parameters.values()]
    if settings.mute:
        lines.append(f"not from the command line: {', '.join(settings.mute)}")
    return "\n".join(lines)


def _describe(one: ModelParameter, sizes: Sizes) -> str:
    at = {
        size: write_value(given[one.name]) if one.name in given else one.default
        for size, given in sizes.items()
    } or {"": one.default}
    values = dict.fromkeys(at.values())
    if len(values) == 1:
        shown = str(*values)
    else:
        shown = " or ".join(f"{value} ({size})" for size, value in at.items())
    text = f"{one.name}={shown}  {one.meaning}".rstrip()
    return textwrap.fill(text, 98, initial_indent="  ", subsequent_indent=" " * 6)


def write_value(value: Any) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, tuple | list):
        return ",".join(map(write_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _source(annotation: Any) -> str:
    """As one would write it, without the modules that its names are from."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return re.sub(r"\b(typing|pathlib|collections\.abc)\.", "", text)


def _is_text(annotation: Any) -> bool:
    """Whether text can be read as that type: numbers, words, paths, and rows of one of these."""
    if get_origin(annotation) is None:
        return annotation in SCALARS
    inner = [one for one in get_args(annotation) if one is not Ellipsis]
    return get_origin(annotation) is Literal or (
        get_origin(annotation) in CONTAINERS and all(map(_is_text, inner))
    )


def _is_row(parameter: inspect.Parameter) -> bool:
    """Whether it is a tuple of so many values."""
    is_tuple = get_origin(parameter.annotation) is tuple
    return is_tuple and Ellipsis not in get_args(parameter.annotation)
