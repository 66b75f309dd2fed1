"""Trained layers as the theory sees them, and what is known of them as a net."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

import numpy as np
from jaxtyping import Float

from probrev.nets.weights.initializers import init_variance
from probrev.nets.weights.names import split_path
from probrev.plumbing.readable import Table, readable

DENSE, CONVOLUTION, ATTENTION = "dense", "convolution", "attention"
KERAS_ROOT = "model_weights"
# What files call the activation that a net must have.
RELU = "relu"
# Groups of Keras's files that only say what kind of thing follows.
_GROUPS = ("layers", "vars")


@readable
class FoldedNorm(NamedTuple):
    """A batch normalisation that was folded into a layer.

    Attributes:
        name: of its module in the file.
        epsilon: what is added to its variance under a root.
        is_assumed: the file does not say epsilon; it is the default of the library that wrote it.
        is_before: it acts on the layer's input, not on its pre-activations.
    """

    name: str
    epsilon: float
    is_assumed: bool
    is_before: bool = False


@readable
@dataclass(frozen=True)
class TrainedLayer:
    """One layer of a trained net, h = r(weights^T x + bias).

    Attributes:
        name: of its weights in the file.
        kernel: the weights as they were trained, (n_visible, n_hidden); for a convolution
            (k * k * c_in, c_out). In the precision of the file, but bfloat16 as float32.
        bias: of each hidden unit, with the batch normalisations in `norms`; 0 if the layer has
            none.
        kernel_size: k * k for a convolution, else 1.
        initializer: what drew the weights before training; "" if the file does not say.
        kind: "dense", "convolution", or "attention": a matrix of queries, keys, values or outputs.
        activation: the function after the layer ("relu", "linear", ...); "" if the file does not
            say, as only a Keras model does.
        norms: what was folded in.
        row_scale: what that multiplies the rows of the kernel by; 1 if nothing does.
        column_scale: the same for its columns.
        assumed: sentences on what the file does not say and was taken so.
    """

    name: str
    kernel: Float[np.ndarray, "visible hidden"]
    bias: Float[np.ndarray, " hidden"]
    kernel_size: int = 1
    initializer: str = ""
    kind: str = DENSE
    activation: str = ""
    norms: tuple[FoldedNorm, ...] = ()
    row_scale: Float[np.ndarray, " visible"] | float = 1.0
    column_scale: Float[np.ndarray, " hidden"] | float = 1.0
    assumed: tuple[str, ...] = ()

    @property
    def weights(self) -> Float[np.ndarray, "visible hidden"]:
        """W: the kernel with the batch normalisations folded in; float64, made at each call."""
        weights = self.kernel.astype(float)
        weights *= np.reshape(self.row_scale, (-1, 1))
        weights *= self.column_scale
        return weights

    @property
    def label(self) -> str:
        """The name of the module that holds the weights; their own if none does."""
        *path, leaf = split_path(self.name)
        if path[:1] == [KERAS_ROOT]:
            return ".".join(path[1:2]) or leaf
        if path[-1:] == ["vars"]:
            path = [part for part in path if part not in _GROUPS]
        return ".".join(path) or leaf

    @property
    def n_visible(self) -> int:
        """Units of x, or of the layer below; entries of its patch for a convolution."""
        return self.kernel.shape[0]

    @property
    def n_hidden(self) -> int:
        """Units of h, or channels."""
        return self.kernel.shape[1]

    @property
    def num_channels(self) -> int:
        """Units of the layer below that each place of the kernel sees."""
        return self.n_visible // self.kernel_size

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
        variance = float(self.kernel.var(dtype=float))
        return None if self.init_var is None or not variance else self.init_var / variance


@readable
@dataclass(frozen=True)
class TrainedLayers(Sequence[TrainedLayer]):
    """The trained layers of a file, and what is known of them as a net.

    Attributes:
        layers: next to x first, as far as the order is known.
        left_out: why a tensor is in no layer, by its name.
        order_known: the layers act one after the other in this order. Said by the file, or the only
            order in which each layer has as many inputs as the one before has outputs.
        order: a sentence on where the order is from, or why there is none.
        doubts: sentences on what keeps the layers from being known to be the whole net in its
            order: whoever builds a net of them should refuse if there is one.
    """

    layers: tuple[TrainedLayer, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    order_known: bool = True
    order: str = ""
    doubts: tuple[str, ...] = ()

    def _table(self) -> Table:
        import pandas as pd  # slow, and some commands begin without it

        rows = [
            (one.name, f"{one.n_visible} x {one.n_hidden}", one.kind, one.activation)
            for one in self
        ]
        columns = ["weights", "shape", "kind", "activation"]
        return Table(f"TrainedLayers; {self.order}", pd.DataFrame(rows, columns=columns))

    @overload
    def __getitem__(self, index: int) -> TrainedLayer: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TrainedLayer, ...]: ...
    def __getitem__(self, index: int | slice) -> TrainedLayer | tuple[TrainedLayer, ...]:
        return self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)
