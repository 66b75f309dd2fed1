"""log p(h, x) of many states with every observation, whichever way is quicker."""

from typing import Any, NamedTuple, Protocol

import jax.numpy as jnp
from jaxtyping import Array, Float

from probrev.model.kinds import overridden
from probrev.model.layered_model import has_layered_law
from probrev.model.prior_density import log_prior_prob
from probrev.model.row_terms import RowTerms, gather_terms, has_terms

# Up to so many observations each has its own silent rows; more of them share the terms of all rows.
MAX_SEPARATE = 2


class JointTable(Protocol):
    """Anything that gives log p(h, x), (state, obs), for states h, (state, hidden)."""

    def __call__(self, h: Float[Array, "state hidden"], /) -> Float[Array, "state obs"]:
        """Log p(h, x) of every pair."""
        ...


class _Shared(NamedTuple):
    """By the model's own table, or pair by pair where it has none of its law."""

    model: Any
    x: Float[Array, "obs visible"]

    def __call__(self, h: Float[Array, "state hidden"]) -> Float[Array, "state obs"]:
        table = getattr(self.model, "log_joint_table", None)
        densities = ("log_joint", "log_likelihood")
        if table and not overridden(self.model, densities, since=("log_joint_table",)):
            return table(h, self.x)
        return self.model.log_joint(h[:, None, :], self.x[None, :, :])


class _Separate(NamedTuple):
    """By products over each observation's silent rows."""

    model: Any
    terms: tuple[RowTerms, ...]

    def __call__(self, h: Float[Array, "state hidden"]) -> Float[Array, "state obs"]:
        columns = [row.log_likelihood(h) for row in self.terms]
        return log_prior_prob(self.model.prior, h)[:, None] + jnp.stack(columns, axis=1)


def make_table(model: Any, x: Float[Array, "obs visible"]) -> JointTable:
    """The quicker table for so many observations; a pytree, to be passed to compiled functions."""
    if has_layered_law(model) and len(x) <= MAX_SEPARATE and has_terms(model.layers[0]):
        terms = tuple(gather_terms(model.layers[0], row) for row in x)
        return _Separate(model, terms)
    return _Shared(model, x)
