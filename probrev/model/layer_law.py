"""What a subclass of a layer changes of its law: nothing is assumed of such a one."""

from collections.abc import Sequence

from probrev.model.kinds import law_of, overridden
from probrev.model.layer import Layer
from probrev.plumbing.refusal import Refusal

# What says nothing of the law of x given h.
_ASIDE_OF_LAYER = (
    "weight_std", "has_readout", "readout", "readout_scale", "readout_std", "prior_readout_std",
    "_stein_factor",
)  # fmt: skip
# What the rest of a layer's law follows from.
_LAW_OF_LAYER = ("pre_activation", "distribution")


def check_layer_laws(method: str, layers: Sequence[Layer]) -> None:
    """Raises ValueError for layers of a subclass that overrides their law.

    Args:
        method: what needs that law, to name in the error.
        layers: the layers.
    """
    changes = layer_changes(layers)
    if changes:
        raise Refusal(
            f"{method} needs the law of a Layer, and a subclass of it overrides "
            f"{', '.join(changes)}: use draws from the model instead"
        )


def layer_changes(layers: Sequence[Layer]) -> tuple[str, ...]:
    """What layers override of their law."""
    return tuple(
        f"{name} of layers[{level}]"
        for level, layer in enumerate(layers)
        for name in overridden(layer, law_of(Layer, _ASIDE_OF_LAYER), Layer)
    )


def check_layer_law(level: int, layer: Layer) -> None:
    """Raises ValueError for a layer whose density and draws cannot be of one law."""
    names = [name for name in law_of(Layer, _ASIDE_OF_LAYER) if name not in _LAW_OF_LAYER]
    changed = overridden(layer, names, Layer)
    if changed and not overridden(layer, _LAW_OF_LAYER, Layer):
        raise Refusal(
            f"layers[{level}], a {type(layer).__name__}, overrides {', '.join(changed)}, but not "
            "distribution, from which program, generate and log_likelihood follow: override that"
        )
