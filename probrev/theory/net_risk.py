"""The predicted risk of a feedforward net: its own state evolution, without running it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.inverses.feedforward import Bias, FeedforwardNet
from probrev.model.layer import Layer
from probrev.model.layer_law import check_layer_laws
from probrev.model.priors import Prior, sample_prior
from probrev.model.protocol import NUM_SIMULATED
from probrev.numerics.truncated_normal import rectified_moments
from probrev.plumbing import door
from probrev.plumbing.refusal import Refusal

NUM_NODES = 80
LAST_NODE = 9.0  # in standard deviations; what lies beyond has mass 1e-19


class RowMoments(NamedTuple):
    """Moments of what the net has of a row, with g the row's standardised pre-activation.

    Attributes:
        first: E[g x].
        second: E[x^2].
        mixed: E[g^2 x^2].
    """

    first: Float[Array, "draw 1"]
    second: Float[Array, "draw 1"]
    mixed: Float[Array, "draw 1"]


class Readout(NamedTuple):
    """Law of the net's estimate r(center + std Z) of units h, before the rectifier."""

    center: Float[Array, "draw unit"]
    std: Float[Array, "draw unit"]


@door.guard(
    key=door.random_key,
    prior=door.function,
    net=door.instance_of(FeedforwardNet, "a probrev.FeedforwardNet"),
)
def predict_net_risk(key: PRNGKeyArray, prior: Prior, net: FeedforwardNet) -> Float[Array, ""]:
    """Predicts E||net(x) - h||^2, averaged over Gaussian weights, for a net of any depth.

    Row j of a layer has W_j h = |W| ||h|| g', and weights that are independent of its signal but
    for that; so a readout W^T x is a multiple of h plus independent Gaussian noise, both sums over
    rows of E[g x], E[x^2] and E[g^2 x^2], g the standardised noisy pre-activation. Of x these are
    closed forms, of an estimated layer below they are integrals over g and the noise of its own
    readout. The risk is the mean over h of sum_i E[(r(readout_i + b) - h_i)^2], in closed form.

    One layer: exact moments of the readout at every n, taken to be Gaussian. Several: right for
    n -> infinity at fixed ratios, where noise of different units is independent. It is for random
    weights; one W and few rows give another.

    Args:
        key: random key, for draws of h from the prior.
        prior: any prior.
        net: a net made from a model.

    Raises:
        ValueError: a layer above layers[0] is not of ReLU, the bias of an intermediate one differs
            between its units, a layer has a law of its own, or one has a bias or an activation
            whose readout is not unbiased.

    Source: theory of Arora, Liang and Ma 2015 (arXiv:1511.05653), lemma 2.5, with the constants
    worked out; deeper layers are ours.
    """
    check_layer_laws("predict_net_risk", net.layers)
    for level, bias in enumerate(net.biases[:-1]):
        if jnp.ndim(bias.offset) or jnp.ndim(bias.multiple):
            raise Refusal(
                f"the bias of layer {level} differs between units, and below the top the risk is "
                "predicted for one bias for all: measure it on draws from the model instead"
            )
    if not all(layer.activation.is_rectifier for layer in net.layers[1:]):
        raise Refusal(
            "the risk is predicted where every layer but layers[0] has activation relu: measure it "
            "on draws from the model instead"
        )
    for level, layer in enumerate(net.layers):
        if not layer.has_readout:
            raise Refusal(
                f"layers[{level}] has a bias, or activation {layer.activation} has no mean slope "
                "of its own; the risk is predicted where neither is so: measure it on draws from "
                "the model instead"
            )
    return _mean_risk(net, sample_prior(key, prior, NUM_SIMULATED))


