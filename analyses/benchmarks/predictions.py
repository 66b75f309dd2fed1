"""State evolution beside message passing, whose risk it predicts."""

from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist

import probrev as pr
from analyses.benchmarks.timings import medians

# What the two may differ by beside 4 standard errors, of the predicted risk: it is of large layers.
TOLERANCE = 0.05


def predictions(
    *, sizes: tuple[tuple[int, int], ...] = ((500, 150), (2000, 600)), num_obs: int = 8
) -> list[dict[str, Any]]:
    """Seconds of state evolution, and of message passing for as many observations.

    The risk that is predicted is checked against the posterior variance that message passing finds.

    Args:
        sizes: n and m, a row for each.
        num_obs: observations of message passing.
    """
    rows = []
    for n_visible, n_hidden in sizes:
        weights = np.random.default_rng(0).normal(size=(n_visible, n_hidden))
        prior = pr.SpikeAndSlab(n_hidden, 0.1, dist.HalfNormal(1.0))
        model = pr.LayeredModel(prior, [pr.Layer(weights, keep_prob=0.5, noise_std=3.0)])
        obs = model.simulate(jax.random.key(1), num_obs)
        predicted = float(pr.evolve_state(prior, model.layers).bayes_risk)
        risks = pr.message_passing(model, obs).var.sum("hidden").to_numpy()
        found, error = risks.mean(), risks.std(ddof=1) / num_obs**0.5
        assert abs(found - predicted) < 4 * error + TOLERANCE * predicted, (found, predicted)
        ours, passed = medians(
            lambda prior=prior, model=model: pr.evolve_state(prior, model.layers),
            lambda model=model, obs=obs: pr.message_passing(model, obs).mean.to_numpy(),
        )
        rows.append(
            {
                "n": n_visible, "m": n_hidden, "obs": num_obs, "predicted": predicted,
                "found": found, "seconds": ours, "passing_seconds": passed, "ratio": passed / ours,
            }
        )  # fmt: skip
    return rows
