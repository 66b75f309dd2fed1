"""Batch normalisations of a file: what each does, and how it is folded into a layer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from probrev.nets.weights.keras_config import KerasLayer
from probrev.nets.weights.modules import STATISTICS, Module
from probrev.nets.weights.names import BIAS, WEIGHTS
from probrev.nets.weights.trained_layer import FoldedNorm, TrainedLayer

# What the libraries add to a variance under a root if they are told nothing else.
EPSILONS = {"torch": 1e-5, "Keras": 1e-3, "flax": 1e-5}
NOT_FINITE = "a batch normalisation that is not finite, or of a negative variance"
UNEQUAL = "a batch normalisation whose arrays have not one length"


@dataclass(frozen=True)
class BatchNorm:
    """A batch normalisation when a net is used: z -> scale z + shift.

    Attributes:
        module: that holds it.
        scale: gamma / sqrt(variance + epsilon).
        shift: beta - mean scale.
        epsilon: as the file says it, or the default of the library.
        is_assumed: the file does not say it.
    """

    module: Module
    scale: np.ndarray
    shift: np.ndarray
    epsilon: float
    is_assumed: bool

    @property
    def name(self) -> str:
        """Its path."""
        return self.module.name

    @property
    def layer(self) -> KerasLayer | None:
        """What a Keras configuration says of it."""
        return self.module.layer


def as_norm(module: Module, tensors: Mapping[str, np.ndarray]) -> BatchNorm | str:
    """The batch normalisation that a module with its statistics is, or why it is none."""
    parts = {part: np.asarray(tensors[name], float) for part, name in module.parts.items()}
    library = next(one for one, names in STATISTICS.items() if {*names} <= {*parts})
    mean, variance = (parts[name] for name in STATISTICS[library])
    gamma = next((parts[one] for one in ("gamma", "scale", WEIGHTS) if one in parts), None)
    beta = next((parts[one] for one in ("beta", BIAS) if one in parts), None)
    gamma = np.ones_like(mean) if gamma is None else gamma
    beta = np.zeros_like(mean) if beta is None else beta
    if mean.ndim != 1 or any(one.shape != mean.shape for one in (variance, gamma, beta)):
        return UNEQUAL
    said = module.layer.settings.get("epsilon") if module.layer is not None else None
    epsilon = float(said) if isinstance(said, int | float) else EPSILONS[library]
    if not (np.isfinite([mean, variance, gamma, beta]).all() and (variance + epsilon > 0).all()):
        return NOT_FINITE
    scale = gamma / np.sqrt(variance + epsilon)
    return BatchNorm(module, scale, beta - mean * scale, epsilon, said is None)


def fold_after(layer: TrainedLayer, norm: BatchNorm) -> TrainedLayer:
    """The layer with a batch normalisation of its pre-activations: W' = W scale."""
    return replace(
        layer,
        column_scale=layer.column_scale * norm.scale,
        bias=layer.bias * norm.scale + norm.shift,
        norms=(*layer.norms, _folded(norm, False)),
    )


def fold_before(layer: TrainedLayer, norm: BatchNorm) -> TrainedLayer:
    """The dense layer with a batch normalisation of its input: W' = scale W, b' = b + shift W.

    Before any that acts on its pre-activations is folded in.
    """
    return replace(
        layer,
        row_scale=norm.scale,
        # Not `@`, which makes float64 of all the kernel first.
        bias=layer.bias + np.einsum("v,vh->h", norm.shift, layer.kernel),
        norms=(*layer.norms, _folded(norm, True)),
    )


def _folded(norm: BatchNorm, is_before: bool) -> FoldedNorm:
    return FoldedNorm(norm.name, norm.epsilon, norm.is_assumed, is_before)
