"""A restricted Boltzmann machine: reversible, so that net and posterior mean must coincide."""

import jax
import numpy as np
from jaxtyping import Float

import probrev as pr
from probrev.plumbing import door


@door.guard(n_visible=door.count(), n_hidden=door.count())
def build(
    n_visible: int = 30,
    n_hidden: int = 12,
    coupling: float = 2.0,
    weights: Float[np.ndarray, "visible hidden"] | None = None,
    weight_seed: int = 0,
) -> pr.BoltzmannMachine:
    """Builds a machine of one hidden layer; at its defaults 4,096 states of h.

    Biases are such that a unit is 1 as often as 0: b = -(sum of its couplings) / 2.

    Args:
        n_visible: width of x.
        n_hidden: width of h.
        coupling: standard deviation of the field that a random x puts on a hidden unit.
        weights: W, (n_visible, n_hidden), instead of normal draws; a .npy file.
        weight_seed: seed of the weights.
    """
    if weights is None:
        normal = jax.random.normal(jax.random.key(weight_seed), (n_visible, n_hidden))
        weights = np.asarray(normal * coupling * 2 / np.sqrt(n_visible))
    return pr.BoltzmannMachine([weights], [-weights.sum(1) / 2, -weights.sum(0) / 2])
