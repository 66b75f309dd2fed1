r"""Scalar output channels: what one row of a layer says about its own pre-activation.

Message passing knows the pre-activation of a row only as N(omega, V); with the layer's noise that
is N(omega, c^2), c^2 = V + noise_std^2. A channel's normaliser Z(omega) is the probability of what
is known of the row from below; its first two log derivatives are what the row sends up:

    g = d log Z / d omega,    information = -d^2 log Z / d omega^2.

Two kinds of knowledge from below: the row itself, observed (`observed_score`), or a Gaussian
message N(R; h, tau) about an intermediate unit h (`hidden_score`).

Source: Rangan 2011 (GAMP); Manoel, Krzakala, Mezard and Zdeborova 2017 (multi-layer AMP). The
channels of layers with dropout are derived here; tests hold them against quadrature and `jax.grad`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from probrev.model.flat import Score
from probrev.model.layer import Layer
from probrev.model.slabs import rectified_slab
from probrev.model.tilted import Tilted, tilted
from probrev.plumbing.refusal import Refusal


def observed_score(
    layer: Layer,
    x: Float[Array, "*shape"],
    omega: Float[Array, "*shape"],
    V: Float[Array, "*shape"],
) -> Score:
    r"""Return the score of observed rows, noise and dropout summed out.

    Z is the density or mass of x in `Layer.distribution(omega)`, with noise_var + V for noise_var.
    With psi(y) the noisy pre-activation of a row that is seen:

        seen:       g = (psi(y) - omega) / c^2,  information = 1 / c^2
        on a flat:  the score of its mass, `Flat.score`
        dropped:    nothing

    Args:
        layer: the layer, noise_std > 0.
        x: its observed rows.
        omega: mean of each row's pre-activation.
        V: its variance, >= 0.
    """
    channel_var = V + layer.noise_std**2
    place = layer.locate(x)
    g = jnp.where(place.seen, (layer.seen_pre_activation(x) - omega) / channel_var, 0.0)
    information = jnp.where(place.seen, 1.0 / channel_var, 0.0)
    for flat, is_on in zip(layer.activation.flats, place.on, strict=True):
        score = flat.score(omega, jnp.sqrt(channel_var), layer.keep_prob)
        g = jnp.where(is_on, score.g, g)
        information = jnp.where(is_on, score.information, information)
    return Score(g, information)


def fisher_information(
    layer: Layer, omega: Float[Array, "*shape"], channel_var: ArrayLike
) -> Float[Array, "*shape"]:
    """E[g^2] of a row of x over its own law given omega: what it says of its pre-activation.

    Args:
        layer: the layer.
        omega: mean of the row's pre-activation.
        channel_var: c^2, of the noise and of what is not known of W h.
    """
    c, share = jnp.sqrt(channel_var), jnp.ones_like(omega)
    for flat in layer.activation.flats:
        share = share + flat.fisher_share(omega, c, layer.keep_prob)
    return layer.keep_prob * share / channel_var


def hidden_belief(
    layer: Layer,
    r: Float[Array, "*shape"],
    tau: Float[Array, "*shape"],
    omega: Float[Array, "*shape"],
    V: Float[Array, "*shape"],
) -> Tilted:
    r"""Return log Z, mean, variance and P(h > 0) of intermediate units between two messages.

    From above a unit is a spike of mass s = (1 - rho) + rho Phi(-t) and a slab
    (rho / alpha) N(h / alpha; omega, c^2) = rho N(h; alpha omega, (alpha c)^2) on h > 0; from below
    it is seen through N(r; h, tau):

        Z = s N(0; r, tau) + rho \int_{h > 0} N(h; alpha omega, (alpha c)^2) N(h; r, tau) dh

    Args:
        layer: the layer that made the unit, a ReLU layer with noise_std > 0.
        r: location of the message from below.
        tau: its variance, > 0.
        omega: mean of the unit's pre-activation.
        V: its variance, >= 0.

    Raises:
        ValueError: the layer is no ReLU layer.
    """
    if not layer.activation.is_rectifier:
        raise Refusal(
            f"an intermediate layer must have activation relu; got {layer.activation}: given those "
            "above them, only rectified units are a spike and a slab"
        )
    c = jnp.sqrt(V + layer.noise_std**2)
    logit, slab = rectified_slab(omega, c, layer.keep_prob, layer.gain)
    law = tilted(logit, slab, r, tau)
    # `tilted` weighs spike and slab by s / (1 + s) and 1 / (1 + s) instead of s and 1.
    return law._replace(log_evidence=law.log_evidence + jax.nn.softplus(-logit))


def hidden_score(
    layer: Layer,
    belief: Tilted,
    omega: Float[Array, "*shape"],
    V: Float[Array, "*shape"],
) -> Score:
    r"""Return the score of intermediate units, from what is believed of them.

    By the identities of Fisher and Louis, with S(h) the derivative in omega of the log of the
    unit's law from above: g = E[S] and information = E[-dS/d omega] - Var[S], where

        h > 0:  S = (h / alpha - omega) / c^2,  -dS/d omega = 1 / c^2
        h = 0:  the score of silence

    Args:
        layer: as in `hidden_belief`.
        belief: what `hidden_belief` returned for the same arguments.
        omega: as in `hidden_belief`.
        V: as in `hidden_belief`.
    """
    channel_var = V + layer.noise_std**2
    (flat,) = layer.activation.flats
    silence = flat.score(omega, jnp.sqrt(channel_var), layer.keep_prob)
    active, silent = belief.inclusion_prob, 1.0 - belief.inclusion_prob
    slope = 1.0 / (layer.gain * channel_var)
    # S = slope h - omega / c^2 + step 1{h = 0}
    step = silence.g + omega / channel_var
    variance = (
        jnp.square(slope) * belief.var
        + jnp.square(step) * active * silent
        - 2.0 * slope * step * belief.mean * silent
    )
    g = slope * belief.mean - active * omega / channel_var + silent * silence.g
    return Score(g, silent * silence.information + active / channel_var - variance)
