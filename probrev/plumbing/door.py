"""The door that arguments come in by: what each must be is said once, and checked before any work.

A rule is a function of an argument's name and its value that raises a refusal, in a line: what was
given, what was wanted. `guard` has a function's arguments checked by rules before it runs.
"""

import functools
import inspect
import json
import math
import reprlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from probrev.plumbing.arrays import check_real
from probrev.plumbing.limits import MOST_COUNT, SEEDS
from probrev.plumbing.numbers import plain_numbers
from probrev.plumbing.paths import check_path
from probrev.plumbing.refusal import Refusal, TypeRefusal

# Raises a refusal for a value that an argument of that name cannot have.
Rule = Callable[[str, Any], None]
# Where a guarded function keeps its rules.
_RULES = "__rules__"


def guard[**P, R](**rules: Rule) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates a function whose arguments of these names are held against rules first.

    Only what is given is: a default need not be one that a caller may give.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        assert rules.keys() <= signature.parameters.keys(), rules.keys() - signature.parameters

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError as error:  # what is missing, or too much
                raise TypeRefusal(f"{function.__name__}: {error}") from None
            _check(rules, given)
            with plain_numbers():
                return function(*args, **kwargs)

        setattr(guarded, _RULES, rules)
        return guarded

    return decorate