@jax.jit
def _mean_risk(net: FeedforwardNet, h: Float[Array, "draw hidden"]) -> Array:
    # Down: the spread of pre-activations of each layer, from the length of the vector above it.
    spreads, energy = [], jnp.square(h).sum(1, keepdims=True)
    for layer in reversed(net.layers):
        spread = jnp.sqrt(layer.weight_std**2 * energy + layer.noise_std**2)
        spreads.insert(0, spread)
        energy = layer.n_visible * observed_moments(layer, spread).second
    # Up: from x to what the net makes of each layer above it.
    moments = observed_moments(net.layers[0], spreads[0])
    readout = None
    for level, (layer, bias) in enumerate(zip(net.layers, net.biases, strict=True)):
        moments = _drop(moments, net.keep_prob)
        if level == len(net.layers) - 1:
            readout = read_out(layer, bias, spreads[level], moments, h)
        else:
            above, spread = net.layers[level + 1], spreads[level + 1]
            units = jnp.pad(above.gain * spread * _nodes()[0][None, :], ((0, 0), (1, 0)))
            hidden = read_out(layer, bias, spreads[level], moments, units)
            moments = estimated_moments(above, hidden)
    assert readout is not None
    return rectified_risk(readout.center, readout.std, h).sum(1).mean()


def observed_moments(layer: Layer, spread: Float[Array, "draw 1"]) -> RowMoments:
    """Of x itself, or of a layer's true signal: gain * act(spread * g) * mask."""
    slope = layer.activation.negative_slope
    assert slope is not None
    first = (1 + slope) / 2 * layer.keep_prob * layer.gain * spread
    second = (1 + slope**2) / 2 * layer.keep_prob * jnp.square(layer.gain * spread)
    return RowMoments(first, second, 3 * second)


def read_out(
    layer: Layer,
    bias: Bias,
    spread: Float[Array, "draw 1"],
    moments: RowMoments,
    h: Float[Array, "draw unit"],
) -> Readout:
    """Readouts of units with these values, bias included."""
    weight_var, scale, size = layer.weight_std**2, layer.readout_scale, layer.n_visible
    slope = weight_var * h / spread  # E[W_ji g]
    first = slope * moments.first
    second = weight_var * moments.second + jnp.square(slope) * (moments.mixed - moments.second)
    silent_std = scale * jnp.sqrt(size * weight_var * moments.second)
    center = scale * size * first + bias.offset - bias.multiple * silent_std
    return Readout(center, scale * jnp.sqrt(size * (second - jnp.square(first))))


def estimated_moments(layer: Layer, readout: Readout) -> RowMoments:
    """Of the net's estimate of the units below a layer.

    Args:
        layer: the layer that made the units.
        readout: of a silent unit, then of units whose g is at each of the nodes.
    """
    mean, square = raw_rectified_moments(readout.center, readout.std)
    g, weight = _nodes()
    weight = layer.keep_prob * weight
    silent, active = square[:, :1], square[:, 1:]
    # Silent are the dropped, whatever g, and the kept with g < 0: E[g; g < 0] = -phi(0).
    drawn_down = layer.keep_prob * jax.scipy.stats.norm.pdf(0.0) * mean[:, 0]
    return RowMoments(
        (mean[:, 1:] @ (weight * g) - drawn_down)[:, None],
        (1 - layer.keep_prob / 2) * silent + (active @ weight)[:, None],
        (1 - layer.keep_prob / 2) * silent + (active @ (weight * g * g))[:, None],
    )


def _nodes() -> tuple[Array, Array]:
    """Nodes g > 0, and weights that make an integral over the standard normal density."""
    nodes, weights = np.polynomial.legendre.leggauss(NUM_NODES)
    g = LAST_NODE * (nodes + 1) / 2
    density = np.exp(-0.5 * g**2) / np.sqrt(2 * np.pi)
    return jnp.asarray(g), jnp.asarray(LAST_NODE / 2 * weights * density)


def _drop(moments: RowMoments, keep_prob: float) -> RowMoments:
    """After the net's own dropout: x / q with probability q, else 0."""
    return RowMoments(moments.first, moments.second / keep_prob, moments.mixed / keep_prob)


def rectified_risk(
    center: Float[Array, "*shape"], std: Float[Array, "*shape"], h: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """E[(r(center + std Z) - h)^2], Z standard normal, std > 0."""
    first, second = raw_rectified_moments(center, std)
    return second - 2 * h * first + jnp.square(h)


def raw_rectified_moments(
    center: Float[Array, "*shape"], std: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """E[r(center + std Z)] and E[r(center + std Z)^2], Z standard normal, std > 0."""
    mean, var = rectified_moments(center, std)
    return mean, var + jnp.square(mean)
