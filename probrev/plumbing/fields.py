"""What an object is made of, by name."""

from typing import Any, NamedTuple

# Where a class that `pytree` registered keeps the names of its fields.
FIELDS = "_pytree_fields"


class Fields(NamedTuple):
    """Names of a registered class's fields."""

    data: tuple[str, ...]
    meta: tuple[str, ...]


def values_of(node: Any) -> dict[str, Any]:
    """The fields of an object of a registered class that it has, by name."""
    data, meta = getattr(type(node), FIELDS)
    return {name: vars(node)[name] for name in (*data, *meta) if name in vars(node)}


def parameters_of(distribution: Any) -> dict[str, Any]:
    """The parameters of a NumPyro distribution that it keeps, by name."""
    return {name: vars(distribution).get(name) for name in distribution.arg_constraints}
