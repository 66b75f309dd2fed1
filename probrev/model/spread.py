"""Weights spread over devices, each with some of the rows: what one has no room for, many have."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from probrev.plumbing.arrays import check_real
from probrev.plumbing.refusal import Refusal

AXIS = "visible"


class RowMesh(NamedTuple):
    """Devices that hold an array's rows.

    Attributes:
        mesh: the devices.
        axis: the name of the mesh's axis that rows lie along.
    """

    mesh: Mesh
    axis: str


def spread_rows(
    weights: Float[ArrayLike, "visible hidden"], devices: Sequence[Any] | None = None
) -> Float[Array, "visible hidden"]:
    """Weights with their rows spread over devices, for a `Layer` that is too large for one.

    `message_passing` then passes through the rows of all devices at once, and sends only sums over
    rows between them. Of a memory map each device reads its own rows.

    Args:
        weights: W, (n_visible, n_hidden).
        devices: of JAX, each of which gets as many rows; by default all of them.

    Raises:
        ValueError: n_visible is no multiple of the number of devices.
    """
    check_real("weights", weights)
    if not isinstance(weights, np.ndarray | jax.Array):
        weights = np.asarray(weights)
    devices = jax.devices() if devices is None else list(devices)
    if weights.ndim != 2 or not devices or len(weights) % len(devices):
        raise Refusal(
            f"weights of shape (n_visible, n_hidden), n_visible a multiple of {len(devices)}, can "
            f"be spread over {len(devices)} devices; got shape {weights.shape}: name other devices"
        )
    sharding = NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS, None))
    dtype = jax.dtypes.canonicalize_dtype(float)
    part = lambda index: np.array(weights[index], dtype)  # noqa: E731
    return jax.make_array_from_callback(weights.shape, sharding, part)


def find_mesh(weights: Any) -> RowMesh | None:
    """The devices that weights are spread over by rows; None on one device, or while tracing."""
    if isinstance(weights, jax.core.Tracer) or not isinstance(weights, jax.Array):
        return None
    sharding = weights.sharding
    if not isinstance(sharding, NamedSharding) or not sharding.spec:
        return None
    axis = sharding.spec[0]
    if not isinstance(axis, str) or sharding.mesh.shape[axis] == 1:
        return None
    assert isinstance(sharding.mesh, Mesh)
    return RowMesh(sharding.mesh, axis)
