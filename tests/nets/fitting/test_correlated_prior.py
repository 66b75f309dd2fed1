"""The correlated prior: Ledoit and Wolf's shrinkage, and the covariance of what is not seen."""

import numpy as np
import pytest

import probrev as pr
from probrev.nets.fitting.correlated_prior import shrink_covariance

ROOT = np.array([[1.0, 0.3], [-0.7, 0.5], [0.4, -0.9], [0.8, 0.8]])
COVARIANCE = ROOT @ ROOT.T + 0.3 * np.eye(4)
MEAN = np.array([0.4, -0.6, -0.2, 0.1])


def pre_activations(num_obs, seed=0):
    return np.random.default_rng(seed).multivariate_normal(MEAN, COVARIANCE, num_obs)


@pytest.mark.parametrize(("num_obs", "size"), [(40, 4), (12, 30), (300, 5)])
def test_shrinkage_is_that_of_scikit_learn(num_obs, size):
    covariance = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(size)
    v = rng.normal(0.7, 1, (num_obs, size)) @ rng.normal(size=(size, size))
    expected, share = covariance.ledoit_wolf(v)
    found, own_share = shrink_covariance(v)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    np.testing.assert_allclose(own_share, share, rtol=1e-10)


def test_seen_pre_activations_have_their_moments():
    v = pre_activations(500)
    prior = pr.fit_prior(np.maximum(v, 0), kind="correlated", pre_activations=v)
    np.testing.assert_allclose(prior.mean, v.mean(0))
    np.testing.assert_allclose(prior.covariance, shrink_covariance(v)[0], rtol=1e-8)


@pytest.mark.slow
def test_what_is_not_seen_is_drawn_along():
    v = pre_activations(6000)
    seen = pr.fit_prior(np.maximum(v, 0), kind="correlated", pre_activations=v)
    unseen = pr.fit_prior(np.maximum(v, 0), kind="correlated")
    # Censoring costs about half of the information: errors of 6000 draws, twice, and some.
    np.testing.assert_allclose(unseen.mean, seen.mean, atol=0.08)
    np.testing.assert_allclose(unseen.covariance, seen.covariance, atol=0.12)


def test_a_unit_that_never_fires_is_independent():
    v = pre_activations(400)
    h = np.maximum(v, 0)
    h[:, 1] = 0
    prior = pr.fit_prior(h, kind="correlated")
    covariance = np.asarray(prior.covariance)
    assert np.abs(np.delete(covariance[1], 1)).max() < 1e-9
    prob = float(prior.marginal.marginal_inclusion_prob[1])
    np.testing.assert_allclose(prob, 0.5 / 401, rtol=1e-6)


H = np.maximum(pre_activations(50), 0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pr.fit_prior(H, kind="correlated", shared=True), "shared is for independent"),
        (lambda: pr.fit_prior(H, pre_activations=H), "pre_activations are for kind 'correlated'"),
        (lambda: pr.fit_prior(H, kind="correlated", pre_activations=H[:9]), "shape of h"),
        (lambda: pr.fit_prior(H, kind="correlated", pre_activations=H + 1), "positive part"),
        (lambda: pr.fit_prior(H[:1], kind="correlated"), "at least 2 observations"),
        (lambda: pr.fit_prior(np.eye(4), kind="correlated"), "no unit fires twice"),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(pr.Refusal, match=words):
        call()
