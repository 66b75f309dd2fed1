"""What warm-up learns of a layer for the proposals of later sweeps."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from probrev.inference.gibbs.surrogate import Surrogate, fit_surrogate
from probrev.model.layer import Layer


class Warmth(NamedTuple):
    """Where the pre-activations of a layer were, and the surrogate fitted there.

    Attributes:
        mean: average of W h over warm-up, later steps counting more.
        square: the same of its square.
        surrogate: fitted when warm-up ends, and before it to the prior.
    """

    mean: Float[Array, "case visible"]
    square: Float[Array, "case visible"]
    surrogate: Surrogate


def warm(
    warmth: tuple[Warmth, ...],
    num_steps: Int[Array, ""],
    fits: Bool[Array, ""],
    layers: Sequence[Layer],
    x: Float[Array, "obs visible"],
    signals: Sequence[Array],
) -> tuple[Warmth, ...]:
    """Takes a sweep of warm-up into account.

    Args:
        warmth: of each layer, so far.
        num_steps: sweeps before this one.
        fits: whether the surrogates are fitted now.
        layers: the layers.
        x: what is below them.
        signals: the hidden vectors, the one next to x first.
    """
    found = []
    for layer, old, h in zip(layers, warmth, signals, strict=True):
        z = layer.pre_activation(h)
        mean, square = average_in(old.mean, old.square, z, num_steps)
        var = jnp.maximum(square - jnp.square(mean), 0.0)
        keep = lambda layer, below, mean, var, old=old: old.surrogate  # noqa: E731
        below = what_to_fit(x, z, len(found))
        surrogate = jax.lax.cond(fits, fit_surrogate, keep, layer, below, mean, var)
        found.append(Warmth(mean, square, surrogate))
    return tuple(found)


def average_in(
    mean: Float[Array, "case visible"],
    square: Float[Array, "case visible"],
    z: Float[Array, "case visible"],
    num_steps: Int[Array, ""],
) -> tuple[Float[Array, "case visible"], Float[Array, "case visible"]]:
    """Averages of z and of its square with one more z; weights grow with the steps done."""
    share = 2.0 / (num_steps + 3.0)
    return mean + share * (z - mean), square + share * (jnp.square(z) - square)


def what_to_fit(
    x: Float[Array, "obs visible"], z: Float[Array, "case visible"], level: int
) -> Float[Array, "case visible"]:
    """The values that a surrogate is fitted to: x, and of hidden rows, which are seen or 0, 0."""
    return jnp.zeros_like(z) if level > 0 else jnp.tile(x, (len(z) // len(x), 1))
