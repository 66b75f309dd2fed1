"""Observations: rows of x and what made them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import probrev as pr
from probrev.model.observations import Origin
from tests.small_case import LAYER, MODEL, OTHER, SLAB


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


def test_what_a_model_simulates_is_marked_as_its_own():
    obs = MODEL.simulate(jax.random.key(0), 4)
    assert obs.origin is Origin.MODEL
    assert obs[1:3].origin_under(MODEL) is Origin.MODEL
    twin = pr.LayeredModel(pr.SpikeAndSlab(4, 0.3, SLAB, max_active=2), [LAYER])
    assert obs.origin_under(twin) is Origin.MODEL
    assert obs.origin_under(OTHER) is Origin.LAYERS
    noisier = pr.LayeredModel(MODEL.prior, [dataclasses.replace(LAYER, noise_std=1.0)])
    assert obs.origin_under(noisier) is Origin.ELSEWHERE
    assert pr.Observations(obs.x, obs.h).origin_under(MODEL) is Origin.ELSEWHERE
    declared = pr.Observations(obs.x, obs.h, origin="model")
    assert declared.origin_under(OTHER) is Origin.MODEL


def test_what_one_model_simulates_has_one_structure():
    """Else whatever is compiled for its observations would be compiled anew each time."""
    once, again, twin = (
        jax.tree.structure(model.simulate(jax.random.key(seed), 4))
        for seed, model in ((0, MODEL), (1, MODEL), (0, dataclasses.replace(MODEL)))
    )
    assert once == again
    assert hash(once) == hash(again)
    assert once != twin


def test_x_from_a_given_h_comes_from_the_layers():
    h = np.abs(np.random.default_rng(0).normal(size=(500, 4)))
    obs = MODEL.observe_from(jax.random.key(1), h)
    assert (obs.origin, obs.num_obs) == (Origin.LAYERS, 500)
    np.testing.assert_array_equal(obs.h, h)
    np.testing.assert_array_equal(obs.x, MODEL.generate(jax.random.key(1), jnp.asarray(h)))
    assert obs.origin_under(OTHER) is Origin.LAYERS
    mean, expected = np.asarray(obs.x).mean(0), np.asarray(MODEL.visible_mean(jnp.asarray(h)))
    error = np.asarray(obs.x).std(0) / np.sqrt(500)
    assert np.all(np.abs(mean - expected.mean(0)) < 5 * error)


def test_another_machine_did_not_make_it():
    machine = pr.BoltzmannMachine([np.ones((3, 2))], [0.0, 0.0])
    other = pr.BoltzmannMachine([np.ones((3, 2))], [0.0, 0.1])
    obs = machine.simulate(jax.random.key(0), 3)
    assert obs.origin_under(machine) is Origin.MODEL
    assert obs.origin_under(other) is Origin.ELSEWHERE
    assert machine.observe_from(jax.random.key(0), np.ones((2, 2))).origin is Origin.LAYERS


def test_origins_are_checked():
    with pytest.raises(ValueError, match="origin must be one of model, layers, elsewhere; got 'x'"):
        pr.Observations(np.ones((2, 3)), np.ones((2, 2)), origin="x")
    with pytest.raises(ValueError, match="origin 'model' says how h made x, but there is no h"):
        pr.Observations(np.ones((2, 3)), origin="model")


def test_simulating_inside_compiled_code_leaves_no_mark():
    traced = jax.jit(lambda model: model.simulate(jax.random.key(0), 3))(MODEL)
    assert traced.origin is Origin.ELSEWHERE
    np.testing.assert_array_equal(traced.x, MODEL.simulate(jax.random.key(0), 3).x)


def test_all_that_made_x_from_a_given_h_is_known():
    rng = np.random.default_rng(0)
    layers = [pr.Layer(rng.normal(size=shape), 0.7, 1.0) for shape in ((9, 6), (6, 3))]
    model = pr.LayeredModel(pr.SpikeAndSlab(3, 0.5, dist.HalfNormal(1.0)), layers)
    key, h = jax.random.key(1), np.abs(rng.normal(size=(2, 3)))
    obs = model.observe_from(key, h)
    np.testing.assert_array_equal(obs.x, model.generate(key, jnp.asarray(h)))
    (between,), (of_x, _) = obs.intermediates, obs.masks
    lower, mask = layers[0].generate(jax.random.fold_in(key, 0), between)
    np.testing.assert_array_equal(obs.x, lower)
    np.testing.assert_array_equal(of_x, mask)
    # Chains can start there.
    started = pr.gibbs(key, model, obs, num_warmup=2, num_samples=4, num_chains=1, start="truth")
    assert started.draws.shape == (1, 4, 2, 3)
