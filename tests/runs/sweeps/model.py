"""A model file small enough to sweep over in tests."""

import jax
import numpy as np

import probrev as pr


def build(noise_std: float = 0.8, n_visible: int = 30, values: str = "two", weight_seed: int = 0):
    """Builds it; a noise of 9 is refused beside one value."""
    if noise_std == 9 and values == "one":
        raise ValueError("too noisy")
    weights = np.asarray(jax.random.normal(jax.random.key(weight_seed), (n_visible, 4)))
    slab = pr.FiniteSlab([0.4, 1.1], [0.3, 0.7]) if values == "two" else pr.FiniteSlab([0.9], [1.0])
    return pr.LayeredModel(pr.SpikeAndSlab(4, 0.3, slab), [pr.Layer(weights, 0.7, noise_std)])
