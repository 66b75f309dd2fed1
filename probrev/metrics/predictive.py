"""Whether the model could have made x: what it predicts, before and after seeing x."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from probrev.metrics.case import POSTERIOR, Case, Measured, row_of_mean
from probrev.metrics.likelihood import likelihood_of, thin

NUM_DRAWS = 100


def predictive(case: Case) -> Measured:
    """Statistics of x beside those of x drawn from the posterior predictive and from the prior.

    Statistics, per observation: `zero_share` (share of x_j = 0), `norm` (||x||_2), `largest`
    (max x), and `log_likelihood` where it has a closed form: log p(x | h) with the h that the
    replicate was drawn from. `surprise` is the share of observations whose statistic lies outside
    the central 90 % of its predictive: near .1 or below for a model that made x.

    Source: Gelman, Meng and Stern 1996, posterior predictive discrepancies.
    """
    x = case.x.to_numpy()
    keys = jax.random.split(jax.random.key(case.seed), 2)
    h = jnp.asarray(thin(case.draws, NUM_DRAWS).to_numpy())
    replicates = np.asarray(jax.lax.map(lambda kh: case.model.generate(*kh), _keyed(keys[0], h)))
    prior = np.asarray(case.model.simulate(keys[1], NUM_DRAWS).x)
    arrays, rows = {}, []
    for name, statistic in STATISTICS.items():
        seen, replicated = statistic(x), statistic(replicates)
        arrays |= {
            f"{name}_observed": xr.DataArray(seen, dims="obs"),
            f"{name}_posterior": xr.DataArray(replicated, dims=("replicate", "obs")),
            f"{name}_prior": xr.DataArray(statistic(prior), dims="prior_replicate"),
        }
        rows.append(_surprise(name, seen[None], replicated))
    log_likelihood = likelihood_of(case)
    if log_likelihood is not None:
        per_pair = jax.jit(jax.vmap(case.model.log_likelihood))
        rows.append(
            _surprise("log_likelihood", log_likelihood(h), np.asarray(per_pair(h, replicates)))
        )
    return Measured(arrays, rows)


STATISTICS = {
    "zero_share": lambda x: (x == 0).mean(-1),
    "norm": lambda x: np.linalg.norm(x, axis=-1),
    "largest": lambda x: x.max(-1),
}


def _surprise(name: str, seen: np.ndarray, replicated: np.ndarray):
    """Share of observations whose statistic is extreme among its replicates."""
    below = (replicated < seen).mean(0) + 0.5 * (replicated == seen).mean(0)
    return row_of_mean(f"predictive_surprise_{name}", POSTERIOR, (below < 0.05) | (below > 0.95))


def _keyed(key: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.random.split(key, len(h)), h
