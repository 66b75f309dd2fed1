"""The predicted risk of a feedforward net: what its readouts' moments say, without running it."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.feedforward import Bias, FeedforwardNet
from probrev.layer import STEIN_FACTOR, Layer
from probrev.model import NUM_SIMULATED
from probrev.priors import Prior, sample_prior
from probrev.truncated_normal import upper_tail


def predict_net_risk(key: PRNGKeyArray, prior: Prior, net: FeedforwardNet) -> Float[Array, ""]:
    """Predicts E||net(x) - h||^2 of a net of one layer, averaged over Gaussian weights.

    Given h a readout is close to N(h_i, t_i^2), t_i^2 = (a (s^2 + 2 h_i^2) / (rho q) - h_i^2) / n
    with a = 2 (1 without a rectifier), s^2 = ||h||^2 + noise_var and q the net's own keep_prob; and
    what the bias reads off x is close to sqrt(a s^2 / (rho q n)). So the risk is a mean over h of
    sum_i E[(r(h_i + b + t_i Z) - h_i)^2], in closed form. It is for random weights and many rows;
    one W and few rows give another. Of deeper nets the readouts' moments are not derived here.

    Args:
        key: random key, for draws of h from the prior.
        prior: any prior.
        net: a net with one layer.

    Raises:
        ValueError: the net has several layers.

    Source: theory of Arora, Liang and Ma 2015 (arXiv:1511.05653), lemma 2.5, with the constants
    worked out: E[w^2 r(w h + xi)^2] = (s^2 + 2 h^2) / 2.
    """
    if len(net.layers) != 1:
        raise ValueError(
            f"the risk of a net is predicted for one layer; this one has {len(net.layers)}: "
            "measure it on draws from the model instead"
        )
    h = sample_prior(key, prior, NUM_SIMULATED)
    return _mean_risk(net.layers[0], net.biases[0], h, net.keep_prob)


@partial(jax.jit, static_argnums=3)
def _mean_risk(layer: Layer, bias: Bias, h: Float[Array, "draw hidden"], keep_prob: float) -> Array:
    factor, survives = STEIN_FACTOR[layer.activation], layer.keep_prob * keep_prob
    noise_var = (layer.noise_std / layer.weight_std) ** 2
    s2 = jnp.square(h).sum(1, keepdims=True) + noise_var
    spread2 = factor * (s2 + 2 * jnp.square(h)) / survives - jnp.square(h)
    offset = jnp.broadcast_to(jnp.asarray(bias.offset), h.shape)
    silent_std = jnp.sqrt(factor * s2 / (survives * layer.n_visible))
    center = h + offset - bias.multiple * silent_std
    return rectified_risk(center, jnp.sqrt(spread2 / layer.n_visible), h).sum(1).mean()


def rectified_risk(
    center: Float[Array, "*shape"], std: Float[Array, "*shape"], h: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """E[(r(center + std Z) - h)^2], Z standard normal, std > 0."""
    t = center / std
    above, density = upper_tail(-t), jax.scipy.stats.norm.pdf(t)
    first = std * (t * above + density)
    second = jnp.square(std) * ((1 + t * t) * above + t * density)
    return second - 2 * h * first + jnp.square(h)
