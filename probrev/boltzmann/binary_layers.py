"""Layers of binary units, each coupled with its neighbours: conditionals, sums and block Gibbs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.model.states import FiniteStates
from probrev.numerics.broadcasting import same_rank
from probrev.plumbing.pytree import pytree

# Layers by their level.
Layers = Mapping[int, Array]
# Levels of one parity are independent of each other given those of the other.
EVEN, ODD = 0, 1


@pytree(data=("weights", "biases"))
@dataclass(frozen=True)
class BinaryLayers:
    """Binary layers s_0, s_1, ... with p(s) proportional to exp(-E), E as in `BoltzmannMachine`.

    Attributes:
        weights: W_l (width of s_l, width of s_{l+1}), one fewer than layers.
        biases: b_l, a vector each.
    """

    weights: tuple[Float[Array, "below above"], ...]
    biases: tuple[Float[Array, " unit"], ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of every layer, the lowest first."""
        return tuple(bias.shape[-1] for bias in self.biases)

    def log_weight(self, layers: Layers) -> Float[Array, "*batch"]:
        """-E of layers, all of them given."""
        total = sum(layers[level] @ bias for level, bias in enumerate(self.biases))
        for level, matrix in enumerate(self.weights):
            total += ((layers[level] @ matrix) * layers[level + 1]).sum(-1)
        return jnp.asarray(total)

    def field(self, level: int, layers: Layers) -> Float[Array, "*batch unit"]:
        """Log odds of the units of a level given the layers beside it; one left out counts as 0."""
        parts = [self.biases[level]]
        if level - 1 in layers:
            parts.append(layers[level - 1] @ self.weights[level - 1])
        if level + 1 in layers:
            parts.append(layers[level + 1] @ self.weights[level].T)
        return jnp.asarray(sum(same_rank(*parts)))

    def renew(self, key: PRNGKeyArray, layers: Layers, levels: Iterable[int]) -> dict[int, Array]:
        """Draws the layers at some levels of one parity given all others: a step of block Gibbs."""
        drawn = {
            level: draw_units(jax.random.fold_in(key, level), self.field(level, layers))
            for level in levels
        }
        return {**layers, **drawn}

    def levels(self, parity: int) -> range:
        """The levels of one parity."""
        return range(parity, len(self.widths), 2)

    @property
    def smaller_parity(self) -> int:
        """The parity whose levels have fewer units."""
        counts = [sum(self.widths[level] for level in self.levels(p)) for p in (EVEN, ODD)]
        return EVEN if counts[EVEN] <= counts[ODD] else ODD

    def states_of(self, parity: int) -> FiniteStates:
        """All states of the units of one parity's levels, side by side."""
        return binary_states(sum(self.widths[level] for level in self.levels(parity)))

    def place(self, units: Float[Array, "*batch unit"], parity: int) -> dict[int, Array]:
        """Layers by level from the units of one parity's levels, side by side."""
        layers, start = {}, 0
        for level in self.levels(parity):
            layers[level] = units[..., start : start + self.widths[level]]
            start += self.widths[level]
        return layers

    def log_marginal(
        self, units: Float[Array, "*batch unit"], parity: int
    ) -> Float[Array, "*batch"]:
        """Log of the sum of exp(-E) over all units of the other parity, in closed form."""
        layers = self.place(units, parity)
        total = sum(layer @ self.biases[level] for level, layer in layers.items())
        for level in self.levels(1 - parity):
            total += jax.nn.softplus(self.field(level, layers)).sum(-1)
        return jnp.asarray(total)

    def above(self) -> "BinaryLayers":
        """All layers but the lowest."""
        return BinaryLayers(self.weights[1:], self.biases[1:])

    def given(self, x: Float[Array, " visible"]) -> "BinaryLayers":
        """The layers of p(h | x): all but x, the lowest, which has become part of the bias above.

        exp(b_0^T x) times their partition function is the sum over h of exp(-E(x, h)).
        """
        hidden = self.above()
        return BinaryLayers(
            hidden.weights, (hidden.biases[0] + x @ self.weights[0], *hidden.biases[1:])
        )


def draw_units(key: PRNGKeyArray, log_odds: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Independent binary units with these log odds."""
    return jax.random.bernoulli(key, jax.nn.sigmoid(log_odds)).astype(log_odds.dtype)


def binary_states(num_units: int) -> FiniteStates:
    """All vectors of so many binary units."""
    return FiniteStates(jnp.ones((num_units, 1)), 0, num_units)
