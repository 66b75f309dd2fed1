"""One pass of message passing through a layer: its weights are read once, in blocks of rows.

Message passing needs W h, W^2 v, W^T g and (W^2)^T i in every iteration. Taken one by one that is
four times through the weights, and their squares beside them. But a row's score depends on that
row's products alone, so a block of rows can be multiplied, scored and multiplied back while it is
in cache; its squares never leave it. Rows that are spread over devices are passed through by each
device on its own, and only sums over rows go between them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

from probrev.model.channel import Score
from probrev.model.layer import Layer
from probrev.model.spread import RowMesh

# Weights per block: a block and its squares stay in a core's cache, and one row is never cut. An
# accelerator has no such cache, and a block has to be large enough to fill it.
BLOCK_ELEMENTS = 3 * 2**16
BLOCK_ELEMENTS_OF_ACCELERATOR = 2**26

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
    *,
    mesh: RowMesh | None = None,
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
        mesh: devices that the rows are spread over.
    """
    if mesh is None:
        return _pass_rows(score, layer, below, mean, var, g)

    def own(*arguments):
        found = _pass_rows(score, *arguments)
        linear, precision = jax.lax.psum((found.linear, found.precision), mesh.axis)
        return found._replace(linear=linear, precision=precision)

    whole, rows = PartitionSpec(), PartitionSpec(None, mesh.axis)
    into = (_row_specs(layer, mesh), rows, whole, whole, rows)
    out: Any = RowPass(*cast(list[Any], [rows, rows, rows, whole, whole]))
    spread = jax.shard_map(own, mesh=mesh.mesh, in_specs=into, out_specs=out, check_vma=False)
    return spread(layer, below, mean, var, g)


def weigh_squares(
    precision: Float[Array, "case visible"],
    weights: Float[Array, "visible hidden"],
    mesh: RowMesh | None = None,
) -> Float[Array, "case hidden"]:
    """Precision @ W^2, without all of W^2 in memory.

    Args:
        precision: weight of each row.
        weights: W.
        mesh: devices that the rows are spread over.
    """
    if mesh is None:
        return _weigh(precision, weights)
    into = (PartitionSpec(None, mesh.axis), PartitionSpec(mesh.axis))
    own = lambda *arguments: jax.lax.psum(_weigh(*arguments), mesh.axis)  # noqa: E731
    spread = jax.shard_map(
        own, mesh=mesh.mesh, in_specs=into, out_specs=PartitionSpec(), check_vma=False
    )
    return spread(precision, weights)


def _row_specs(layer: Layer, mesh: RowMesh) -> Any:
    """Of each number of a layer, whether each device has its rows of it, or all of it."""
    by_row = [jax.tree_util.GetAttrKey(name) for name in ("weights", "bias")]
    return jax.tree_util.tree_map_with_path(
        lambda path, _: PartitionSpec(mesh.axis) if path[0] in by_row else PartitionSpec(), layer
    )


class _Block(NamedTuple):
    """A block of rows.

    Attributes:
        W: its weights.
        fresh: 1 for rows of no block before it, 0 for others, (1, row).
        cut: from values of all rows along an axis to those of its own.
        put: into values of all rows those of its own, along the last axis.
    """

    W: Float[Array, "row hidden"]
    fresh: Float[Array, "1 row"]
    cut: Callable[..., Array]
    put: Callable[[Array, Array], Array]


def _fold_blocks[Found](
    weights: Float[Array, "visible hidden"], add: Callable[[Found, _Block], Found], found: Found
) -> Found:
    """Adds every block of rows to what was found."""
    num_rows, width = weights.shape
    on_cpu = jax.default_backend() == "cpu"
    elements = BLOCK_ELEMENTS if on_cpu else BLOCK_ELEMENTS_OF_ACCELERATOR
    size = min(num_rows, max(1, elements // width))

    def add_block(number, found):
        # The last block begins early enough to be whole: what it repeats is not summed again.
        start = jnp.minimum(number * size, num_rows - size)
        fresh = (start + jnp.arange(size) >= number * size).astype(weights.dtype)[None, :]
        cut = lambda whole, axis=-1: jax.lax.dynamic_slice_in_dim(whole, start, size, axis)  # noqa: E731
        put = lambda whole, part: jax.lax.dynamic_update_slice_in_dim(whole, part, start, axis=-1)  # noqa: E731
        return add(found, _Block(cut(weights, 0), fresh, cut, put))

    return jax.lax.fori_loop(0, -(-num_rows // size), add_block, found)


def _pass_rows(
    score: RowScore, layer: Layer, below: tuple[Array, ...], mean: Array, var: Array, g: Array
) -> RowPass:
    """See `stream_rows`; of the rows that a device has."""

    def add(found, block):
        W, W2 = block.W, block.W * block.W
        V = jnp.einsum("oi,ji->oj", var, W2)
        omega = jnp.einsum("oi,ji->oj", mean, W) + block.cut(layer.bias)[None] - V * block.cut(g)
        new = score(layer, *map(block.cut, below), omega, V)
        return RowPass(
            omega=block.put(found.omega, omega),
            V=block.put(found.V, V),
            g=block.put(found.g, new.g),
            linear=found.linear + (block.fresh * new.g) @ W,
            precision=found.precision + (block.fresh * new.information) @ W2,
        )

    rows, units = jnp.zeros_like(g), jnp.zeros_like(mean)
    return _fold_blocks(layer.weights, add, RowPass(rows, rows, rows, units, units))


def _weigh(
    precision: Float[Array, "case visible"], weights: Float[Array, "visible hidden"]
) -> Float[Array, "case hidden"]:
    """See `weigh_squares`; of the rows that a device has."""

    def add(found, block):
        return found + (block.fresh * block.cut(precision)) @ (block.W * block.W)

    nothing = jnp.zeros((len(precision), weights.shape[1]), weights.dtype)
    return _fold_blocks(weights, add, nothing)
