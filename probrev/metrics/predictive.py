"""Whether the model could have made x: what it predicts, before and after seeing x."""

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.metrics.case import POSTERIOR, Case, Measured, Row, row_of_mean
from probrev.metrics.likelihood import has_likelihood, log_likelihoods, thin
from probrev.model import NUM_SIMULATED, Model

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
    key_posterior, key_prior = jax.random.split(jax.random.key(case.seed))
    h = thin(case.draws, NUM_DRAWS).to_numpy()
    replicates = np.asarray(_replicate(key_posterior, case.model, h))
    prior = np.asarray(case.model.simulate(key_prior, NUM_SIMULATED).x)
    arrays, rows = {}, []
    for name, statistic in STATISTICS.items():
        seen, replicated = statistic(x), statistic(replicates)
        arrays |= {
            f"{name}_observed": xr.DataArray(seen, dims="obs"),
            f"{name}_posterior": xr.DataArray(replicated, dims=("replicate", "obs")),
            f"{name}_prior": xr.DataArray(statistic(prior), dims="prior_replicate"),
        }
        rows.append(_surprise(name, seen[None], replicated))
    if has_likelihood(case):
        pairs = (
            np.concatenate([h, h]),
            np.concatenate([np.broadcast_to(x, replicates.shape), replicates]),
        )
        seen, replicated = np.split(np.asarray(log_likelihoods(case.model, *pairs)), 2)
        rows.append(_surprise("log_likelihood", seen, replicated))
    return Measured(arrays, rows)


STATISTICS = {
    "zero_share": lambda x: (x == 0).mean(-1),
    "norm": lambda x: np.linalg.norm(x, axis=-1),
    "largest": lambda x: x.max(-1),
}


def _surprise(name: str, seen: np.ndarray, replicated: np.ndarray) -> Row:
    """Share of observations whose statistic is extreme among its replicates."""
    below = (replicated < seen).mean(0) + 0.5 * (replicated == seen).mean(0)
    return row_of_mean(f"predictive_surprise_{name}", POSTERIOR, (below < 0.05) | (below > 0.95))


@jax.jit
def _replicate(key: PRNGKeyArray, model: Model, h: Float[Array, "draw obs hidden"]) -> Array:
    """X drawn given each h, draw by draw."""
    keys = jax.random.split(key, len(h))
    return jax.lax.map(lambda pair: model.generate(*pair), (keys, h))
