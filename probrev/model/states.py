"""The states of a finite latent vector, numbered so that they never need to be listed."""

from dataclasses import dataclass
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from probrev.plumbing.arrays import own
from probrev.plumbing.pytree import pytree


@pytree(data=("values",), meta=("min_active", "max_active"))
@dataclass(frozen=True)
class FiniteStates:
    """All vectors whose entries are 0 or one of K values, with a bounded number of nonzero entries.

    States are numbered by their number of active units, then by their support in colexicographic
    order, then by the levels of the active units. A state is computed from its number, so a space
    of any size needs no memory.

    Attributes:
        values: positive values of each unit, (n_hidden, K).
        min_active: fewest active units.
        max_active: most active units.
    """

    values: Float[Array, "hidden level"]
    min_active: int
    max_active: int

    def __post_init__(self):
        object.__setattr__(self, "values", own(self.values))

    @property
    def n_hidden(self) -> int:
        """Length of a state."""
        return self.values.shape[0]

    @property
    def _counts(self) -> list[int]:
        """Number of states for each number of active units."""
        levels = self.values.shape[1]
        sizes = range(self.min_active, self.max_active + 1)
        return [comb(self.n_hidden, size) * levels**size for size in sizes]

    @property
    def count(self) -> int:
        """Number of states, as an unbounded integer."""
        return sum(self._counts)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Int[Array, " state"]) -> Float[Array, "state hidden"]:
        """The states with these numbers.

        Args:
            index: state numbers in [0, count), 64-bit. Numbers beyond give meaningless states.
        """
        levels = self.values.shape[1]
        largest = np.iinfo(np.int64).max
        starts = jnp.asarray(np.concatenate([[0], np.cumsum(self._counts[:-1], dtype=np.int64)]))
        sizes = range(self.min_active, self.max_active + 1)
        assignments = jnp.asarray([min(levels**size, largest) for size in sizes])
        binomials = jnp.asarray(
            [
                [min(comb(unit, size), largest) for size in range(self.max_active + 1)]
                for unit in range(self.n_hidden)
            ]
        )
        block = jnp.searchsorted(starts, index, side="right") - 1
        within = index - starts[block]
        support_rank, level_rank = jnp.divmod(within, assignments[block])

        def place_unit(carry, unit):
            support_rank, level_rank, remaining = carry
            threshold = binomials[unit, remaining]
            active = (remaining > 0) & (support_rank >= threshold)
            value = self.values[unit, level_rank % levels]
            carry = (
                jnp.where(active, support_rank - threshold, support_rank),
                jnp.where(active, level_rank // levels, level_rank),
                jnp.where(active, remaining - 1, remaining),
            )
            return carry, jnp.where(active, value, 0.0)

        start = (support_rank, level_rank, self.min_active + block)
        _, columns = jax.lax.scan(place_unit, start, jnp.arange(self.n_hidden), reverse=True)
        return columns.T
