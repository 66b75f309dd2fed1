"""State evolution: the Bayes risk of one layer for n -> infinity at fixed n/m, in seconds."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from numpy.polynomial.hermite_e import hermegauss

from probrev.layer import Layer
from probrev.priors import SparsePrior
from probrev.tilted import slab_moments, tilted

MAX_ITERATIONS = 500
TOLERANCE = 1e-7
NUM_NODES = 61
GRID_SIZE = 1001
TAIL = 9.0


class StateEvolution(NamedTuple):
    """A fixed point of state evolution.

    Attributes:
        bayes_risk: predicted E||E[h|x] - h||^2.
        noise_var: variance of the Gaussian channel that each unit is effectively seen through.
    """

    bayes_risk: Float[Array, ""]
    noise_var: Float[Array, ""]


def evolve_state(prior: SparsePrior, layer: Layer) -> StateEvolution:
    """Iterates state evolution from the prior, where a message-passing algorithm starts.

    With V the current risk, c^2 = noise_var + V, t ~ N(0, (Q - V) / c^2), Q = E||h||^2:
    1 / tau = (n / c^2) E_t[rho (Phi(t) - t phi(t)) + rho^2 phi(t)^2 / ((1 - rho) + rho Phi(-t))],
    V <- sum_i E Var(h_i | h_i + sqrt(tau) xi). An identity layer has 1 / tau = n rho / c^2.

    Weights are taken to be iid with the layer's root mean square, the limit to be n -> infinity
    at fixed n/m; a bound on the number of active units enters through each unit's marginal
    probability. It is the Bayes risk where the fixed point is unique, which is not checked.

    Args:
        prior: a spike and a slab with finite second moment.
        layer: one layer, noise_std > 0.

    Source: Rangan 2011 (GAMP), state evolution; the channel is `RectifiedDropout`.
    """
    noise_var = (layer.noise_std / layer.weight_std) ** 2
    energy = prior.second_moment.sum()
    nodes, weights = (jnp.asarray(part) for part in hermegauss(NUM_NODES))
    weights = weights / weights.sum()

    def effective_noise(risk):
        channel_var = noise_var + risk
        t = jnp.sqrt(jnp.maximum(energy - risk, 0.0) / channel_var) * nodes
        return channel_var / (layer.n_visible * (weights * _information(layer, t)).sum())

    def moves(carry):
        risk, previous, iteration = carry
        return (jnp.abs(risk - previous) > TOLERANCE * energy) & (iteration < MAX_ITERATIONS)

    def step(carry):
        risk, _, iteration = carry
        return scalar_risk(prior, effective_noise(risk)), risk, iteration + 1

    risk, _, _ = jax.lax.while_loop(moves, step, (energy, jnp.inf, 0))
    return StateEvolution(risk, effective_noise(risk))


def _information(layer: Layer, t: Float[Array, " node"]) -> Float[Array, " node"]:
    """Fisher information of one visible unit about its pre-activation, times c^2."""
    rho = layer.keep_prob
    if layer.activation == "identity":
        return jnp.full(t.shape, rho)
    density, above = jax.scipy.stats.norm.pdf(t), jax.scipy.special.ndtr(t)
    silence = (1 - rho) + rho * jax.scipy.special.ndtr(-t)
    return rho * (above - t * density) + (rho * density) ** 2 / silence


def scalar_risk(prior: SparsePrior, tau: Float[Array, ""]) -> Float[Array, ""]:
    """sum_i E Var(h_i | r_i), r_i = h_i + sqrt(tau) xi: the risk of denoising each unit alone.

    The law of r_i is the evidence of the tilted prior, so the expectation is an integral over r.
    """
    spread = jnp.sqrt(tau)
    top = spread + jnp.sqrt(slab_moments(prior.tilting_slab)[1].max())
    # Even steps of u are fine within the noise around 0 and coarse far out in the slab.
    u = jnp.linspace(-jnp.arcsinh(TAIL), jnp.arcsinh(TAIL * top / spread), GRID_SIZE)
    r = spread * jnp.sinh(u)[:, None]
    logit = jax.scipy.special.logit(prior.marginal_inclusion_prob)[None, :]
    shape = (GRID_SIZE, prior.n_hidden)
    law = tilted(
        jnp.broadcast_to(logit, shape),
        prior.tilting_slab,
        jnp.broadcast_to(r, shape),
        jnp.full(shape, tau),
    )
    per_r = (jnp.exp(law.log_evidence) * law.var).sum(1)
    return jnp.trapezoid(per_r * spread * jnp.cosh(u), u)
