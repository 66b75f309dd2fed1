"""How objects are shown to people: in a line, and as a small table in a notebook.

No array is shown whole, whatever it is in: only its type and shape.
"""

import html
import re
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from probrev.plumbing.fields import FIELDS, parameters_of, values_of

if TYPE_CHECKING:
    import pandas as pd

# The longest line, and text in a line; objects in objects that a line has room for.
LONGEST, LONGEST_TEXT, DEEPEST = 190, 60, 4
# Entries of a list that a line shows, and rows of a table.
MOST_ENTRIES, MOST_ROWS = 3, 20
# Where the `__repr__` of NumPyro's distributions is, which says no more than shapes.
NUMPYRO = ("numpyro.distributions.distribution",)


class Table(NamedTuple):
    """What a notebook shows of an object.

    Attributes:
        caption: a sentence above it.
        rows: values by name, or a table.
    """

    caption: str
    rows: "Mapping[str, Any] | pd.DataFrame"


def readable[T](cls: type[T]) -> type[T]:
    """Lets a class print in a line, and show as a small table in a notebook.

    By its fields, where it does not say how itself: by `__repr__`, and by a method `_table` that
    returns a `Table`.
    """
    if _is_generated(vars(cls).get("__repr__")):
        cls.__repr__ = _line
    cls._repr_html_ = _as_html  # pyright: ignore[reportAttributeAccessIssue]
    return cls


def summarize(value: Any, longest: int = LONGEST) -> str:
    """Any value in a line: by its parts, as deep as there is room for."""
    text = ""
    for depth in range(DEEPEST, -2, -1):
        text = _text(value, depth)
        if len(text) <= longest:
            return text
    return cut(text, longest)


def cut(text: str, longest: int = LONGEST) -> str:
    """A text in a line, its end left out if it is too long."""
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 4]} ..."


def _line(self: Any) -> str:
    return summarize(self)


def _as_html(self: Any) -> str:
    """A caption and a table, with all that comes from a user escaped."""
    import pandas as pd  # slow, and some commands begin without it

    own = getattr(self, "_table", None)
    caption, rows = own() if own is not None else Table(type(self).__name__, _parts(self))
    if isinstance(rows, pd.DataFrame):
        table, more = rows.head(MOST_ROWS), len(rows) - MOST_ROWS
    else:
        table, more = pd.DataFrame({"": {name: _cell(one) for name, one in rows.items()}}), 0
    with pd.option_context("display.max_colwidth", None):
        shown = table.to_html(
            index=not isinstance(rows, pd.DataFrame), header=isinstance(rows, pd.DataFrame),
            float_format="{:.3g}".format, na_rep="",
        )  # fmt: skip
    rest = f"<p>and {more} more rows</p>" if more > 0 else ""
    return f"<p>{html.escape(caption)}</p>{shown}{rest}"


def _cell(value: Any) -> str:
    return value if isinstance(value, str) and not isinstance(value, Enum) else summarize(value)


def _is_generated(method: Any) -> bool:
    """Whether a class has no `__repr__` of its own: none, or one that prints whole arrays.

    Such are those of @dataclass and of NamedTuple.
    """
    return method is None or hasattr(method, "__wrapped__") or _module(method) == "collections"


def _module(method: Any) -> str:
    return getattr(method, "__module__", "")


def _says_parts(value: Any) -> bool:
    """Whether a value is to be shown by its parts, since its class does not say how itself."""
    method = type(value).__repr__
    return method is _line or _module(method) in NUMPYRO or _is_generated(method)


def _parts(value: Any) -> dict[str, Any]:
    """What there is to show of an object, by name."""
    if hasattr(type(value), FIELDS):
        known = values_of(value)
        names = [one.name for one in fields(value)] if is_dataclass(value) else [*known]
        found = {name: known[name] for name in names if name in known}
    elif is_dataclass(value):
        found = {one.name: getattr(value, one.name, None) for one in fields(value) if one.repr}
    elif hasattr(value, "_asdict"):
        found = value._asdict()
    elif hasattr(value, "arg_constraints"):
        # One that is made of another has its parameters there.
        found = parameters_of(value) or {"base_dist": getattr(value, "base_dist", None)}
    else:
        found = {}
    return {name.lstrip("_"): one for name, one in found.items() if not _is_nothing(one)}


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, tuple | Mapping) and not value)


def _text(value: Any, depth: int) -> str:
    """A value, with objects down to some depth, of those there the first part, of others none."""
    name = type(value).__name__
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        if value.shape == () and _is_known(value):
            return _text(value.item(), depth)
        return f"{value.dtype}[{','.join(map(str, value.shape))}]"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, str):
        return repr(cut(value, LONGEST_TEXT))
    parts = _parts(value) if _says_parts(value) else {}
    if parts or type(value).__repr__ is _line:
        room = len(parts) if depth > 0 else 1 + depth
        said = [f"{key}={_text(one, depth - 1)}" for key, one in [*parts.items()][:room]]
        return f"{name}({', '.join(said + ['…'] * (room < len(parts)))})"
    if isinstance(value, Mapping):
        entries = [f"{key!r}: {_text(one, depth)}" for key, one in _first(value.items())]
        return f"{{{_list(entries, len(value))}}}"
    if type(value) in (list, tuple):
        return f"[{_list([_text(one, depth) for one in _first(value)], len(value))}]"
    if isinstance(value, type) or (callable(value) and type(value).__repr__ is object.__repr__):
        return getattr(value, "__name__", name)
    if callable(value) and hasattr(value, "__name__"):
        return value.__name__
    if type(value).__str__ is not object.__str__:
        return cut(str(value))
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    return name if "\n" in text or len(text) > LONGEST else text


def _is_known(number: Any) -> bool:
    """Whether an array of one number has it: a traced one has none, a random key is none."""
    jax = sys.modules.get("jax")
    is_traced = jax is not None and isinstance(number, jax.core.Tracer)
    return not is_traced and getattr(number.dtype, "kind", "") in "biuf"


def _first(values: Any) -> list[Any]:
    return [one for one, _ in zip(values, range(MOST_ENTRIES), strict=False)]


def _list(entries: list[str], count: int) -> str:
    more = [f"... {count} in all"] if count > len(entries) else []
    return ", ".join(entries + more)
