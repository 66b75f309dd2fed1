"""The linear baby case: no rectifier, no dropout, binary h; the readout is almost all there is."""

import jax
import numpy as np
from jaxtyping import Float

import probrev as pr
from probrev.plumbing import door


@door.guard(n_visible=door.count(), n_hidden=door.count())
def build(
    n_visible: int = 100,
    n_hidden: int = 16,
    inclusion_prob: float = 0.25,
    noise_std: float = 2.0,
    weights: Float[np.ndarray, "visible hidden"] | None = None,
    weight_seed: int = 0,
) -> pr.LayeredModel:
    """Builds x = (W h + noise) / n with h in {0, 1}^m; at its defaults 65,536 states.

    Args:
        n_visible: width of x.
        n_hidden: width of h.
        inclusion_prob: probability that a unit is 1.
        noise_std: standard deviation of the noise, in units of W h.
        weights: W, (n_visible, n_hidden), instead of N(0, 1) draws; a .npy file.
        weight_seed: seed of the N(0, 1) weights.
    """
    if weights is None:
        shape = (n_visible, n_hidden)
        weights = np.asarray(jax.random.normal(jax.random.key(weight_seed), shape))
    n_visible, n_hidden = weights.shape
    prior = pr.SpikeAndSlab(n_hidden, inclusion_prob, pr.FiniteSlab([1.0], [1.0]))
    layer = pr.Layer(weights, noise_std=noise_std, gain=1 / n_visible, activation="identity")
    return pr.LayeredModel(prior, [layer])
