"""Planted faults, each convicted at a size chosen for it, beside the right method."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import HalfNormal

import probrev as pr
from probrev.calibration.verdict import Word
from probrev.inference.gibbs import layered_sweep
from tests.calibration import mixture

KEY = jax.random.key(0)


@pytest.fixture
def plant(monkeypatch):
    """Replaces a function of the sweep, for what is compiled in this test alone."""

    def replace(name, function):
        jax.clear_caches()
        monkeypatch.setattr(layered_sweep, name, function)

    yield replace
    monkeypatch.undo()
    jax.clear_caches()


def by_gibbs(key, model, obs):
    """Blind chains alone: those from the truth have a test of their own."""
    return pr.gibbs(key, model, obs, keep_layers=True)


def under_slab(scale):
    """Two-thirds of the units active, and noise that leaves much to the prior."""
    layer = pr.Layer(np.random.default_rng(0).normal(0.2, 1, (6, 4)), 0.8, 3.0, 0.5)
    return pr.LayeredModel(pr.SpikeAndSlab(4, 0.6, HalfNormal(scale)), [layer])


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "word"), [(1.0, "calibrated"), (1.2, "miscalibrated")])
def test_a_slab_whose_scale_is_wrong_by_a_fifth(scale, word):
    method = partial(pr.gibbs, num_samples=1000)
    arguments = {"simulate_from": under_slab(1.0), "num_simulations": 400}
    found = pr.check_calibration(KEY, under_slab(scale), method, **arguments)
    assert found.word == word, found.sentence
    value, low, high = found.claimed_over_actual
    if word == "calibrated":
        assert low < 1.1
        assert high > 0.9
    else:
        # 1.44 where x says nothing.
        assert 1.1 < low < value < high < 1.7
        assert "norm of h" in found.sentence
        assert "too wide" in found.sentence


def two_layers():
    below = pr.Layer(np.random.default_rng(0).normal(0.2, 1, (25, 5)), 0.6, 0.9, 0.4)
    above = pr.Layer(np.random.default_rng(1).normal(0.3, 1, (5, 3)), 0.5, 0.5, 3.0)
    return pr.LayeredModel(pr.SpikeAndSlab(3, 0.4, HalfNormal(0.9)), [below, above])


@pytest.mark.proof
def test_the_factor_between_layers_left_out(plant):
    """rho / alpha = 1/6: visible in the layer between, and through it at the top."""
    right = pr.check_calibration(KEY, two_layers(), by_gibbs, num_simulations=120)
    assert right.word is Word.CALIBRATED, right.sentence
    law = layered_sweep.rectified_slab

    def without_factor(z, noise_std, keep_prob, gain):
        logit, slab = law(z, noise_std, keep_prob, gain)
        return logit - jnp.log(keep_prob / gain), slab

    plant("rectified_slab", without_factor)
    found = pr.check_calibration(KEY, two_layers(), by_gibbs, num_simulations=120)
    assert found.word is Word.MISCALIBRATED
    assert "sum of h_1" in found.sentence


@pytest.mark.slow
def test_relocation_forgotten_where_nothing_else_moves(plant):
    layer = pr.Layer(np.random.default_rng(0).normal(0.2, 1, (25, 6)), 0.6, 0.9, 0.3)
    model = pr.LayeredModel(pr.KSparse(6, 2, HalfNormal(0.9)), [layer])
    right = pr.check_calibration(KEY, model, by_gibbs, num_simulations=100)
    assert right.word is Word.CALIBRATED, right.sentence
    plant("relocate_unit", lambda key, prior, columns, information, h, rows: (h, rows))
    found = pr.check_calibration(KEY, model, by_gibbs, num_simulations=50)
    assert found.word is Word.INCONCLUSIVE
    assert "posteriors are not ok" in found.sentence
    assert "the truth is no draw from its posterior" in found.sentence


@pytest.mark.proof
def test_a_class_sampler_that_never_changes_class():
    right = pr.check_calibration(KEY, mixture.MODEL, mixture.exact_draws, num_simulations=100)
    assert right.word is Word.CALIBRATED
    found = pr.check_calibration(
        KEY, mixture.MODEL, mixture.alternate, from_truth=mixture.alternate_from_truth,
        num_simulations=100,
    )  # fmt: skip
    # Chains agree on one class, and diagnostics with them.
    assert (found.simulations["status"] == "ok").mean() > 0.95
    assert found.word is Word.MISCALIBRATED
    convicted = set(found.table().query("how != ''")["quantity"])
    assert {"class", "sum of h", "distance from the mean"} <= convicted
    assert "chains from the truth and blind ones disagree" in found.sentence


@pytest.mark.slow
def test_starts_agree_where_the_sampler_is_right():
    found = pr.check_calibration(
        KEY, mixture.MODEL, mixture.exact_draws, from_truth=mixture.exact_draws,
        num_simulations=100,
    )  # fmt: skip
    assert found.starts["starts"] == "agrees"
    assert found.starts["starts_obs"] == 32
    assert found.word is Word.CALIBRATED
