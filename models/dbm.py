"""A deep Boltzmann machine: hidden layers that speak to each other, so that no pass up is exact."""

import jax
import numpy as np

import probrev as pr
from probrev.plumbing import door


@door.guard(n_visible=door.count(), n_intermediate=door.count(), n_top=door.count())
def build(
    n_visible: int = 30,
    n_intermediate: int = 12,
    n_top: int = 12,
    coupling: float = 1.0,
    top_coupling: float = 3.5,
    weight_seed: int = 0,
) -> pr.BoltzmannMachine:
    """Builds x - h^1 - h^2, h = (h^1, h^2); at its defaults 4,096 states of h^1 to visit.

    Biases are such that a unit is 1 as often as 0: b = -(sum of its couplings) / 2.

    Args:
        n_visible: width of x.
        n_intermediate: width of h^1.
        n_top: width of h^2.
        coupling: standard deviation of the field that a random x puts on a unit of h^1.
        top_coupling: the same of a random h^1 on a unit of h^2.
        weight_seed: seed of the weights.
    """
    widths, couplings = (n_visible, n_intermediate, n_top), (coupling, top_coupling)
    key, weights = jax.random.key(weight_seed), []
    for level, strength in enumerate(couplings):
        shape = widths[level : level + 2]
        normal = jax.random.normal(jax.random.fold_in(key, level), shape)
        weights.append(np.asarray(normal * strength * 2 / np.sqrt(shape[0])))
    below, above = weights
    biases = [-below.sum(1) / 2, -(below.sum(0) + above.sum(1)) / 2, -above.sum(0) / 2]
    return pr.BoltzmannMachine(weights, biases)
