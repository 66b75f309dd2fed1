"""A Gaussian stand-in for censored rows, whose every proposal is corrected for what it leaves out.

Making dropout explicit costs information: masks and pre-activations that are drawn hold on to the h
that they were drawn from. With the log mass of a row on a flat replaced by a quadratic, fitted once
where the chain was during warm-up, the coordinate updates need no such latents; a pass over the
units is then a proposal, and accepting it by the ratio of what was left out makes the chain exact.
The likelihood of rows that are seen is Gaussian as it is.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from probrev.inference.gibbs.coordinate import Rows, augment
from probrev.model.channel import observed_score
from probrev.model.layer import Layer
from probrev.model.silence import SilenceTable

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
# Least precision of a row on a flat, in units of a seen row's: its mass is not log-concave
# everywhere.
LEAST_PRECISION = 1e-3


class Surrogate(NamedTuple):
    """Quadratics slope d - precision d^2 / 2, d = z - center, in place of each row's log mass."""

    center: Float[Array, "case visible"]
    slope: Float[Array, "case visible"]
    precision: Float[Array, "case visible"]


def fit_surrogate(
    layer: Layer,
    x: Float[Array, "case visible"],
    center: Float[Array, "case visible"],
    var: Float[Array, "case visible"],
) -> Surrogate:
    """Fits the log mass around N(center, var), which pre-activations are thought to follow.

    Slope and precision are expectations of the first two derivatives: the least-squares fit.

    Args:
        layer: the layer.
        x: what is below it; rows that are seen are fitted as if they were on the first flat, so
            that x matters where there is another one only.
        center: mean of each row's pre-activation.
        var: its variance.
    """
    weights = jnp.asarray(WEIGHTS / WEIGHTS.sum(), center.dtype)
    at = center[..., None] + jnp.sqrt(var)[..., None] * jnp.asarray(NODES, center.dtype)[None, None]
    place, flats = layer.locate(x), layer.activation.flats
    rest = jnp.where(place.seen, layer.gain * flats[0].value, x) if flats else x
    rows = jnp.broadcast_to(rest[..., None], at.shape)
    score = observed_score(layer, rows, at, jnp.zeros_like(at))
    slope, precision = score.g @ weights, score.information @ weights
    least = jnp.where(place.dropped, 0.0, LEAST_PRECISION / layer.noise_std**2)
    return Surrogate(center, slope, jnp.maximum(precision, least))


def surrogate_rows(
    layer: Layer,
    surrogate: Surrogate,
    x: Float[Array, "case visible"],
    z: Float[Array, "case visible"],
) -> Rows:
    """The linear-Gaussian likelihood of all rows, seen from pre-activations z = W h."""
    seen, information = layer.locate(x).seen, 1 / layer.noise_std**2
    precision = jnp.where(seen, information, surrogate.precision)
    slope = surrogate.slope - surrogate.precision * (z - surrogate.center)
    return Rows(precision, jnp.where(seen, information * (layer.seen_pre_activation(x) - z), slope))


def rows_to_sweep(
    key: PRNGKeyArray,
    layer: Layer,
    surrogate: Surrogate,
    z: Float[Array, "case visible"],
    x: Float[Array, "case visible"],
    augments: Bool[Array, ""],
) -> Rows:
    """The likelihood of a sweep: with latents drawn for silent rows, or the surrogate's."""
    return jax.lax.cond(
        augments,
        lambda: augment(key, layer, z, x),
        lambda: surrogate_rows(layer, surrogate, x, z),
    )


def log_neglected(
    layer: Layer,
    surrogate: Surrogate,
    x: Float[Array, "case visible"],
    z: Float[Array, "case visible"],
    table: SilenceTable | None = None,
) -> Float[Array, " case"]:
    """Log likelihood less the surrogate's, up to a constant."""
    d = z - surrogate.center
    fitted = d * (surrogate.slope - 0.5 * surrogate.precision * d)
    return layer.sum_log_censored(x, z, table) - jnp.where(layer.locate(x).seen, 0.0, fitted).sum(
        -1
    )


def accept(
    key: jax.Array, log_ratio: Float[Array, " case"], new: Float[Array, "case hidden"],
    old: Float[Array, "case hidden"],
) -> Float[Array, "case hidden"]:  # fmt: skip
    """Metropolis: the new vector where a coin with that log odds ratio says so, else the old."""
    taken = jnp.log(jax.random.uniform(key, log_ratio.shape, log_ratio.dtype)) < log_ratio
    return jnp.where(taken[:, None], new, old)
