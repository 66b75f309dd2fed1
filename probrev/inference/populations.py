"""Populations of weighted chains that never meet, so that their spread is an error."""

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int, PRNGKeyArray

from probrev.plumbing.refusal import Refusal

NUM_POPULATIONS = 8


def check_populations(num_chains: int) -> None:
    """Raises ValueError unless chains can be dealt out to the populations."""
    if num_chains % NUM_POPULATIONS:
        raise Refusal(
            f"num_chains must be a multiple of {NUM_POPULATIONS}, one population each; "
            f"got {num_chains}"
        )


def resample(
    key: PRNGKeyArray, log_weight: Float[jax.Array, "population chain"]
) -> Int[jax.Array, " case"]:
    """Systematic resampling within each population: the case that each one goes on from."""
    num_populations, size = log_weight.shape
    cumulative = jnp.cumsum(jax.nn.softmax(log_weight, axis=1), axis=1)
    comb = jax.random.uniform(key, (num_populations, 1)) + jnp.arange(size)[None, :]
    parent = jax.vmap(jnp.searchsorted)(cumulative / cumulative[:, -1:] * size, comb)
    parent = jnp.minimum(parent, size - 1) + size * jnp.arange(num_populations)[:, None]
    return parent.reshape(-1)
