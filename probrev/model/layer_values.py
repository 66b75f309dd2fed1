"""Whether values of x are some that a layer can make."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from probrev.model.activations import Activation, Location
from probrev.model.layer import Layer
from probrev.plumbing.refusal import Refusal

# A value that misses a flat's by so little, relative, was rounded: so few of them come by chance.
NEAR_FLAT, CHANCE_OF_NEAR = 1e-6, 1e-4


def check_values(layer: Layer, x: Float[np.ndarray, "obs visible"]) -> None:
    """Raises ValueError for x of probability 0 under every h, or rounded off a flat's value."""
    place = _locate(layer, jnp.asarray(x))
    impossible = np.argwhere(~np.asarray(place.possible))
    if len(impossible):
        number, unit = impossible[0]
        raise Refusal(
            f"x must be what a layer with activation {layer.activation}, gain "
            f"{float(layer.gain):.3g} and keep_prob {float(layer.keep_prob):g} can make; "
            f"observation {number} has x_{unit} = {float(x[number, unit]):.6g}, which has "
            f"probability 0 under every h{explain_negative(layer.activation, x)}"
        )
    _check_flats(layer, x, place)


@jax.jit
def _locate(layer: Layer, x: Float[Array, "obs visible"]) -> Location:
    return layer.locate(x)


def explain_negative(activation: Activation, x: Float[np.ndarray, "obs visible"]) -> str:
    """What to do about x below 0, where the activation gives none; else empty."""
    values = [flat.value for flat in activation.flats] + [low for low, _ in activation.stretches]
    if x.min() >= 0 or min(values) < 0:
        return ""
    return (
        f"; {np.mean(x < 0):.0%} of x are below 0, as standardised inputs are: give the layer next "
        'to x activation="identity", or give x before it is standardised'
    )


def _check_flats(layer: Layer, x: Float[np.ndarray, "obs visible"], place: Location) -> None:
    """Raises ValueError where many values of x miss a flat of the activation by a hair.

    They would be taken for values on the stretch beside it, which say something else of h.
    """
    y = x / float(layer.gain)
    for flat, is_on in zip(layer.activation.flats, place.on, strict=True):
        missed = (np.abs(y - flat.value) <= NEAR_FLAT * abs(flat.value)) & ~np.asarray(is_on)
        if missed.sum() > max(1, CHANCE_OF_NEAR * x.size):
            value = flat.value * float(layer.gain)
            raise Refusal(
                f"x has {missed.sum()} values within {NEAR_FLAT:g} of {value:.9g}, which "
                f"activation {layer.activation} gives to all beyond some point, but not equal to "
                "it: was it kept in float32? Round them, as in "
                f"x[np.isclose(x, {value:.9g})] = {value!r}"
            )
