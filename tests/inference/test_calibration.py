"""Simulation-based calibration and Geweke's joint test of the samplers."""

import jax
import numpy as np
import pytest
from numpyro.distributions import HalfNormal
from scipy.stats import kstest

import probrev as pr
from tests.inference.test_gibbs import joint_law_z_scores, one_layer

FINITE = pr.FiniteSlab([0.4, 0.9, 1.7], [0.5, 0.3, 0.2])
PRIORS = {
    "half-normal": pr.SpikeAndSlab(8, 0.3, HalfNormal(0.9)),
    "finite, capped": pr.SpikeAndSlab(8, 0.3, FINITE, max_active=3),
    "exactly k": pr.KSparse(8, 2, HalfNormal(0.9)),
}


def randomized_ranks(model, num_obs: int) -> dict[str, np.ndarray]:
    """Rank of the truth among thinned draws, ties broken at random, for four functionals."""
    obs = model.simulate(jax.random.key(21), num_obs)
    posterior = pr.gibbs(
        jax.random.key(22), model, obs, num_warmup=500, num_samples=4000, num_chains=1
    )
    draws = posterior.draws.to_numpy()[0, ::40]
    log_likelihood = jax.jit(lambda h: model.log_likelihood(h, obs.x))
    functionals = {
        "h_0": lambda h: h[:, 0],
        "sum": lambda h: h.sum(1),
        "number active": lambda h: (h > 0).sum(1),
        "log likelihood": lambda h: np.asarray(log_likelihood(h)),
    }
    rng = np.random.default_rng(23)
    ranks = {}
    for name, functional in functionals.items():
        truth = functional(np.asarray(obs.h))
        drawn = np.stack([functional(draw) for draw in draws])
        less, equal = (drawn < truth).sum(0), (drawn == truth).sum(0)
        ranks[name] = (less + rng.uniform(size=num_obs) * (equal + 1)) / (len(draws) + 1)
    return ranks


@pytest.mark.slow
@pytest.mark.parametrize("name", PRIORS)
def test_simulation_based_calibration(name):
    model = one_layer(PRIORS[name], n_visible=25)
    for functional, ranks in randomized_ranks(model, 500).items():
        assert kstest(ranks, "uniform").pvalue > 1e-3, functional


@pytest.mark.slow
@pytest.mark.parametrize("name", PRIORS)
def test_geweke(name):
    model = one_layer(PRIORS[name], n_visible=25)
    z_scores = joint_law_z_scores(model, num_pairs=20_000, num_steps=30)
    assert np.abs(z_scores).max() <= 4, z_scores
