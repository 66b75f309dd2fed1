"""The ladder of inverses: from the paper's net towards Bayesian inference, rung by rung."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.feedforward import FeedforwardNet
from probrev.layer import Layer
from probrev.model import LayeredModel
from probrev.priors import SparsePrior
from probrev.pytree import pytree
from probrev.tilted import tilted

Inverse = Callable[[Array], ArrayLike]
RUNGS = ("theory", "universal", "calibrated", "scalar", "first_step")


def build_ladder(key: PRNGKeyArray, model: LayeredModel) -> dict[str, Inverse]:
    """Every rung that a model has, lowest first.

    "theory", "universal" and "calibrated" are feedforward nets with that bias rule; "scalar" and
    "first_step" need one layer under a prior with a spike and a slab.

    Args:
        key: random key, for the nets' calibration.
        model: the model to invert.
    """
    inverses: dict[str, Inverse] = {
        rule: FeedforwardNet.from_model(key, model, rule) for rule in RUNGS[:3]
    }
    if len(model.layers) == 1 and isinstance(model.prior, SparsePrior):
        inverses["scalar"] = ScalarActivation(model.prior, model.layers[0])
        inverses["first_step"] = FirstStep(model.prior, model.layers[0])
    return inverses


@pytree(data=("prior", "layer"))
@dataclass(frozen=True)
class ScalarActivation:
    """The net with its best activation: h_i = E[h_i | u_i], u_i ~ N(h_i, readout_var(x)).

    A large-n approximation: each unit is denoised as if its readout were all there is to know.
    A bound on the number of active units enters through each unit's marginal probability only.
    """

    prior: SparsePrior
    layer: Layer

    @jax.jit
    def __call__(self, x: Float[Array, "*batch visible"]) -> Float[Array, "*batch hidden"]:
        """The estimate of h."""
        readout = self.layer.readout(x)
        # x = 0 happens (h = 0 without noise), and says h = 0: the floor keeps 0 / 0 out.
        floor = jnp.finfo(readout.dtype).eps ** 2 * self.prior.second_moment.max()
        variance = jnp.maximum(self.layer.readout_std(x) ** 2, floor)
        return _denoise(self.prior, readout, jnp.broadcast_to(variance, readout.shape))


@pytree(data=("prior", "layer"))
@dataclass(frozen=True)
class FirstStep:
    """The first step of message passing from nothing: a readout that also hears silent rows.

    R = v W^T g with g_j = y_j / s^2 where x_j > 0 and -gamma / s where x_j = 0, then the scalar
    posterior mean given R ~ N(h, v); s^2 = w^2 E||h||^2 + noise_var, gamma = rho phi(0) / f,
    f = 1 - rho / 2, 1 / v = n w^2 rho / (2 s^2) (1 + rho / (pi f)), w the weights' root mean
    square. For an identity layer silent rows say nothing and 1 / v = n w^2 rho / s^2.
    """

    prior: SparsePrior
    layer: Layer

    @jax.jit
    def __call__(self, x: Float[Array, "*batch visible"]) -> Float[Array, "*batch hidden"]:
        """The estimate of h."""
        layer, rho = self.layer, self.layer.keep_prob
        variance = layer.weight_std**2 * self.prior.second_moment.sum() + layer.noise_std**2
        information = layer.n_visible * layer.weight_std**2 * rho / variance
        silence = 0.0
        if layer.activation == "relu":
            silent_prob = 1 - rho / 2
            silence = -rho / (jnp.sqrt(2 * jnp.pi) * silent_prob * jnp.sqrt(variance))
            information = information / 2 * (1 + rho / (jnp.pi * silent_prob))
        message = jnp.where(x == 0, silence, x / (layer.gain * variance))
        readout = (message @ layer.weights) / information
        return _denoise(self.prior, readout, jnp.full(readout.shape, 1 / information))


def _denoise(prior: SparsePrior, readout: Array, variance: Array) -> Array:
    """E[h_i | readout_i] under the prior's marginal of each unit."""
    logit = jax.scipy.special.logit(prior.marginal_inclusion_prob)
    logits = jnp.broadcast_to(logit, readout.shape)
    return tilted(logits, prior.tilting_slab, readout, variance).mean
