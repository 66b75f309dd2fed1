"""Randomised ranks by hand, and of thinned chains."""

import jax
import numpy as np
import pytest
from scipy.stats import kstest

from probrev.calibration.ranks import rank, thinning

KEY = jax.random.key(0)


def test_ranks_by_hand():
    values = np.array([[0.0, 0.0, 1.0, 2.0], [3.0, 0.0, 1.0, 1.0]])[..., None]
    uniform = float(jax.random.uniform(KEY, (1,))[0])
    one = np.ones(1, dtype=int)
    for truth, below, equal in ((0.0, 0, 3), (1.0, 3, 3), (1.5, 6, 0), (5.0, 8, 0), (-1.0, 0, 0)):
        (found,) = rank(KEY, np.array([truth]), values, one)
        assert found == pytest.approx((below + uniform * (equal + 1)) / 9)
    # Every second draw: 0, 1 and 3, 1.
    (found,) = rank(KEY, np.array([1.0]), values, 2 * one)
    assert found == pytest.approx((1 + uniform * 3) / 5)


def test_what_differs_by_rounding_is_a_tie():
    values = np.full((1, 10, 1), -512.3 * (1 + 1e-14))
    (found,) = rank(KEY, np.array([-512.3]), values, np.ones(1, dtype=int))
    assert found == pytest.approx(float(jax.random.uniform(KEY, (1,))[0]))


def test_a_truth_without_density_is_below_all_draws():
    values = np.array([-3.0, -4.0, -np.inf]).reshape(1, 3, 1)
    (found,) = rank(KEY, np.array([-np.inf]), values, np.ones(1, dtype=int))
    assert found < 0.5


def test_ranks_among_draws_of_the_truths_own_chain_are_uniform_once_thinned():
    """Truth and draws of AR(1) chains with the same law given a center for each observation."""
    rng, num_obs = np.random.default_rng(1), 400
    chains = np.empty((2, 600, num_obs))
    chains[:, 0] = rng.normal(size=(2, num_obs))
    for step in range(1, 600):
        chains[:, step] = 0.8 * chains[:, step - 1] + 0.6 * rng.normal(size=(2, num_obs))
    steps = thinning([chains, np.zeros_like(chains)])
    # 3 (1 + .8) / (1 - .8) = 27.
    assert 20 < np.median(steps) < 36
    truth = rng.normal(size=num_obs)
    assert kstest(rank(KEY, truth, chains, steps), "uniform").pvalue > 1e-3
    assert thinning([np.zeros((2, 50, 3))]).tolist() == [3, 3, 3]
