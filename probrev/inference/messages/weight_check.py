"""How far a layer's weights are from independent ones, which message passing takes them to be."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import norm

from probrev.inference.messages.row_stream import weigh_squares
from probrev.model.spread import RowMesh, find_mesh
from probrev.numerics.marchenko_pastur import MarchenkoPastur

# Multiply-adds that a product of W with itself may take. Beyond, every so many rows are left out.
GRAM_ELEMENTS = 2**33
# Cosines that are looked at together: a table of all pairs may be as large as W.
COSINE_ELEMENTS = 2**22
# A chance of one in so many that the largest cosine of iid weights exceeds its bound.
COSINE_CHANCE = 1e-4
# Cosines up to here do little harm, and a bulge of the spectrum up to so many times its edge.
MAX_COSINE, MAX_BULGE = 0.4, 1.5
# Beyond this cosine two columns are all but one, and which of them is active cannot be told soon.
SAME_COLUMN = 0.9
NUM_POWER_STEPS = 8


class WeightCheck(NamedTuple):
    """Two figures of a layer's weights, rows and columns scaled to one length.

    Attributes:
        cosine: the largest |cosine| between two columns.
        cosine_bound: what it may be; no iid weights of this shape come near it.
        bulge: the largest squared singular value, over the edge of the law of Marchenko and Pastur.
    """

    cosine: float
    cosine_bound: float
    bulge: float

    @property
    def is_hopeless(self) -> bool:
        """Whether two columns are all but one."""
        return self.cosine > SAME_COLUMN

    @property
    def complaint(self) -> str:
        """What speaks against iid weights, in figures; empty if nothing does."""
        found = []
        if self.cosine > self.cosine_bound:
            found.append(f"two columns have cosine {self.cosine:.2f}")
        if self.bulge > MAX_BULGE:
            found.append(f"the largest singular value squared is {self.bulge:.3g} times its edge")
        return " and ".join(found)


def check_weights(weights: Float[Array, "visible hidden"]) -> WeightCheck:
    """Compares weights with iid ones of their shape.

    Message passing follows every W_ji^2, so neither unequal rows nor unequal columns are held
    against the weights: both are scaled to one length first. Of very large matrices cosines are
    taken over part of the rows, and the singular value by a few power steps, from below.

    Args:
        weights: W, not all 0.
    """
    n_visible, n_hidden = weights.shape
    rows, columns = _scales(weights, find_mesh(weights))
    num_rows = min(n_visible, max(256, GRAM_ELEMENTS // n_hidden**2))
    part = np.linspace(0, n_visible - 1, num_rows).round().astype(int)
    cosine = float(_largest_cosine(weights[part] * rows[part][:, None]))
    # Of iid weights a cosine is N(0, 1/n), and there are m (m - 1) / 2.
    num_pairs = max(1, n_hidden * (n_hidden - 1) // 2)
    by_chance = norm.isf(COSINE_CHANCE / (2 * num_pairs)) / np.sqrt(num_rows)
    short, long = sorted((n_visible, n_hidden))
    _, edge = MarchenkoPastur(short / long).reach(short, long)
    largest = float(_largest_singular_value(weights, rows, columns))
    bulge = largest**2 * n_visible / (long * edge)
    return WeightCheck(cosine, max(MAX_COSINE, float(by_chance)), bulge)


@partial(jax.jit, static_argnames="mesh")
def _scales(weights: Float[Array, "visible hidden"], mesh: RowMesh | None) -> tuple[Array, Array]:
    """What brings every row to one length, and then every column to length 1."""
    rows = _inverse_root(jnp.square(weights).mean(1))
    (energy,) = weigh_squares(jnp.square(rows)[None], weights, mesh)
    return rows, _inverse_root(energy)


def _inverse_root(energy: Array) -> Array:
    """1 / sqrt(energy), and 0 where that is 0."""
    return jnp.where(energy > 0, jax.lax.rsqrt(jnp.where(energy > 0, energy, 1.0)), 0.0)


@jax.jit
def _largest_cosine(weights: Float[Array, "row hidden"]) -> Float[Array, ""]:
    """Largest |cosine| between two columns."""
    unit = weights * _inverse_root(jnp.square(weights).sum(0))[None, :]
    width = unit.shape[1]
    size = min(width, max(1, COSINE_ELEMENTS // width))

    def look(block, largest):
        # The last block begins early enough to be whole: it repeats some columns.
        start = jnp.minimum(block * size, width - size)
        part = jax.lax.dynamic_slice_in_dim(unit, start, size, axis=1)
        is_itself = (start + jnp.arange(size))[:, None] == jnp.arange(width)[None, :]
        cosines = jnp.where(is_itself, 0.0, jnp.abs(part.T @ unit))
        return jnp.maximum(largest, cosines.max())

    return jax.lax.fori_loop(0, -(-width // size), look, jnp.zeros((), unit.dtype))


@jax.jit
def _largest_singular_value(
    weights: Float[Array, "visible hidden"], rows: Array, columns: Array
) -> Float[Array, ""]:
    """Of the scaled weights, by power steps: a lower bound, and near it where one stands apart."""
    start = jax.random.normal(jax.random.key(0), columns.shape, weights.dtype)

    def step(_, v):
        v = v / jnp.linalg.norm(v)
        above = (rows**2) * (weights @ (columns * v))
        return columns * (above @ weights)

    v = jax.lax.fori_loop(0, NUM_POWER_STEPS, step, start)
    v = v / jnp.linalg.norm(v)
    return jnp.linalg.norm(rows * (weights @ (columns * v)))
