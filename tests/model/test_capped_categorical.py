"""The capped discrete vector against enumeration of all its states."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import MCMC
from numpyro.infer.gibbs import DiscreteGibbs

from probrev.model.distributions import CappedCategorical

LOGITS = np.array([[0.3, -0.4, 0.1], [1.2, 0.2, -2.0], [-0.7, 0.5, 0.3], [0.1, -1.1, -0.2]])


def _enumerate(logits, max_active, min_active=0):
    """All states with an allowed number of nonzero levels, and their probabilities."""
    probs = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    n_units, n_levels = logits.shape
    states = np.array(list(itertools.product(range(n_levels), repeat=n_units)))
    counts = (states > 0).sum(-1)
    states = states[(counts >= min_active) & (counts <= max_active)]
    weights = np.prod([probs[i, states[:, i]] for i in range(n_units)], axis=0)
    return states, weights / weights.sum()


CAPS = [(0, 0), (2, 0), (3, 2), (2, 2), (9, 0)]


@pytest.mark.parametrize(("max_active", "min_active"), CAPS)
def test_log_prob_and_marginals_match_enumeration(max_active, min_active):
    states, probs = _enumerate(LOGITS, max_active, min_active)
    law = CappedCategorical(LOGITS, max_active, min_active)
    assert law.batch_shape == ()
    assert law.event_shape == (4,)
    np.testing.assert_allclose(jnp.exp(law.log_prob(states)), probs, rtol=1e-12)
    np.testing.assert_allclose(law.active_prob, probs @ (states > 0), rtol=1e-12, atol=1e-15)


def test_states_beyond_cap_or_levels_are_impossible():
    law = CappedCategorical(LOGITS, 2)
    assert law.log_prob(jnp.array([1, 1, 0, 1])) == -jnp.inf
    with pytest.warns(UserWarning, match="Out-of-support"):
        assert law.log_prob(jnp.array([3, 0, 0, 0])) == -jnp.inf


@pytest.mark.parametrize(("max_active", "min_active"), [(2, 0), (3, 2)])
def test_sample_frequencies_match_enumeration(max_active, min_active):
    states, probs = _enumerate(LOGITS, max_active, min_active)
    law = CappedCategorical(LOGITS, max_active, min_active)
    draws = np.asarray(law.sample(jax.random.key(11), (400, 150)))
    assert draws.shape == (400, 150, 4)
    assert draws.dtype == np.int32
    flat = draws.reshape(-1, 4)
    frequency = (flat[:, None] == states).all(-1).mean(0)
    np.testing.assert_allclose(frequency.sum(), 1.0, rtol=1e-12)
    assert np.all(np.abs(frequency - probs) <= 4.5 * np.sqrt(probs * (1 - probs) / len(flat)))


@pytest.mark.slow
def test_batches_have_their_own_logits():
    batch = np.stack([LOGITS, LOGITS[::-1] + 0.3])
    law = CappedCategorical(batch, 2)
    states = np.array([[1, 0, 2, 0], [0, 1, 0, 0]])
    expected = []
    for logits, state in zip(batch, states, strict=True):
        every, probs = _enumerate(logits, 2)
        expected.append(np.log(probs[(every == state).all(-1)][0]))
    np.testing.assert_allclose(law.log_prob(states), expected, rtol=1e-12)
    assert law.sample(jax.random.key(0), (5,)).shape == (5, 2, 4)
    by_row = jax.jit(jax.vmap(lambda law, s: law.log_prob(s)))(law, states)
    np.testing.assert_allclose(by_row, expected, rtol=1e-12)
    every, probs = _enumerate(batch[1], 2)
    marginals = jax.jit(lambda law: law.active_prob)(law)
    np.testing.assert_allclose(marginals[1], probs @ (every > 0), rtol=1e-12)


def test_extreme_logits_stay_finite():
    logits = np.array([[0.0, -800.0], [-np.inf, 0.0], [0.0, -np.inf], [0.0, -700.0]])
    law = CappedCategorical(logits, 2)
    np.testing.assert_allclose(law.log_prob(jnp.array([1, 1, 0, 0])), -800.0)
    np.testing.assert_allclose(law.log_prob(jnp.array([0, 1, 0, 0])), 0.0, atol=1e-12)
    np.testing.assert_array_equal(law.sample(jax.random.key(0), (3,)), [[0, 1, 0, 0]] * 3)
    np.testing.assert_allclose(law.active_prob, [0, 1, 0, 0], atol=1e-12)


@pytest.mark.slow
def test_gradient_of_the_normaliser_is_that_of_the_enumeration():
    state = jnp.array([0, 1, 0, 2])

    def brute(logits):
        states, _ = _enumerate(LOGITS, 2)
        log_probs = jax.nn.log_softmax(logits, axis=-1)
        rows = jnp.arange(4)
        total = jax.nn.logsumexp(jnp.stack([log_probs[rows, s].sum() for s in states]))
        return log_probs[rows, state].sum() - total

    ours = jax.grad(lambda logits: CappedCategorical(logits, 2).log_prob(state))
    np.testing.assert_allclose(
        ours(jnp.asarray(LOGITS)), jax.grad(brute)(jnp.asarray(LOGITS)), atol=1e-12
    )


@pytest.mark.parametrize(
    ("error", "match", "logits", "max_active"),
    [
        (TypeError, "max_active must be a Python integer", LOGITS, 2.0),
        (TypeError, "max_active must be a Python integer", LOGITS, True),
        (ValueError, "max_active must be >= 0", LOGITS, -1),
        (ValueError, r"shape \(\.\.\., n, K \+ 1\)", LOGITS[0], 1),
        (ValueError, "logits must be finite or -inf", LOGITS * np.nan, 1),
        (ValueError, "logits force 2 units on", [[-np.inf, 0.0]] * 2, 1),
    ],
)
def test_bad_arguments_are_refused(error, match, logits, max_active):
    with pytest.raises(error, match=match):
        CappedCategorical(logits, max_active)


def test_enumeration_is_of_one_coordinate_and_never_silent():
    law = CappedCategorical(LOGITS, 2)
    np.testing.assert_array_equal(law.enumerate_support(expand=False), [[0], [1], [2]])
    with pytest.raises(NotImplementedError, match="one coordinate"):
        law.enumerate_support()
    with pytest.raises(ValueError, match="levels of all 4 units"):
        law.log_prob(law.enumerate_support(expand=False))


@pytest.mark.slow
def test_discrete_gibbs_flips_single_coordinates():
    loadings, x = np.array([0.9, -0.4, 1.3, 0.5]), 1.1

    def model():
        levels = numpyro.sample("levels", CappedCategorical(LOGITS, 2))
        numpyro.sample("x", dist.Normal(jnp.dot(loadings, 0.7 * levels), 0.8), obs=x)

    states, prior = _enumerate(LOGITS, 2)
    posterior = prior * np.exp(-0.5 * ((x - 0.7 * states @ loadings) / 0.8) ** 2)
    posterior /= posterior.sum()
    mcmc = MCMC(
        DiscreteGibbs(model, modified=False), num_warmup=100, num_samples=12_000, progress_bar=False
    )
    mcmc.run(jax.random.key(2))
    draws = np.asarray(mcmc.get_samples()["levels"])
    frequency = (draws[:, None] == states).all(-1).mean(0)
    np.testing.assert_allclose(frequency.sum(), 1.0, rtol=1e-12)
    # draws are correlated: a sixth of them counted as independent
    error = 4.5 * np.sqrt(posterior * (1 - posterior) / (len(draws) / 6)) + 6 / len(draws)
    assert np.all(np.abs(frequency - posterior) <= error)
