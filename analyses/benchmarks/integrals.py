"""Exact posteriors under continuous slabs, beside Gibbs for the same posterior."""

from functools import partial
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist

import probrev as pr
from analyses.benchmarks.timings import medians


def integrals(
    *,
    n_visible: int = 100,
    max_active: tuple[int, ...] = (2, 3),
    n_hidden: int = 12,
    num_obs: int = 4,
) -> list[dict[str, Any]]:
    """Seconds an observation of `exact` by integrals over supports, and of converged Gibbs.

    Both are checked to be one posterior first. What `exact` says of its own error comes beside.

    Args:
        n_visible: n.
        max_active: most units that may be active, a row for each.
        n_hidden: m.
        num_obs: observations of a call.
    """
    rows = []
    weights = np.random.default_rng(0).normal(size=(n_visible, n_hidden))
    for most in max_active:
        prior = pr.SpikeAndSlab(n_hidden, 1.5 / n_hidden, dist.HalfNormal(1.0), max_active=most)
        model = pr.LayeredModel(prior, [pr.Layer(weights, keep_prob=0.5, noise_std=0.7)])
        obs = model.simulate(jax.random.key(1), num_obs)
        exact = partial(pr.exact, model, obs)
        gibbs = partial(pr.gibbs, jax.random.key(2), model, obs, until_converged=True)
        found = exact()
        agreement = pr.measure_agreement(gibbs(), found)
        assert agreement.agrees, agreement.reason
        ours, sampled = np.divide(medians(exact, gibbs), num_obs)
        left_out, integration = (
            float(found.tree[f"exact/{name}"].to_numpy().max())
            for name in ("unvisited_mass", "integration_error")
        )
        rows.append(
            {
                "n": n_visible, "m": n_hidden, "max_active": most, "obs": num_obs,
                "unvisited_mass": left_out, "integration_error": integration,
                "seconds": ours, "gibbs_seconds": sampled, "ratio": sampled / ours,
            }
        )  # fmt: skip
    return rows
