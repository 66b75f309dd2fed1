"""Trained layers in a file of weights, each as the theory sees it."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float

from probrev.nets.weights.files import read_tensors
from probrev.nets.weights.initializers import INITIALIZERS, check_initializer, init_variance
from probrev.nets.weights.keras_files import read_initializers
from probrev.plumbing.refusal import Refusal

# Last parts of the names of tensors. Keras: (in, out). torch: (out, in). Ours: (visible, hidden).
KERAS, TORCH, OURS = "kernel", "weight", "weights"
BIASES = ("bias", "biases", "b")
OPTIMIZER, KERAS_ROOT = "optimizer", "model_weights"
# What is added to a variance under a root in batch normalisation, where the file does not say.
KERAS_EPSILON, TORCH_EPSILON = 1e-3, 1e-5


@dataclass(frozen=True)
class TrainedLayer:
    """One layer of a trained net, h = r(weights^T x + bias).

    Attributes:
        name: of its weights in the file.
        weights: W, (n_visible, n_hidden); for a convolution (k * k * c_in, c_out). A batch
            normalisation of its pre-activations is folded in.
        bias: of each hidden unit; 0 if the file has none.
        kernel: the weights as they were trained, before the folding.
        kernel_size: k * k for a convolution, else 1.
        initializer: what drew the weights before training; "" if the file does not say.
    """

    name: str
    weights: Float[np.ndarray, "visible hidden"]
    bias: Float[np.ndarray, " hidden"]
    kernel: Float[np.ndarray, "visible hidden"]
    kernel_size: int = 1
    initializer: str = ""

    @property
    def label(self) -> str:
        """The name of the module that holds the weights; their own if none does."""
        module, leaf = _split(self.name)
        parts = module.removeprefix(f"{KERAS_ROOT}.").split(".")
        return (parts[0] if module.startswith(KERAS_ROOT) else module) or leaf

    @property
    def n_visible(self) -> int:
        """Units of x, or of the layer below; entries of its patch for a convolution."""
        return self.weights.shape[0]

    @property
    def n_hidden(self) -> int:
        """Units of h, or channels."""
        return self.weights.shape[1]

    @property
    def init_var(self) -> float | None:
        """Variance of an entry of `kernel` before training; None if the initialiser is unknown."""
        if not self.initializer:
            return None
        fan_out = self.kernel_size * self.n_hidden
        return init_variance(self.initializer, self.n_visible, fan_out)

    @property
    def init_share(self) -> float | None:
        """Share of the variance of `kernel` that its initialisation alone would give."""
        variance = float(self.kernel.var())
        return None if self.init_var is None or not variance else self.init_var / variance


def read_layers(
    path: str | Path, tensor: str | None = None, initializer: str = ""
) -> list[TrainedLayer]:
    """Reads the trained layers of a net, in the order of the file, next to x first.

    A layer is a tensor called `kernel` (Keras: in, out), `weight` (torch: out, in), `weights`
    (n_visible, n_hidden), or any other matrix, taken as (n_visible, n_hidden). Convolutions become
    (k * k * c_in, c_out). A batch normalisation that comes right after a layer of its width is
    folded into it, W' = W gamma / sqrt(variance + epsilon), which is right if it acts on the
    pre-activations; a file of tensors does not say whether it does.

    Args:
        path: what `read_tensors` reads.
        tensor: a single tensor to read, by its name, the end of it, or its module's name; by
            default all layers.
        initializer: what drew the weights, a name of `init_variance`; by default what the file
            says, which only a Keras model does.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, holds no layer, or not that one.
    """
    check_initializer(initializer)
    tensors = read_tensors(path)
    known = read_initializers(Path(path))
    layers = [
        replace(layer, initializer=initializer or _initializer_of(layer.name, known))
        for layer in find_layers(tensors)
    ]
    if tensor is not None:
        layers = [_choose(layers, tensor, path)]
    if not layers:
        raise Refusal(f"{path}: expected layers, tensors of 2 or 4 axes; got none of them")
    return layers


def label_layers(layers: list[TrainedLayer]) -> list[str]:
    """A name for each layer: short ones if they tell them apart, else those of the tensors."""
    short = [layer.label for layer in layers]
    return short if len({*short}) == len(short) else [layer.name for layer in layers]


def find_layers(tensors: Mapping[str, np.ndarray]) -> Iterator[TrainedLayer]:
    """The layers among named tensors, as `read_layers` describes them.

    Raises:
        ValueError: weights that are not finite.
    """
    modules: dict[str, dict[str, str]] = {}
    for name in tensors:
        module, leaf = _split(name)
        if not module.startswith(OPTIMIZER):
            modules.setdefault(module, {})[leaf] = name
    for names, following in pairwise([*modules.values(), {}]):
        norm = {leaf: np.asarray(tensors[name], float) for leaf, name in following.items()}
        for leaf, name in names.items():
            found = _as_matrix(leaf, tensors[name])
            if found is not None:
                kernel, kernel_size = found
                bias = _bias_of(kernel, leaf, {one: tensors[names[one]] for one in names})
                layer = TrainedLayer(name, kernel, bias, kernel, kernel_size)
                yield _folded(_checked(layer), norm)


def _split(name: str) -> tuple[str, str]:
    """The module and the last part of a name: `dense_1/kernel:0` is dense_1 and kernel."""
    module, _, leaf = re.sub(r":\d+$", "", name).replace("/", ".").rpartition(".")
    return module, leaf


def _as_matrix(leaf: str, tensor: np.ndarray) -> tuple[np.ndarray, int] | None:
    """The (visible, hidden) matrix of a tensor and its k * k, if it is the weights of a layer."""
    if not tensor.size or tensor.ndim < 2 or (tensor.ndim > 2 and leaf not in (KERAS, TORCH)):
        return None
    if leaf == TORCH:
        return np.asarray(tensor.reshape(len(tensor), -1).T, float), math.prod(tensor.shape[2:])
    matrix = tensor.reshape(-1, tensor.shape[-1])
    return np.asarray(matrix, float), math.prod(tensor.shape[:-2])


def _bias_of(kernel: np.ndarray, leaf: str, parts: Mapping[str, np.ndarray]) -> np.ndarray:
    found = [parts[name] for name in BIASES if name in parts and leaf in (KERAS, TORCH, OURS)]
    if found and found[0].shape == kernel.shape[1:]:
        return np.asarray(found[0], float)
    return np.zeros(kernel.shape[1])


def _checked(layer: TrainedLayer) -> TrainedLayer:
    if not (np.isfinite(layer.weights).all() and np.isfinite(layer.bias).all()):
        raise Refusal(f"{layer.name}: weights must be finite; got NaN or infinity")
    return layer


def _folded(layer: TrainedLayer, norm: Mapping[str, np.ndarray]) -> TrainedLayer:
    """A layer with the batch normalisation after it, if that is what follows: W', b'."""
    width = layer.bias.shape
    if "moving_variance" in norm:
        mean, variance = norm.get("moving_mean"), norm["moving_variance"] + KERAS_EPSILON
        gamma, beta = norm.get("gamma", np.ones(width)), norm.get("beta", np.zeros(width))
    elif "running_var" in norm:
        mean, variance = norm.get("running_mean"), norm["running_var"] + TORCH_EPSILON
        gamma, beta = norm.get("weight", np.ones(width)), norm.get("bias", np.zeros(width))
    else:
        return layer
    if mean is None or any(one.shape != width for one in (mean, variance, gamma, beta)):
        return layer
    scale = gamma / np.sqrt(variance)
    return _checked(
        replace(layer, weights=layer.kernel * scale, bias=(layer.bias - mean) * scale + beta)
    )


def _initializer_of(name: str, known: Mapping[str, str]) -> str:
    """The initialiser of the Keras layer that a path leads through."""
    found = [known[part] for part in _split(name)[0].split(".") if part in known]
    return found[0] if found and found[0] in INITIALIZERS else ""


def _choose(layers: list[TrainedLayer], name: str, path: str | Path) -> TrainedLayer:
    names = [layer.name for layer in layers]
    exact = [layer for layer in layers if layer.name == name]
    pattern = re.compile(rf"(^|[/.]){re.escape(name)}(:\d+)?$")
    ending = [layer for layer in layers if pattern.search(layer.name)]
    found = exact or [layer for layer in layers if layer.label == name] or ending
    if len(found) != 1:
        trouble = f"{len(found)} layers end in" if found else "no layer"
        raise Refusal(f"{path}: {trouble} {name!r}; its layers: {', '.join(names)}")
    return found[0]
