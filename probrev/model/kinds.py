"""What a model, a layer or a prior says of itself, and what a subclass of its kind has changed.

Methods ask a model what it offers. What the law of a built-in class allows is not assumed of a
subclass that changes the law: it offers what it defines itself.
"""

from collections.abc import Callable, Iterable
from functools import singledispatch, update_wrapper
from itertools import takewhile
from typing import Any

from probrev.model.protocol import LAW, Model
from probrev.plumbing.refusal import Refusal, TypeRefusal


def overridden(one: Any, names: Iterable[str], since: type | Iterable[str]) -> tuple[str, ...]:
    """Those of the names that an object overrides, seen from a class or from some members.

    It overrides what that class, or one behind it, defines, and what is defined again nearer, in
    the order in which Python looks members up: by the object itself, by its class, or by a class or
    a mixin between it and the other.

    Args:
        one: the object.
        names: of members.
        since: a class; or names of members, for the nearest class that defines any of them.
    """
    kind = type(one)
    members = () if isinstance(since, type) else tuple(since)

    def is_reached(base: type) -> bool:
        return base is since or any(name in vars(base) for name in members)

    nearer = [*takewhile(lambda base: not is_reached(base), kind.__mro__)]
    behind = kind.__mro__[len(nearer) :]
    # A dataclass may have functions for fields: they are its own, like its methods.
    fields = getattr(kind, "__dataclass_fields__", ())
    given = [name for name in getattr(one, "__dict__", ()) if name not in fields]
    return tuple(
        name
        for name in names
        if any(name in vars(base) for base in behind)
        and (name in given or any(name in vars(base) for base in nearer))
    )


def law_of(kind: type, aside: Iterable[str] = ()) -> tuple[str, ...]:
    """Names of the methods and properties of a class: what its law is made of.

    How it is shown in a notebook is no part of it.

    Args:
        kind: the class.
        aside: names that say nothing of the law.
    """
    members = {
        name: member for base in reversed(kind.__mro__[:-1]) for name, member in vars(base).items()
    }
    return tuple(
        name
        for name, member in members.items()
        if (callable(member) or isinstance(member, property))
        and (name == "__call__" or not name.startswith(("__", "_repr_")))
        and name != "_table"
        and name not in aside
    )


def check_one_law(model: Any, uses: tuple[str, ...], others: tuple[str, ...]) -> None:
    """Raises ValueError where a class overrides other parts of a law than those that are used.

    Args:
        model: the model.
        uses: members that are about to be used, the one to override first.
        others: members that say the same law in another way.
    """
    changed = overridden(model, others, since=uses)
    if changed:
        raise Refusal(
            f"{type(model).__name__} overrides {', '.join(changed)}, but not {uses[0]}: they are "
            "one law, so override both"
        )


class Question:
    """A question to a model, answered by the first of three that can.

    1. The model's own method, where nothing of the law that it was made for is overridden.
    2. What is registered here for its class, where it has the law of that class: a class says in
       `law_changes` what has been changed of it.
    3. The function that this decorates.

    Args:
        method: name of the model's own method; it takes the arguments after the model.
        returns: what that must return.
    """

    def __init__(self, method: str, returns: Any = object):
        self.method, self.returns = method, returns

    def __call__[Answer](self, default: Callable[..., Answer]) -> "Asked[Answer]":
        """Decorates the default: (model, *args) -> answer."""
        return Asked(self, default)


class Asked[Answer]:
    """A function that asks a model, see `Question`; `register` is that of `singledispatch`."""

    def __init__(self, question: Question, default: Callable[..., Answer]):
        self._question, self._answers = question, singledispatch(default)
        self.register = self._answers.register
        update_wrapper(self, default)

    def __call__(self, model: Model, *args: Any) -> Answer:
        """The model's answer.

        Raises:
            TypeError: the model's own method returns something else than it must.
        """
        method, returns = self._question.method, self._question.returns
        own = getattr(model, method, None)
        if own is not None and not overridden(model, LAW, since=(method,)):
            answer = own(*args)
            if not isinstance(answer, returns):
                raise TypeRefusal(
                    f"{method} of {type(model).__name__} must return a {returns.__name__}; got "
                    f"{type(answer).__name__}"
                )
            return answer
        kind = object if getattr(model, "law_changes", ()) else type(model)
        return self._answers.dispatch(kind)(model, *args)


def refusal(method: str, model: Model, needs: str) -> Refusal:
    """What a method says to a model that does not offer what it needs.

    Args:
        method: the method.
        model: the model.
        needs: what it needs and what would serve instead.
    """
    changes = getattr(model, "law_changes", ())
    name = type(model).__name__
    why = f", which has a law of its own: it changes {', '.join(changes)}" if changes else ""
    return Refusal(f"{method} {needs}; got {name}{why}")
