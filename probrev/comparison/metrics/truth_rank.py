"""Whether the h that made x could be draws from the posterior: the test that rejects one."""

import numpy as np
from jaxtyping import Float

from probrev.comparison.metrics.case import POSTERIOR, Case, Measured, Row
from probrev.comparison.metrics.family import MetricFamily
from probrev.posterior.posterior import Kind, Posterior

NUM_REPLICATES = 9999
MOST_DRAWS = 1000  # of each observation: projections take memory
BLOCK = 2**22


def truth_rank(case: Case) -> Measured:
    """An exact test of exchangeability of h with posterior draws, in the inverses' directions.

    Under the right posterior h is one more draw from p(h | x). So with T_g = sum over observations
    of (g - mu).(mu - h), mu the posterior mean, a draw put in the place of h must give a T_g that
    is as large as often as not. All inverses are tested together: the largest |T_g| over its
    standard deviation is ranked among the same maximum with draws in h's place. `truth_rank_p` is
    the two-sided p-value, uniform under the right posterior whatever the inverses.

    Draws are independent, or thinned to a third of their effective number. Of a sampled posterior
    mu and the draws come from different chains. Each replicate picks one of h and the draws for
    every observation, all equally likely, so that h itself is among what it is ranked against: that
    makes the test exact. Only for inverses that were fixed before these (x, h) were seen. Empty
    where there is no truth, one draw, or every inverse is the posterior mean.

    R with h below 1 and a broken bias-variance identity are what this tests: the two are one
    statement about T_g.
    """
    if case.truth is None or case.draws.sizes["sample"] < 2:
        return Measured()
    p = rank_truth(_project(case), case.rng("truth_rank"))
    return Measured(rows=[] if np.isnan(p) else [Row("truth_rank_p", POSTERIOR, p)])


TRUTH_RANK = MetricFamily(
    truth_rank,
    {
        "truth_rank_p": "Rank test of whether the h that made x could be draws from the posterior, "
        "in the directions in which inverses differ from its mean; uniform for the right "
        "posterior; .001 or less rejects.",
    },
)


def rank_truth(
    projections: list[Float[np.ndarray, "inverse draw"]], rng: np.random.Generator
) -> float:
    """The p-value of h, the first column of every observation's projections.

    NaN where no inverse has a projection that varies.
    """
    # What they have in common, mu's own error too, says nothing of which column is h.
    centered = [one - one.mean(1, keepdims=True) for one in projections]
    variance = np.sum([(one**2).mean(1) for one in centered], axis=0)
    centered = [one[variance > 0] for one in centered]
    scale = np.sqrt(variance[variance > 0])
    if not scale.size:
        return float("nan")
    found, largest = np.abs(np.sum([one[:, 0] for one in centered], axis=0)) / scale, []
    block = max(1, BLOCK // (len(scale) * len(centered)))
    for start in range(0, NUM_REPLICATES, block):
        count = min(block, NUM_REPLICATES - start)
        total = np.zeros((len(scale), count))
        for one in centered:
            total += one[:, rng.integers(one.shape[1], size=count)]
        largest.append(np.abs(total / scale[:, None]).max(0))
    # Rounding must not tell a replicate that is h throughout from h.
    beyond = (np.concatenate(largest) >= found.max() * (1 - 1e-9)).sum()
    return float((1 + beyond) / (1 + NUM_REPLICATES))


def _project(case: Case) -> list[Float[np.ndarray, "inverse draw"]]:
    """(g - mu).(mu - h) of every inverse, h in the first column, draws in the others."""
    assert case.truth is not None
    mean, draws = _split(case.posterior)
    steps = _thinning(case.posterior)
    direction = case.estimates.transpose("inverse", "obs", "hidden").to_numpy() - mean
    truth = case.truth.transpose("obs", "hidden").to_numpy()
    projections = []
    for index, step in enumerate(steps):
        # Draws of all chains follow one another: thinned evenly within each.
        own = draws[:, ::step, index].reshape(-1, draws.shape[-1])[:MOST_DRAWS]
        candidates = np.concatenate([truth[index][None], own])
        projections.append(direction[:, index] @ (mean[index] - candidates).T)
    return projections


def _split(
    posterior: Posterior,
) -> tuple[Float[np.ndarray, "obs hidden"], Float[np.ndarray, "chain draw obs hidden"]]:
    """The mean, and draws that are independent of it."""
    draws = posterior.draws.transpose("chain", "draw", "obs", "hidden").to_numpy()
    if posterior.kind is not Kind.SAMPLED:
        return posterior.mean.transpose("obs", "hidden").to_numpy(), draws
    num_chains, num_draws = draws.shape[:2]
    if num_chains > 1:
        half = num_chains // 2
        return draws[:half].mean((0, 1)), draws[half:]
    return draws[:, : num_draws // 2].mean((0, 1)), draws[:, num_draws // 2 :]


def _thinning(posterior: Posterior) -> list[int]:
    """Of each observation, every how many draws to take one so that they are nearly independent."""
    num_obs = len(posterior.obs)
    if posterior.sampling == "iid":
        return [1] * num_obs
    num_draws = posterior.draws.sizes["chain"] * posterior.draws.sizes["draw"]
    ess = posterior.tree["diagnostics/ess_bulk"].min("hidden").fillna(num_draws).to_numpy()
    return [int(np.ceil(max(1.0, 3 * num_draws / one))) for one in ess]
