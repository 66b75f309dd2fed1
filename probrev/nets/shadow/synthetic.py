"""SHADOW: inputs that a net draws from its own hidden layers, to be trained on with the labels."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.model.layer import Layer
from probrev.nets.shadow.classifier import Classifier, draw_mask
from probrev.plumbing import door
from probrev.plumbing.pytree import pytree
from probrev.plumbing.refusal import Refusal

Mode = Literal["end_to_end", "per_layer"]
Gain = Literal["energy", "readout"]


@pytree(data=("weight",), meta=("mode", "keep_prob", "gain"))
@dataclass(frozen=True)
class Shadow:
    """How a net is trained on what it draws itself: loss(x, c) + weight * loss(x~, c).

    The net as it is takes x up to h, without dropout; x~ ~ p(x | h) comes down through its
    transposed weights, h^(l-1) = gain_l r(W_l h^(l)) * d; and x~ has the label of x. Nothing is
    learned through x~: its gradient stops there. It is then trained on as x is, net dropout too.

    Attributes:
        weight: of the drawn inputs in the loss, at least 0; the real ones have 1.
        mode: "end_to_end": from the top hidden layer down to x, fed to the whole net. "per_layer":
            every layer's input from the real activations right above it, fed to that layer and
            those above; the loss is the mean over the layers.
        keep_prob: probability that a drawn unit survives dropout, in (0, 1], the paper's 1/2.
        gain: "energy": what is drawn has as much energy, sum ||x~||^2 over the batch, as the real
            input of that layer. "readout": theory's 2 / (keep_prob * mean_i ||W_i||^2), for which
            W^T x~ is unbiased for h over Gaussian weights.

    The gain matters since r(W^T x + b) is not scale-free: the b of a trained net fits the scale of
    real x. Theory's gain takes ||W h|| for what random W makes of h. Trained W has directions that
    real h lies along and makes it longer, by a factor that grows in training: in nets that read
    digits, 64-256-128-10, the energy of x~ at theory's gain, end to end, is 300 to 500 times that
    of x. Energy's gain measures that factor on every batch.

    Source: Arora, Liang and Ma 2015 (arXiv:1511.05653), on training with synthetic data; weight,
    the two modes and the energy's gain are ours.

    Raises:
        ValueError: an attribute out of its range.
    """

    weight: float | Float[Array, ""] = 1.0
    mode: Mode = "end_to_end"
    keep_prob: float = 0.5
    gain: Gain = "energy"

    def __post_init__(self):
        door.nonnegative("weight", self.weight)
        door.probability("keep_prob", self.keep_prob)
        if self.mode not in ("end_to_end", "per_layer"):
            raise Refusal(f'mode must be "end_to_end" or "per_layer"; got {self.mode!r}')
        if not 0 < self.keep_prob <= 1:
            raise Refusal(
                "keep_prob must lie in (0, 1]: it is the probability that a drawn unit survives "
                f"dropout; got {self.keep_prob}"
            )
        if self.gain not in ("energy", "readout"):
            raise Refusal(f'gain must be "energy" or "readout"; got {self.gain!r}')


class Drawn(NamedTuple):
    """Synthetic inputs of one layer.

    Attributes:
        layer: which layer they are fed to, counted from x.
        x: the inputs, (batch, below).
    """

    layer: int
    x: Float[Array, "batch below"]


def draw_shadow(
    key: PRNGKeyArray, net: Classifier, x: Float[ArrayLike, "batch visible"], shadow: Shadow
) -> tuple[Drawn, ...]:
    """Draws x~ ~ p(x | h(x)) through the net's transposed weights.

    Args:
        key: random key.
        net: the net, with at least one hidden layer.
        x: real inputs, nonnegative.
        shadow: mode, keep_prob and gain.

    Returns:
        "end_to_end": one `Drawn`, of layer 0. "per_layer": one for each hidden layer, from x up.
    """
    real = net.hidden(x)
    top = len(real) - 1
    keys = [jax.random.fold_in(key, layer) for layer in range(top)]
    if shadow.mode == "per_layer":
        return tuple(
            Drawn(layer, draw_below(keys[layer], net, layer, real[layer + 1], real[layer], shadow))
            for layer in range(top)
        )
    h = real[top]
    for layer in reversed(range(top)):
        h = draw_below(keys[layer], net, layer, h, real[layer], shadow)
    return (Drawn(0, h),)


def draw_below(
    key: PRNGKeyArray,
    net: Classifier,
    layer: int,
    h: Float[Array, "batch above"],
    real: Float[Array, "batch below"],
    shadow: Shadow,
) -> Float[Array, "batch below"]:
    """Draws the input of one layer given its output: gain * r(W h) * d.

    Args:
        key: random key.
        net: the net.
        layer: which of its layers.
        h: the layer's output.
        real: its real inputs, whose energy counts where `gain` is "energy".
        shadow: keep_prob and gain.
    """
    weights = net.weights[layer]
    rectified = jax.nn.relu(h @ weights.T)
    mask, kept = draw_mask(key, rectified.shape, shadow.keep_prob)
    if shadow.gain == "readout":
        gain = Layer(weights, kept).gain
    else:
        energy = kept * (rectified**2).sum()
        # A net none of whose units fire draws 0, whatever the gain.
        gain = jnp.sqrt((real**2).sum() / jnp.where(energy > 0, energy, 1))
    drawn = gain * rectified
    return drawn if mask is None else jnp.where(mask, drawn, 0)
