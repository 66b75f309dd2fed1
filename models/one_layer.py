"""One ReLU layer over a small finite prior: small enough to enumerate, hard enough to matter."""

import jax
import numpy as np
from jaxtyping import Float
from scipy.stats import halfnorm

import probrev as pr
from probrev.plumbing import door


@door.guard(n_visible=door.count(), n_hidden=door.count(), num_values=door.count())
def build(
    n_visible: int = 400,
    n_hidden: int = 24,
    inclusion_prob: float = 1 / 8,
    max_active: int = 3,
    num_values: int = 4,
    keep_prob: float = 0.5,
    noise_std: float = 1.4,
    weights: Float[np.ndarray, "visible hidden"] | None = None,
    weight_seed: int = 0,
) -> pr.LayeredModel:
    """Builds the model; at its defaults the posterior is a sum over 134,049 states.

    Args:
        n_visible: width of x.
        n_hidden: width of h.
        inclusion_prob: probability that a unit is active, before the bound on their number.
        max_active: most active units.
        num_values: values an active unit can take: quantiles of a half-normal, equally likely.
        keep_prob: probability that a visible unit survives dropout.
        noise_std: standard deviation of the noise, in units of W h.
        weights: W, (n_visible, n_hidden), instead of N(0, 1) draws; a .npy file.
        weight_seed: seed of the N(0, 1) weights.
    """
    if weights is None:
        shape = (n_visible, n_hidden)
        weights = np.asarray(jax.random.normal(jax.random.key(weight_seed), shape))
    quantiles = (np.arange(num_values) + 0.5) / num_values
    slab = pr.FiniteSlab(
        halfnorm.ppf(quantiles, scale=1 / np.sqrt(3)), np.full(num_values, 1 / num_values)
    )
    prior = pr.SpikeAndSlab(weights.shape[1], inclusion_prob, slab, max_active)
    return pr.LayeredModel(prior, [pr.Layer(weights, keep_prob, noise_std)])
