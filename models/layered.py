"""ReLU layers with noise relative to each layer's signal."""

import jax
import numpy as np
from numpyro.distributions import HalfNormal

import probrev as pr
from probrev.plumbing import door


@door.guard(
    n_visible=door.count(),
    n_intermediate=door.count(),
    n_hidden=door.count(),
    num_layers=door.count(),
)
def build(
    n_visible: int = 400,
    n_intermediate: int = 100,
    n_hidden: int = 20,
    num_layers: int = 2,
    n_active: float = 3.0,
    keep_prob: float = 0.5,
    relative_noise: float = 0.5,
    weight_seed: int = 0,
) -> pr.LayeredModel:
    """Builds the model; hidden widths grow by the same factor from each layer to the next below.

    Args:
        n_visible: width of x.
        n_intermediate: width of the hidden vector above x, where that is not h; between it and h
            widths are geometric.
        n_hidden: width of the top vector h.
        num_layers: at least 1.
        n_active: expected number of active units of h.
        keep_prob: probability that a unit survives dropout, in every layer.
        relative_noise: noise_std of a layer over the root mean square norm of its input.
        weight_seed: seed of the N(0, 1) weights.
    """
    from_top = np.geomspace(n_hidden, n_intermediate, num_layers).round().astype(int)
    widths = [n_visible, *(int(width) for width in reversed(from_top))]
    prior = pr.SpikeAndSlab(n_hidden, n_active / n_hidden, HalfNormal(1.0))
    energy, layers = float(n_active), []
    key = jax.random.key(weight_seed)
    for level in reversed(range(num_layers)):
        shape = (widths[level], widths[level + 1])
        weights = jax.random.normal(jax.random.fold_in(key, level), shape)
        noise_std = relative_noise * np.sqrt(energy)
        layers.insert(0, pr.Layer(weights, keep_prob, noise_std))
        # E||h^(l-1)||^2 = 2 (E||h^(l)||^2 + noise_var) / (rho n): norms shrink layer by layer.
        energy = 2 * (energy + noise_std**2) / (keep_prob * widths[level])
    return pr.LayeredModel(prior, layers)
