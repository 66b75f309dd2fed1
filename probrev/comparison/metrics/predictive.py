"""Whether the model could have made x: what it predicts, before and after seeing x."""

from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.stats import binom

from probrev.comparison.metrics.case import POSTERIOR, Case, Measured, Row, row_of_share
from probrev.comparison.metrics.family import MetricFamily
from probrev.comparison.metrics.likelihood import has_likelihood, log_likelihoods, thin
from probrev.model.protocol import NUM_SIMULATED, has_answer, simulate
from probrev.plumbing.streams import stream

NUM_DRAWS = 100
# An observation is surprising where its statistic lies in either of such tails.
TAIL = 0.05


def predictive(case: Case) -> Measured:
    """Statistics of x beside those of x drawn from the posterior predictive and from the prior.

    Statistics, per observation: `zero_share` (share of x_j = 0), `norm` (||x||_2), `largest`
    (max x), and `log_likelihood` where it has a closed form: log p(x | h) with the h that the
    replicate was drawn from. `surprise` is the share of observations whose statistic lies outside
    the central 90 % of its predictive: near .1 or below for a model that made x, less being normal
    since x is used twice. `predictive_p` is the probability of so many or more if each had a chance
    of .1: one-sided, since only too many speak against the model. Observations must be independent,
    and in no fit. Empty where the model does not simulate, or does not draw x given h.

    Source: Gelman, Meng and Stern 1996, posterior predictive discrepancies.
    """
    x = case.x.to_numpy()
    h = thin(case.draws, NUM_DRAWS).to_numpy()
    key_prior = stream(case.seed, "predictive/prior")
    try:
        prior = np.asarray(simulate(case.model, key_prior, NUM_SIMULATED).x)
    except ValueError:
        return Measured()
    if not has_answer(case.model, "generate", key_prior, h[0]):
        return Measured()
    replicates = np.asarray(_replicate(stream(case.seed, "predictive/x"), case.model, h))
    arrays, rows = {}, []
    for name, statistic in STATISTICS.items():
        seen, replicated = statistic(x), statistic(replicates)
        arrays |= {
            f"{name}_observed": xr.DataArray(seen, dims="obs"),
            f"{name}_posterior": xr.DataArray(replicated, dims=("replicate", "obs")),
            f"{name}_prior": xr.DataArray(statistic(prior), dims="prior_replicate"),
        }
        rows += _surprise(name, seen[None], replicated)
    if has_likelihood(case):
        pairs = (
            np.concatenate([h, h]),
            np.concatenate([np.broadcast_to(x, replicates.shape), replicates]),
        )
        seen, replicated = np.split(np.asarray(log_likelihoods(case.model, *pairs)), 2)
        rows += _surprise("log_likelihood", seen, replicated)
    return Measured(arrays, rows)


PREDICTIVE = MetricFamily(
    predictive,
    {
        "predictive_surprise_zero_share": "Share of observations whose share of zeros lies outside "
        "90 % of its posterior predictive; near 10 % or below for a model that made x.",
        "predictive_surprise_norm": "The same for ‖x‖.",
        "predictive_surprise_largest": "The same for the largest xⱼ.",
        "predictive_surprise_log_likelihood": "The same for log p(x | h), h being the draw that "
        "each replicate was made from.",
        "predictive_p_zero_share": "Probability of so many such observations or more if each had a "
        "chance of 10 %: at most .001 / 3 is a misfit.",
        "predictive_p_norm": "The same for ‖x‖.",
        "predictive_p_largest": "The same for the largest xⱼ; shown, not tested.",
        "predictive_p_log_likelihood": "The same for log p(x | h).",
    },
)


STATISTICS = {
    "zero_share": lambda x: (x == 0).mean(-1),
    "norm": lambda x: np.linalg.norm(x, axis=-1),
    "largest": lambda x: x.max(-1),
}


def _surprise(name: str, seen: np.ndarray, replicated: np.ndarray) -> list[Row]:
    """Share of observations whose statistic is extreme among its replicates, and how likely."""
    below = (replicated < seen).mean(0) + 0.5 * (replicated == seen).mean(0)
    extreme = (below < TAIL) | (below > 1 - TAIL)
    p = float(binom.sf(extreme.sum() - 1, extreme.size, 2 * TAIL))
    return [
        row_of_share(f"predictive_surprise_{name}", POSTERIOR, extreme),
        Row(f"predictive_p_{name}", POSTERIOR, p),
    ]


@jax.jit
def _replicate(key: PRNGKeyArray, model: Any, h: Float[Array, "draw obs hidden"]) -> Array:
    """X drawn given each h, draw by draw."""
    keys = jax.random.split(key, len(h))
    return jax.lax.map(lambda pair: model.generate(*pair), (keys, h))
