r"""Scalar output channels: what one row of a layer says about its own pre-activation.

Message passing knows the pre-activation of a row only as N(omega, V); with the layer's noise that
is N(omega, c^2), c^2 = V + noise_std^2. A channel's normaliser Z(omega) is the probability of what
is known of the row from below; its first two log derivatives are what the row sends up:

    g = d log Z / d omega,    information = -d^2 log Z / d omega^2.

Two kinds of knowledge from below: the row itself, observed (`observed_score`), or a Gaussian
message N(R; h, tau) about an intermediate unit h (`hidden_score`).

Source: Rangan 2011 (GAMP); Manoel, Krzakala, Mezard and Zdeborova 2017 (multi-layer AMP). The
channels of rectified dropout are derived here; tests hold them against quadrature and `jax.grad`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from probrev.model.layer import Layer
from probrev.model.slabs import rectified_slab
from probrev.model.tilted import Tilted, tilted
from probrev.numerics.truncated_normal import excess_moments, log_mills, log_scaled_ndtr


class Score(NamedTuple):
    """First two derivatives of log Z with respect to omega.

    Attributes:
        g: d log Z / d omega.
        information: -d^2 log Z / d omega^2; negative at some omega where the row is, or may be, 0.
    """

    g: Float[Array, "..."]
    information: Float[Array, "..."]


def observed_score(
    layer: Layer,
    x: Float[Array, "*shape"],
    omega: Float[Array, "*shape"],
    V: Float[Array, "*shape"],
) -> Score:
    r"""Return the score of observed rows, noise and dropout summed out.

    Z is the density or mass of x in `Layer.distribution(omega)`, with noise_var + V for noise_var.
    With y = x / gain, t = omega / c:

        x > 0:  g = (y - omega) / c^2,  information = 1 / c^2
        x = 0:  the score of silence (ReLU), or nothing (identity with keep_prob < 1)

    Args:
        layer: the layer, noise_std > 0.
        x: its observed rows.
        omega: mean of each row's pre-activation.
        V: its variance, >= 0.
    """
    channel_var = V + layer.noise_std**2
    silence = _silence_score(layer, omega, channel_var)
    silent = x == 0
    if layer.activation == "identity":
        silent &= layer.keep_prob < 1  # else a 0 is a value like any other
    return Score(
        jnp.where(silent, silence.g, (x / layer.gain - omega) / channel_var),
        jnp.where(silent, silence.information, 1.0 / channel_var),
    )


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
        ValueError: the layer has no rectifier, so the unit may be negative.
    """
    if layer.activation != "relu":
        raise ValueError(
            "an intermediate layer must have activation 'relu'; got 'identity', whose units may "
            "be negative: only the layer next to x may be linear"
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
    silence = _silence_score(layer, omega, channel_var)
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


def _silence_score(layer: Layer, omega: Array, channel_var: Array) -> Score:
    r"""Score of a row that is known to be 0: log Z = log[(1 - rho) + rho Phi(-t)].

    With lam = phi(t) / Phi(-t) and kept = rho Phi(-t) / Z, the probability that the row was kept
    and rectified:

        g = -kept lam / c,  information = [kept lam (lam - t) - kept (1 - kept) lam^2] / c^2

    The product lam (lam - t) is 1 - Var[Z + t | Z < -t], which does not cancel in the tail.
    """
    if layer.activation == "identity":
        return Score(jnp.zeros_like(omega), jnp.zeros_like(omega))
    c = jnp.sqrt(channel_var)
    t = omega / c
    hazard = jnp.exp(-log_mills(-t))
    _, rectified_var = excess_moments(-t)
    kept = _kept_prob(layer, t)
    curvature = kept * (1.0 - rectified_var) - kept * (1.0 - kept) * jnp.square(hazard)
    return Score(-kept * hazard / c, curvature / channel_var)


def _log_rectified_prob(layer: Layer, t: Array) -> Array:
    """Log[rho Phi(-t)]: the row was kept, and rectified."""
    return jnp.log(layer.keep_prob) + log_scaled_ndtr(-t) - 0.5 * jnp.square(jnp.maximum(t, 0.0))


def _kept_prob(layer: Layer, t: Array) -> Array:
    """Probability that a silent row was kept: rho Phi(-t) / [(1 - rho) + rho Phi(-t)]."""
    return jax.nn.sigmoid(_log_rectified_prob(layer, t) - jnp.log1p(-layer.keep_prob))