def check(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Holds some arguments against the rules of a function that `guard` decorates, not called."""
    _check(getattr(function, _RULES, {}), given)


def _check(rules: Mapping[str, Rule], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name in rules:
            rules[name](name, value)


def shown(value: Any) -> str:
    """A value in a few words, whatever it is."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, np.ndarray | jax.Array) and np.shape(value):
        return f"an array of shape {np.shape(value)} and type {value.dtype}"
    try:
        text = " ".join(reprlib.repr(value).split())
    except Exception:  # a value that cannot even be written out
        return f"a {type(value).__name__}"
    plain = value is None or isinstance(value, str | bool | int | float)
    return text if plain else f"{text} ({type(value).__name__})"


def optional(rule: Rule) -> Rule:
    """The rule, or None."""
    return lambda name, value: None if value is None else rule(name, value)


def count(least: int = 1, most: int = MOST_COUNT) -> Rule:
    """A whole number; not a truth value, and no float that happens to be whole."""

    def rule(name: str, value: Any) -> None:
        if not _is_whole(value):
            raise Refusal(f"{name} must be a whole number, at least {least}; got {shown(value)}")
        if not least <= value <= most:
            bound = f"at least {least}" if value < least else f"at most {most}"
            raise Refusal(f"{name} must be {bound}; got {shown(value)}")

    return rule


def whole(name: str, value: Any) -> None:
    """A whole number, whose range is checked elsewhere."""
    if not _is_whole(value):
        raise Refusal(f"{name} must be a whole number; got {shown(value)}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


seed: Rule = count(0, SEEDS - 1)


def number(wanted: str, is_allowed: Callable[[float], bool] = math.isfinite) -> Rule:
    """A real number, not a truth value; what is traced is not looked at.

    Args:
        wanted: what it must be, in words that follow "must".
        is_allowed: whether a number is; of NaN it must not be.
    """

    def rule(name: str, value: Any) -> None:
        if isinstance(value, jax.core.Tracer):
            return
        if isinstance(value, list | tuple | np.ndarray | jax.Array):
            check_real(name, value)  # in its own words
        try:
            check_real(name, value)
            array = np.asarray(value)
            fits = not array.shape and array.dtype != bool and is_allowed(float(array))
        except (Refusal, TypeError, ValueError, OverflowError):
            fits = False
        if not fits:
            raise Refusal(f"{name} must {wanted}; got {shown(value)}")

    return rule


probability: Rule = number("lie in (0, 1]", lambda value: 0 < value <= 1)
inner_probability: Rule = number(
    "lie between 0 and 1, neither of them", lambda value: 0 < value < 1
)
positive: Rule = number("be positive and finite", lambda value: 0 < value < math.inf)
nonnegative: Rule = number("be a finite number, at least 0", lambda value: 0 <= value < math.inf)


def flag(name: str, value: Any) -> None:
    """A truth value."""
    if not isinstance(value, bool | np.bool_):
        raise TypeRefusal(f"{name} must be True or False; got {shown(value)}")


def random_key(name: str, value: Any) -> None:
    """A key of JAX, typed or as its numbers."""
    is_typed = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.prng_key)
    if is_typed and value.shape == ():
        return
    is_old = isinstance(value, jax.Array | np.ndarray) and value.dtype == np.uint32
    if not is_old or value.shape not in ((2,), (4,)):
        raise TypeRefusal(
            f"{name} must be one random key, as jax.random.key(0) makes; got {shown(value)}"
        )


def one_of(*choices: str) -> Rule:
    """One of some words."""

    def rule(name: str, value: Any) -> None:
        if not isinstance(value, str) or value not in choices:
            raise Refusal(f"{name} must be one of {', '.join(choices)}; got {shown(value)}")

    return rule


def instance_of(kinds: type | tuple[type, ...], wanted: str) -> Rule:
    """An object of a class; the class itself is none.

    Args:
        kinds: the classes.
        wanted: what it must be and what makes one, in words that follow "must be".
    """

    def rule(name: str, value: Any) -> None:
        if not isinstance(value, kinds):
            raise TypeRefusal(f"{name} must be {wanted}; got {shown(value)}")

    return rule


def no_class(name: str, value: Any) -> None:
    """An object; the class that makes it is none."""
    if isinstance(value, type):
        raise TypeRefusal(f"{name} must be an object; got {shown(value)}: make one of it")


def function(name: str, value: Any) -> None:
    """What can be called."""
    if not callable(value) or isinstance(value, type):
        raise TypeRefusal(f"{name} must be a function; got {shown(value)}")


def by_name(rule: Rule) -> Rule:
    """A mapping from names to what a rule allows."""

    def mapping(name: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise TypeRefusal(f"{name} must be a dict, what it holds by name; got {shown(value)}")
        for key, one in value.items():
            if not isinstance(key, str):
                raise Refusal(f"names in {name} must be text; got {shown(key)}")
            rule(f"{name}[{key!r}]", one)

    return mapping


def all_of(rule: Rule) -> Rule:
    """A list whose items a rule allows."""

    def rule_of_items(name: str, value: Any) -> None:
        sequence(name, value)
        for place, one in enumerate(value):
            rule(f"{name}[{place}]", one)

    return rule_of_items


def text(name: str, value: Any) -> None:
    """Text, not empty."""
    if not isinstance(value, str) or not value.strip():
        raise TypeRefusal(f"{name} must be text, not empty; got {shown(value)}")


def names(name: str, value: Any) -> None:
    """Several names, in any order; text is not."""
    if isinstance(value, str | Mapping) or not isinstance(value, Collection):
        raise TypeRefusal(f"{name} must be a list of names; got {shown(value)}")
    for one in value:
        text(f"a name in {name}", one)


def record(name: str, value: Any) -> None:
    """What a file can keep: a dict by name of what JSON has."""
    by_name(anything)(name, value)
    for key, one in value.items():
        try:
            json.dumps(one)
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeRefusal(
                f"{name}[{key!r}] must be what JSON can hold, text, numbers, lists and dicts of "
                f"them; got {shown(one)}: {error}"
            ) from None


def anything(name: str, value: Any) -> None:
    """No rule."""


def sequence(name: str, value: Any) -> None:
    """A list, or what is like one; text is not."""
    is_array = isinstance(value, np.ndarray | jax.Array) and np.ndim(value) > 0
    if not is_array and (not isinstance(value, Sequence) or isinstance(value, str | bytes)):
        raise TypeRefusal(f"{name} must be a list; got {shown(value)}")


def finite_array(*shape: str) -> Rule:
    """An array of real, finite numbers with that many axes, none of them empty.

    Args:
        *shape: what the axes are called.
    """

    def rule(name: str, value: Any) -> None:
        if isinstance(value, jax.core.Tracer):
            return
        wanted = f"({', '.join(shape)}{',' * (len(shape) == 1)})"
        check_real(name, value)
        array = np.asarray(value)
        if array.ndim != len(shape) or not array.size:
            raise Refusal(f"{name} must have shape {wanted}; got shape {array.shape}")
        if not np.isfinite(array).all():
            raise Refusal(f"{name} must be finite; got NaN or infinity")

    return rule


path: Rule = check_path


def checkpoint_path(name: str, value: Any) -> None:
    """A path to a .npz file, in a folder that exists."""
    path(name, value)
    place = Path(value)
    if place.suffix != ".npz" or place.is_dir():
        raise Refusal(f"{name} must be a file that ends in .npz; got {shown(str(value))}")
    if not place.absolute().parent.is_dir():
        raise Refusal(f"{name} {shown(str(value))}: its folder does not exist; make it first")
