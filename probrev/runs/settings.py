"""`--set name=value`: text turned into the arguments of a model's `build`."""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from probrev.plumbing.refusal import Refusal
from probrev.runs.registry import ModelInfo, ModelParameter, did_you_mean

ARRAY_NAMES = ("Array", "ArrayLike", "ndarray", "NDArray")
SEQUENCE_NAMES = ("Sequence", "list", "tuple")


def parse_settings(info: ModelInfo, assignments: Sequence[str]) -> dict[str, Any]:
    """Values of the parameters that the user has set.

    Args:
        info: the model.
        assignments: "name=value" each; the value is read by the parameter's annotation.

    Raises:
        ValueError: not of that form, no such parameter, the same one twice, a value that its
            annotation does not allow, or a parameter without default left out.
    """
    known = {parameter.name: parameter for parameter in info.parameters}
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise Refusal(f"--set {assignment}: expected name=value")
        if name not in known:
            raise Refusal(
                f"--set {assignment}: model {info.name} has no parameter {name!r}"
                f"{did_you_mean(name, known)}; its parameters: {', '.join(known) or 'none'}"
            )
        if name in values:
            raise Refusal(f"--set {assignment}: {name} is set twice; give it once")
        values[name] = parse_value(known[name], text)
    missing = [name for name in known if known[name].default is None and name not in values]
    if missing:
        raise Refusal(
            f"model {info.name} needs {', '.join(missing)}: add "
            + " ".join(f"--set {name}=..." for name in missing)
        )
    return values


def parse_value(parameter: ModelParameter, text: str) -> Any:
    """Reads one value as the first alternative of the parameter's annotation that allows it.

    Without an annotation, a Python literal is read as such and anything else as text.

    Raises:
        ValueError: no alternative allows it, or a .npy file cannot be read.
    """
    if not parameter.annotation:
        return _literal(text)
    for annotation in _alternatives(ast.parse(parameter.annotation, mode="eval").body):
        try:
            return _parse_as(annotation, text)
        except _MismatchError:
            continue
    raise Refusal(f"{parameter.name}={text}: expected {parameter.annotation}, got {text!r}")


class _MismatchError(Exception):
    """The text is no value of this alternative."""


def _alternatives(annotation: ast.expr) -> list[ast.expr]:
    """The members of a union, text last, since text allows everything."""
    members = _members(annotation)
    return sorted(members, key=lambda member: _name(member) in ("str", "Path"))


def _members(annotation: ast.expr) -> list[ast.expr]:
    if isinstance(annotation, ast.BinOp):
        return _members(annotation.left) + _members(annotation.right)
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return _members(ast.parse(annotation.value, mode="eval").body)
    if isinstance(annotation, ast.Subscript) and _name(annotation) == "Optional":
        return [*_members(annotation.slice), ast.Constant(None)]
    return [annotation]


def _parse_as(annotation: ast.expr, text: str) -> Any:
    name = _name(annotation)
    if name in ARRAY_NAMES or _is_shaped_array(annotation):
        return _array(text)
    if isinstance(annotation, ast.Subscript) and name == "Literal":
        return _one_of(ast.literal_eval(annotation.slice), text)
    if isinstance(annotation, ast.Subscript) and name in SEQUENCE_NAMES:
        item = annotation.slice
        item = item.elts[0] if isinstance(item, ast.Tuple) else item
        return tuple(_parse_as(item, part.strip()) for part in text.split(","))
    match name:
        case "int" | "float":
            return _number(int if name == "int" else float, text)
        case "bool":
            return _one_of((True, False), text.capitalize())
        case "None":
            return _one_of((None,), text.capitalize())
        case "str":
            return text
        case "Path":
            return Path(text)
    raise _MismatchError


def _name(annotation: ast.expr) -> str:
    """Last part of a type's name: "Array" of `jax.Array`, "tuple" of `tuple[int, ...]`."""
    if isinstance(annotation, ast.Subscript):
        return _name(annotation.value)
    if isinstance(annotation, ast.Attribute):
        return annotation.attr
    return ast.unparse(annotation)


def _is_shaped_array(annotation: ast.expr) -> bool:
    """Whether it is a jaxtyping annotation: `Float[Array, "visible hidden"]`."""
    return (
        isinstance(annotation, ast.Subscript)
        and isinstance(annotation.slice, ast.Tuple)
        and _name(annotation.slice.elts[0]) in ARRAY_NAMES
    )


def _number(kind: type, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise _MismatchError from None


def _one_of(values: Any, text: str) -> Any:
    values = values if isinstance(values, tuple) else (values,)
    for value in values:
        if str(value) == text:
            return value
    raise _MismatchError


def _array(text: str) -> Any:
    """The array in a .npy file; any other text must be a number."""
    if not text.endswith(".npy"):
        return _number(float, text)
    import numpy as np

    try:
        array = np.load(text, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise Refusal(f"cannot read the array file {text}: {error}") from error
    if not isinstance(array, np.ndarray):
        raise Refusal(f"{text} holds several arrays: save one with numpy.save")
    return array


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
