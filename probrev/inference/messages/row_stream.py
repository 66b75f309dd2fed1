"""One pass of message passing through a layer: its weights are read once, in blocks of rows.

Message passing needs W h, W^2 v, W^T g and (W^2)^T i in every iteration. Taken one by one that is
four times through the weights, and their squares beside them. But a row's score depends on that
row's products alone, so a block of rows can be multiplied, scored and multiplied back while it is
in cache; its squares never leave it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from probrev.model.channel import Score
from probrev.model.layer import Layer

# Weights per block: a block and its squares stay in a core's cache, and one row is never cut.
BLOCK_ELEMENTS = 3 * 2**16

RowScore = Callable[..., Score]


class RowPass(NamedTuple):
    """What a pass through a layer found.

    Attributes:
        omega: mean of each row's pre-activation, Onsager's correction in it.
        V: its variance, W^2 v.
        g: the rows' scores.
        linear: W^T g.
        precision: (W^2)^T information.
    """

    omega: Float[Array, "obs visible"]
    V: Float[Array, "obs visible"]
    g: Float[Array, "obs visible"]
    linear: Float[Array, "obs hidden"]
    precision: Float[Array, "obs hidden"]


def stream_rows(
    layer: Layer,
    score: RowScore,
    below: tuple[Float[Array, "obs visible"], ...],
    mean: Float[Array, "obs hidden"],
    var: Float[Array, "obs hidden"],
    g: Float[Array, "obs visible"],
) -> RowPass:
    """Passes through the rows of a layer once.

        V = W^2 v,  omega = W h + bias - V g_old,  g = score(omega, V)

    Args:
        layer: the layer.
        score: (layer, *below, omega, V) -> Score of some rows.
        below: what is known of each row from below.
        mean: estimate of the vector above, h.
        var: its variances, v.
        g: scores of the previous pass, g_old.
    """
    num_rows, width = layer.weights.shape
    size = min(num_rows, max(1, BLOCK_ELEMENTS // width))

    def rows_from(start, array):
        return jax.lax.dynamic_slice_in_dim(array, start, size, axis=1)

    def add_block(block, found):
        # The last block begins early enough to be whole: what it repeats is not summed again.
        start = jnp.minimum(block * size, num_rows - size)
        fresh = (start + jnp.arange(size) >= block * size).astype(mean.dtype)[None, :]
        W = jax.lax.dynamic_slice_in_dim(layer.weights, start, size)
        W2 = W * W
        V = jnp.einsum("oi,ji->oj", var, W2)
        bias = jax.lax.dynamic_slice_in_dim(layer.bias, start, size)
        omega = jnp.einsum("oi,ji->oj", mean, W) + bias[None, :] - V * rows_from(start, g)
        new = score(layer, *(rows_from(start, part) for part in below), omega, V)

        def put(whole, part):
            return jax.lax.dynamic_update_slice_in_dim(whole, part, start, axis=1)

        return RowPass(
            omega=put(found.omega, omega),
            V=put(found.V, V),
            g=put(found.g, new.g),
            linear=found.linear + (fresh * new.g) @ W,
            precision=found.precision + (fresh * new.information) @ W2,
        )

    rows, units = jnp.zeros_like(g), jnp.zeros_like(mean)
    nothing = RowPass(rows, rows, rows, units, units)
    return jax.lax.fori_loop(0, -(-num_rows // size), add_block, nothing)
