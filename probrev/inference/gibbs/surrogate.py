"""A Gaussian stand-in for silent rows, whose every proposal is corrected for what it leaves out.

Making dropout explicit costs information: masks and pre-activations that are drawn hold on to the h
that they were drawn from. With log f of a silent row replaced by a quadratic, fitted once where the
chain was during warm-up, the coordinate updates need no such latents; a pass over the units is
then a proposal, and accepting it by the ratio of what was left out makes the chain exact. The
likelihood of active rows is Gaussian as it is.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from probrev.inference.gibbs.coordinate import Rows
from probrev.model.channel import observed_score
from probrev.model.layer import Layer

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
# Least precision of a silent row, in units of an active row's: f is not log-concave everywhere.
LEAST_PRECISION = 1e-3


class Surrogate(NamedTuple):
    """Quadratics slope d - precision d^2 / 2, d = z - center, in place of log f(z), row by row."""

    center: Float[Array, "case visible"]
    slope: Float[Array, "case visible"]
    precision: Float[Array, "case visible"]


def fit_surrogate(
    layer: Layer, center: Float[Array, "case visible"], var: Float[Array, "case visible"]
) -> Surrogate:
    """Fits log f around N(center, var), which pre-activations are thought to follow.

    Slope and precision are expectations of the first two derivatives: the least-squares fit.

    Args:
        layer: the layer.
        center: mean of each row's pre-activation.
        var: its variance.
    """
    weights = jnp.asarray(WEIGHTS / WEIGHTS.sum(), center.dtype)
    at = center[..., None] + jnp.sqrt(var)[..., None] * jnp.asarray(NODES, center.dtype)[None, None]
    score = observed_score(layer, jnp.zeros_like(at), at, jnp.zeros_like(at))
    slope, precision = score.g @ weights, score.information @ weights
    if layer.activation == "relu":
        precision = jnp.maximum(precision, LEAST_PRECISION / layer.noise_std**2)
    return Surrogate(center, slope, precision)


def surrogate_rows(
    layer: Layer,
    surrogate: Surrogate,
    x: Float[Array, "case visible"],
    z: Float[Array, "case visible"],
) -> Rows:
    """The linear-Gaussian likelihood of all rows, seen from pre-activations z = W h."""
    silent = is_silent(layer, x)
    seen = 1 / layer.noise_std**2
    precision = jnp.where(silent, surrogate.precision, seen)
    slope = surrogate.slope - surrogate.precision * (z - surrogate.center)
    return Rows(precision, jnp.where(silent, slope, seen * (x / layer.gain - z)))


def log_neglected(
    layer: Layer,
    surrogate: Surrogate,
    x: Float[Array, "case visible"],
    z: Float[Array, "case visible"],
) -> Float[Array, " case"]:
    """Log likelihood less the surrogate's, up to a constant."""
    if layer.activation != "relu":
        return jnp.zeros(len(z), z.dtype)
    d = z - surrogate.center
    fitted = d * (surrogate.slope - 0.5 * surrogate.precision * d)
    gap = layer.log_silence(z) - fitted
    return jnp.where(is_silent(layer, x), gap, 0.0).sum(-1)


def is_silent(layer: Layer, x: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
    """Whether a row is 0 because it was rectified or dropped."""
    return x == 0 if layer.activation == "relu" else (x == 0) & (layer.keep_prob < 1)


def accept(
    key: jax.Array, log_ratio: Float[Array, " case"], new: Float[Array, "case hidden"],
    old: Float[Array, "case hidden"],
) -> Float[Array, "case hidden"]:  # fmt: skip
    """Metropolis: the new vector where a coin with that log odds ratio says so, else the old."""
    taken = jnp.log(jax.random.uniform(key, log_ratio.shape, log_ratio.dtype)) < log_ratio
    return jnp.where(taken[:, None], new, old)
