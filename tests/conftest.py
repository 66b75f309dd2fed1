"""Every test runs in float64 and refuses implicit rank promotion."""

import jax
import numpyro

numpyro.enable_x64()
jax.config.update("jax_numpy_rank_promotion", "raise")
