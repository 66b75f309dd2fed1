"""Observations: rows of x and what made them."""

import jax
import numpy as np
import pytest

import probrev as pr


def test_observations_slice_and_flatten():
    prior = pr.SpikeAndSlab(3, 0.4, pr.FiniteSlab([0.5, 1.5], [0.5, 0.5]))
    layers = [pr.Layer(np.ones((5, 4)), 0.7, 0.5), pr.Layer(np.ones((4, 3)), 0.7, 0.5)]
    obs = pr.LayeredModel(prior, layers).simulate(jax.random.key(0), 5)
    part = obs[1:3]
    assert (part.num_obs, part.intermediates[0].shape, part.masks[1].shape) == (2, (2, 4), (2, 4))
    np.testing.assert_array_equal(part.h, obs.h[1:3])
    assert pr.Observations(np.zeros((2, 4)))[:1].h is None


def test_observations_need_rows():
    with pytest.raises(
        ValueError, match=r"x must have shape \(num_obs, n_visible\); got shape \(4,\)"
    ):
        pr.Observations(np.ones(4))
    with pytest.raises(ValueError, match="one row per observation; got 3 rows of x and 2 of h"):
        pr.Observations(np.ones((3, 4)), np.ones((2, 3)))
