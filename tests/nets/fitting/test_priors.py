import jax
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import optimize, stats

import probrev as pr
from probrev.nets.fitting.priors import fit_truncated_normal

H = np.array([[0.0, 2.0, 1.0], [0.0, 0.0, 3.0], [0.0, 3.0, 5.0]])
# Over the three observations and one more of average strength.
AVERAGE, SQUARE = (2 + 1 + 3 + 3 + 5) / 5, (4 + 1 + 9 + 9 + 25) / 5
MEAN = [AVERAGE, (5 + AVERAGE) / 3, (9 + AVERAGE) / 4]
MEAN_SQUARE = [SQUARE, (13 + SQUARE) / 3, (35 + SQUARE) / 4]


def moments_of(slab):
    """Mean and mean square of a slab, by drawing from it."""
    with jax.numpy_rank_promotion("allow"):  # NumPyro's law of a unit each
        draws = np.asarray(slab.sample(jax.random.key(0), (200_000,)))
    return draws.mean(0), (draws**2).mean(0)


@pytest.mark.slow
def test_prior_counts_one_observation_more():
    prior = pr.fit_prior(H)
    np.testing.assert_allclose(prior.inclusion_prob, [0.5 / 4, 2.5 / 4, 3.5 / 4])
    mean, square = moments_of(prior.slab)
    np.testing.assert_allclose(mean, MEAN, rtol=0.01)
    np.testing.assert_allclose(square, MEAN_SQUARE, rtol=0.02)


def test_other_slabs_match_the_moment_that_makes_them_likeliest():
    half_normal, exponential = (pr.fit_prior(H, kind) for kind in ("half_normal", "exponential"))
    assert isinstance(half_normal.slab, dist.HalfNormal)
    np.testing.assert_allclose(half_normal.slab.scale, np.sqrt(MEAN_SQUARE))
    assert isinstance(exponential.slab, dist.Exponential)
    np.testing.assert_allclose(exponential.slab.rate, 1 / np.array(MEAN))
    np.testing.assert_allclose(exponential.inclusion_prob, [0.5 / 4, 2.5 / 4, 3.5 / 4])


def test_shared_prior_has_one_of_each():
    prior = pr.fit_prior(H, "half_normal", shared=True)
    assert prior.n_hidden == 3
    np.testing.assert_allclose(prior.inclusion_prob, 5.5 / 10)
    np.testing.assert_allclose(prior.slab.scale, np.sqrt(SQUARE))
    assert prior.slab.batch_shape == ()


def test_moments_are_where_the_likelihood_is_highest():
    values = stats.truncnorm.rvs(-0.7, np.inf, loc=1.4, scale=2.0, size=400, random_state=3)

    def loss(parameters):
        loc, scale = parameters[0], np.exp(parameters[1])
        return -stats.truncnorm.logpdf(values, -loc / scale, np.inf, loc, scale).mean()

    best = optimize.minimize(loss, [1.0, 0.5], method="Nelder-Mead").x
    loc, scale = fit_truncated_normal(values.mean(), (values**2).mean())
    np.testing.assert_allclose([loc, np.log(scale)], best, atol=2e-3)


def test_moments_that_no_truncated_normal_has_keep_the_mean():
    loc, scale = fit_truncated_normal(np.array([1.5]), np.array([9.0]))
    (mean,) = stats.truncnorm.mean(-loc / scale, np.inf, loc=loc, scale=scale)
    assert mean == pytest.approx(1.5, rel=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pr.fit_prior(H, "cauchy"), "kind must be one of truncated_normal, half_normal"),
        (lambda: pr.fit_prior(-H), "finite and nonnegative"),
        (lambda: pr.fit_prior(H[0]), r"shape \(num_obs, n_hidden\).*got shape \(3,\)"),
        (lambda: pr.fit_prior(0 * H), "h is 0 throughout: no unit fires"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
