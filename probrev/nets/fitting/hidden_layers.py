"""The hidden ReLU layers of a net: those that a generative layer may be fitted to."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from probrev.inverses.feedforward import FeedforwardNet
from probrev.nets.weights.layers import label_layers
from probrev.nets.weights.trained_layer import DENSE, RELU, TrainedLayer, TrainedLayers
from probrev.plumbing.refusal import Refusal


def read_hidden(
    layers: Sequence[TrainedLayer] | FeedforwardNet,
) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Names, weights and biases of the layers that are to be fitted."""
    if isinstance(layers, FeedforwardNet):
        weights = [np.asarray(layer.weights, float) for layer in layers.layers]
        biases = [
            np.broadcast_to(np.asarray(bias.offset, float), matrix.shape[1:])
            for bias, matrix in zip(layers.biases, weights, strict=True)
        ]
        return [f"layer {number + 1}" for number in range(len(weights))], weights, biases
    for layer in layers:
        if not isinstance(layer, TrainedLayer):
            raise Refusal(
                "layers must be what pr.read_layers returns, or a FeedforwardNet, as in "
                "pr.FeedforwardNet.from_weights(weights, biases); got a "
                f"{type(layer).__name__}"
            )
    hidden = hidden_layers(layers)
    names = label_layers(hidden)
    return (
        names,
        [np.array(layer.weights) for layer in hidden],
        [np.array(layer.bias) for layer in hidden],
    )


def hidden_layers(layers: Sequence[TrainedLayer]) -> list[TrainedLayer]:
    """The ReLU layers of a net, without its output.

    The last layer is taken to be the output, unless its file says that it is a ReLU layer.

    Raises:
        ValueError: there is none, layers do not follow each other, or one of them is no dense layer
            of ReLUs.
    """
    if isinstance(layers, TrainedLayers) and layers.doubts:
        raise Refusal(f"the file's layers are not known to be one net: {' '.join(layers.doubts)}")
    hidden = list(layers) if layers[-1].activation == RELU else list(layers[:-1])
    if not hidden:
        raise Refusal(
            f"only the layer {layers[-1].name} was read, and the last layer is taken to be a net's "
            "output: of one ReLU layer use pr.FeedforwardNet.from_weights([weights], [bias])"
        )
    for layer in hidden:
        if layer.kind != DENSE:
            raise Refusal(
                f"layer {layer.name} is of kind {layer.kind}: fit the dense layers above it, on "
                "the activations that reach them, by pr.FeedforwardNet.from_weights"
            )
        if layer.activation not in ("", RELU):
            raise Refusal(
                f"layer {layer.name} has activation {layer.activation}: only nets of ReLU layers "
                "can be fitted, since their h are a spike at 0 and a slab above"
            )
    for below, above in pairwise(layers):
        if below.n_hidden != above.n_visible:
            raise Refusal(
                f"layer {above.name} reads {above.n_visible} numbers, and {below.name} before it "
                f"gives {below.n_hidden}: they are no net in this order"
            )
    return hidden
