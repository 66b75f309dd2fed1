"""What rows say of the units above them where their precision no longer changes.

With a surrogate for silent rows the likelihood of h is exp(linear . h - h^T gram h / 2), and gram
is that of an observation, whatever h is: a unit that changes by d changes what the rows say of all
others by d times a column of it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from probrev.inference.gibbs.surrogate import Surrogate, surrogate_rows
from probrev.model.layer import Layer
from probrev.model.silence import SilenceTable, tabulate_silence

# Most that the Gram matrices of a group of chains may take.
MAX_GRAM_BYTES = 2**27


class HeldRows(NamedTuple):
    """The surrogate's likelihood of the units above a layer, all rows of an observation together.

    Attributes:
        gram: W^T P W, P the precision of the rows.
        information: its diagonal, what the rows say about each unit alone.
        linear: W^T P y at h = 0, y the pre-activations that are seen, or the surrogate's.
        surrogate: of the rows, (obs, visible).
        silence: log mass of a silent row, by which what the surrogate leaves out is worked out.
    """

    gram: Float[Array, "obs hidden hidden"]
    information: Float[Array, "obs hidden"]
    linear: Float[Array, "obs hidden"]
    surrogate: Surrogate
    silence: SilenceTable


def can_hold(num_obs: int, layer: Layer) -> bool:
    """Whether the Gram matrices of some observations are small enough."""
    return num_obs * layer.n_hidden**2 * layer.weights.dtype.itemsize <= MAX_GRAM_BYTES


def hold_rows(layer: Layer, surrogate: Surrogate, x: Float[Array, "obs visible"]) -> HeldRows:
    """Works out what does not change any more; a surrogate for each observation."""
    weights = layer.weights
    rows = surrogate_rows(layer, surrogate, x, jnp.broadcast_to(layer.bias, x.shape))
    gram = jax.lax.map(lambda precision: (precision[:, None] * weights).T @ weights, rows.precision)
    information = jnp.diagonal(gram, axis1=1, axis2=2)
    silence = tabulate_silence(layer.keep_prob)
    return HeldRows(gram, information, rows.residual @ weights, surrogate, silence)
