"""log p(h, x) of a finite slab without noise: a mass, and minus infinity almost everywhere."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from probrev.inference.exact.enumeration.enumeration import enumerate_table
from probrev.inference.exact.exact_result import ExactOptions, ExactResult
from probrev.inference.exact.noiseless.noiseless_support import TOLERANCE
from probrev.model.layered_model import LayeredModel
from probrev.model.priors import SparsePrior


class NoiselessTable(NamedTuple):
    """Prior mass times prod_S rho 1{W_j h + a_j = y_j} times prod_Z f_j, of every state.

    f_j = 1 where W_j h + a_j <= 0 and 1 - rho elsewhere; S = {x_j > 0}, Z the other rows, a the
    bias. The equations hold where what is left of them is at most 1e-8 (||y_S|| + ||a_S||), and
    W_j h + a_j <= 0 means at most 1e-8 (||W_j|| ||h|| + |a_j|).

    Attributes:
        prior: with a finite slab.
        weights: W, (visible, hidden).
        row_norms: ||W_j||, (visible,).
        bias: a, (visible,).
        y: x / gain, (obs, visible).
        keep_prob: rho.
    """

    prior: SparsePrior
    weights: Float[Array, "visible hidden"]
    row_norms: Float[Array, " visible"]
    bias: Float[Array, " visible"]
    y: Float[Array, "obs visible"]
    keep_prob: Float[Array, ""]

    def __call__(self, h: Float[Array, "state hidden"]) -> Float[Array, "state obs"]:
        """Log mass of every pair, one observation after the other: memory stays that of one."""
        z = h @ self.weights.T + self.bias[None, :]
        scale = jnp.linalg.norm(h, axis=1)[:, None] * self.row_norms[None, :]
        scale = scale + jnp.abs(self.bias)[None, :]
        rises = z > TOLERANCE * scale
        columns = jax.lax.map(lambda y: self._log_likelihood(z, rises, y), self.y)
        return self.prior.log_prob(h)[:, None] + columns.T

    def _log_likelihood(
        self, z: Float[Array, "state visible"], rises: Bool[Array, "state visible"], y: Array
    ) -> Float[Array, " state"]:
        """Log p(x | h) of every state and one x."""
        seen = y > 0
        # Not expanded into products: their rounding would hide what the tolerance is to tell.
        rest = jnp.where(seen[None, :], z - y[None, :], 0.0)
        size = jnp.linalg.norm(y) + jnp.linalg.norm(jnp.where(seen, self.bias, 0.0))
        fits = jnp.linalg.norm(rest, axis=1) <= TOLERANCE * size
        num_dropped = (rises & ~seen[None, :]).sum(1)
        log_dropped = jnp.where(num_dropped > 0, num_dropped * jnp.log1p(-self.keep_prob), 0.0)
        return jnp.where(fits, log_dropped + seen.sum() * jnp.log(self.keep_prob), -jnp.inf)


def enumerate_noiseless(
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    options: ExactOptions,
) -> ExactResult:
    """p(h | x) of one ReLU layer without noise and a finite slab, by visiting every state.

    Here x has finitely many values given h, so `log_evidence` is the log of a probability.

    Raises:
        ValueError: the states are too many, or some x has probability zero.
    """
    layer = model.layers[0]
    table = NoiselessTable(
        prior=model.sparse_prior,
        weights=layer.weights,
        row_norms=jnp.linalg.norm(layer.weights, axis=1),
        bias=layer.bias,
        y=x / layer.gain,
        keep_prob=layer.keep_prob,
    )
    return enumerate_table(model.states(), x, table, options)
