"""`--set name=value`: text turned into the arguments of a model's `build`."""

import ast
import math
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from probrev.plumbing.paths import check_path
from probrev.plumbing.refusal import Refusal
from probrev.runs.registry import ModelInfo, ModelParameter, did_you_mean

ARRAY_NAMES = ("Array", "ArrayLike", "ndarray", "NDArray")
# Of these a number is none.
FILE_NAMES = ("ndarray", "NDArray")
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
    name = parameter.name
    if not parameter.annotation:
        return _literal(name, text)
    try:
        alternatives = _alternatives(ast.parse(parameter.annotation, mode="eval").body)
        for annotation in alternatives:
            try:
                return _parse_as(annotation, text)
            except _MismatchError:
                continue
    except Refusal as error:
        raise Refusal(f"{name}: {error}") from error
    except UNREADABLE as error:
        raise Refusal(
            f"{name}: the model file annotates it as {parameter.annotation}, which --set cannot "
            f"read: {error}"
        ) from None
    wanted = " | ".join(_wanted(one) for one in alternatives)
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    raise Refusal(f"{name}={text}: expected {wanted}, got {text!r}")


def check_value(parameter: ModelParameter, value: Any) -> None:
    """Raises ValueError for a value, not text, that the parameter's annotation does not allow.

    Without an annotation, or under one that is not known here, only numbers are looked at: they
    must be finite.
    """
    try:
        annotation = ast.parse(parameter.annotation or "object", mode="eval").body
        fits = any(_allows(one, value) for one in _members(annotation))
    except UNREADABLE as error:
        raise Refusal(
            f"{parameter.name}: the model file annotates it as {parameter.annotation}, which "
            f"cannot be read: {error}"
        ) from None
    if not fits:
        wanted = parameter.annotation or "a finite number, text or a list of them"
        raise Refusal(f"{parameter.name}: expected {wanted}, got {reprlib.repr(value)}")


def _allows(annotation: ast.expr, value: Any) -> bool:
    """Whether a value that is no text is one of an alternative."""
    name = _name(annotation)
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_finite = is_number and math.isfinite(value)
    items = list(value) if isinstance(value, list | tuple) else None
    if isinstance(annotation, ast.Subscript) and name in SEQUENCE_NAMES and items is not None:
        item = annotation.slice
        item = item.elts[0] if isinstance(item, ast.Tuple) else item
        return all(isinstance(one, str) or _allows(item, one) for one in items)
    if name in ARRAY_NAMES or _shape_of(annotation) is not None:
        return is_finite or _is_real(value)
    match name:
        case "int":
            return is_finite and isinstance(value, int)
        case "float":
            return is_finite
        case "bool":
            return isinstance(value, bool)
        case "None":
            return value is None
        case "str" | "Path":
            return isinstance(value, Path)
        case "Literal":
            choices = annotation.slice if isinstance(annotation, ast.Subscript) else annotation
            return any(
                value == one and type(value) is type(one)
                for one in _tuple(ast.literal_eval(choices))
            )
    if name in SEQUENCE_NAMES:
        return items is not None
    return not is_number or is_finite


def _is_real(value: Any) -> bool:
    """Whether it is an array of finite numbers, or lists of them."""
    import numpy as np

    try:
        return bool(np.isfinite(np.asarray(value, dtype=float)).all()) and np.ndim(value) > 0
    except (TypeError, ValueError):
        return False


def _tuple(values: Any) -> tuple[Any, ...]:
    return values if isinstance(values, tuple) else (values,)


# No more of a value is repeated.
LONGEST = 60


class _MismatchError(Exception):
    """The text is no value of this alternative."""


# What a broken annotation raises where it is taken apart.
UNREADABLE = (AttributeError, IndexError, MemoryError, RecursionError, SyntaxError, ValueError)


def _wanted(annotation: ast.expr) -> str:
    """An alternative in words."""
    if _shape_of(annotation) is not None or _name(annotation) in FILE_NAMES:
        return "the path of a .npy file with an array"
    return ast.unparse(annotation)


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
    shape = _shape_of(annotation)
    if name in ARRAY_NAMES or shape is not None:
        is_file = shape is not None or name in FILE_NAMES
        return _array(text, shape) if text.endswith(".npy") or is_file else _number(float, text)
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


def _shape_of(annotation: ast.expr) -> str | None:
    """The shape in a jaxtyping annotation, `Float[Array, "visible hidden"]`; None of another."""
    parts = annotation.slice if isinstance(annotation, ast.Subscript) else None
    if not isinstance(parts, ast.Tuple) or _name(parts.elts[0]) not in ARRAY_NAMES:
        return None
    shape = ast.literal_eval(parts.elts[1])
    return shape if isinstance(shape, str) else ""


def _number(kind: type, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise _MismatchError from None


def _one_of(values: Any, text: str) -> Any:
    for value in _tuple(values):
        if str(value) == text:
            return value
    raise _MismatchError


def _array(text: str, shape: str | None) -> Any:
    """The array in a .npy file: numbers, all of them finite, of as many axes as the shape names."""
    if not text.endswith(".npy"):
        raise _MismatchError
    check_path("the array file", text)
    import numpy as np

    from probrev.nets.weights.npy_files import read_npy_file

    try:
        if not Path(text).is_file():
            raise Refusal("no such file")
        array = read_npy_file(text).copy()
    except (OSError, ValueError, MemoryError) as error:
        raise Refusal(f"cannot read the array file {text}: {error}") from error
    axes = [] if shape is None else shape.split()
    if axes and "..." not in axes and len(axes) != array.ndim:
        raise Refusal(f"{text}: expected an array ({', '.join(axes)}); got shape {array.shape}")
    if not array.size or not np.isfinite(array).all():
        what = "NaN or infinity" if array.size else f"shape {array.shape}"
        raise Refusal(f"{text}: expected finite numbers, at least one; got {what}")
    return array


def _literal(name: str, text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        if text.startswith(("[", "(", "{")):
            raise Refusal(f"{name}={reprlib.repr(text)} is no value of Python: {error}") from None
        return text
