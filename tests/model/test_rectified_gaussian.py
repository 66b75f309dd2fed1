"""The rectified Gaussian prior against SciPy's multivariate normal and plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import probrev as pr


def random_covariance(seed, n_hidden, smallest=0.05):
    """Correlations of all signs, units of very different scale."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(n_hidden, 2))
    scale = np.exp(rng.normal(size=n_hidden))
    return np.outer(scale, scale) * (loadings @ loadings.T + smallest * np.eye(n_hidden))


def random_prior(seed=0, n_hidden=5, **settings):
    mean = np.random.default_rng(seed + 100).normal(size=n_hidden)
    return pr.RectifiedGaussian(mean, random_covariance(seed, n_hidden, **settings))


@pytest.mark.parametrize("smallest", [1e-4, 0.05, 10.0])
def test_a_covariance_is_split_without_loss(smallest):
    covariance = random_covariance(1, 6, smallest)
    prior = pr.RectifiedGaussian(np.zeros(6), covariance)
    scales = np.outer(*[np.sqrt(np.diag(covariance))] * 2)
    assert np.allclose(prior.covariance / scales, covariance / scales, atol=1e-10)
    assert np.allclose(prior.precision @ covariance, np.eye(6), atol=1e-6)
    # As much noise as there can be: without it the rest has no full rank.
    rest = (covariance - np.diag(prior.noise_var)) / scales
    assert abs(np.linalg.eigvalsh(rest)[0]) < 1e-8


def test_program_and_samples_are_those_of_numpy():
    prior = random_prior(2)
    model = pr.LayeredModel(prior, [pr.Layer(np.ones((2, 5)), noise_std=1.0)])
    obs = model.simulate(jax.random.key(0), 20_000)
    h = np.asarray(obs.h)
    expected = np.maximum(
        np.random.default_rng(3).multivariate_normal(prior.mean, prior.covariance, 20_000), 0
    )
    for unit in range(5):
        assert stats.ks_2samp(h[:, unit], expected[:, unit]).pvalue > 1e-4
    together = [(a > 0) @ np.ones(5) for a in (h, expected)]
    assert abs(together[0].mean() - together[1].mean()) < 5 * 2.5 / np.sqrt(10_000)
    assert np.allclose(np.corrcoef(h.T), np.corrcoef(expected.T), atol=0.06)
    assert set(obs.sites) == {"factor"}


def test_units_are_independent_given_the_factor():
    prior = random_prior(4)
    factor = jnp.asarray(np.random.default_rng(5).normal(size=prior.loadings.shape[1]))
    given = prior.given({"factor": factor})
    mean, std = np.asarray(prior.mean + prior.loadings @ factor), np.sqrt(prior.noise_var)
    h = np.array([[0.0, 0.3, 0.0, 1.2, 0.1], [0.4, 0.0, 0.0, 0.0, 2.0]])
    expected = np.where(h > 0, stats.norm.logpdf(h, mean, std), stats.norm.logcdf(-mean / std))
    assert np.allclose(given.log_prob(jnp.asarray(h)), expected.sum(1), rtol=1e-10)


@pytest.mark.parametrize("t", [-30.0, -3.0, 0.0, 4.0, 12.0, 30.0])
def test_log_odds_hold_far_out(t):
    prior = pr.RectifiedGaussian.from_factors(np.array([2 * t]), np.zeros((1, 0)), 4.0)
    logit = float(prior.given({"factor": jnp.zeros(0)}).inclusion_logit[0])
    assert np.isclose(logit, stats.norm.logcdf(t) - stats.norm.logsf(t), rtol=1e-10)


def test_factor_given_v_is_the_normal_conditional():
    prior = random_prior(6)
    v = np.random.default_rng(7).normal(size=5)
    precision = np.linalg.inv(np.asarray(prior.covariance))
    loadings = np.asarray(prior.loadings)
    mean = loadings.T @ precision @ (v - np.asarray(prior.mean))
    cov = np.eye(loadings.shape[1]) - loadings.T @ precision @ loadings
    keys = jax.random.split(jax.random.key(1), 20_000)
    drawn = np.asarray(jax.vmap(lambda key: prior.behind(key, jnp.asarray(v))["factor"])(keys))
    assert np.allclose(drawn.mean(0), mean, atol=5 * np.sqrt(np.diag(cov).max() / 20_000))
    assert np.allclose(np.cov(drawn.T), cov, atol=0.05)


def density_of_scipy(h, mean, cov):
    """Log density of the positive units, and log probability of the others given those."""
    on, off = np.flatnonzero(h > 0), np.flatnonzero(h == 0)
    log_density = 0.0
    if on.size:
        of_on = stats.multivariate_normal(mean[on], cov[np.ix_(on, on)])
        log_density += of_on.logpdf(h[on])
        gain = cov[np.ix_(off, on)] @ np.linalg.inv(cov[np.ix_(on, on)])
        mean = mean[off] + gain @ (h[on] - mean[on])
        cov = cov[np.ix_(off, off)] - gain @ cov[np.ix_(on, off)]
    if off.size:
        below = stats.multivariate_normal.cdf(
            np.zeros(off.size), mean, cov, abseps=1e-9, releps=1e-9, maxpts=10**6
        )
        log_density += np.log(below)
    return log_density


@pytest.mark.slow
def test_density_is_that_of_scipy():
    prior = random_prior(8, smallest=0.3)
    h = np.asarray(pr.sample_prior(jax.random.key(2), prior, 6))
    value, error = prior.log_prob_and_error(jnp.asarray(h))
    for row, found, claimed in zip(h, np.asarray(value), np.asarray(error), strict=True):
        expected = density_of_scipy(row, np.asarray(prior.mean), np.asarray(prior.covariance))
        assert abs(found - expected) <= 4 * claimed + 1e-5
        assert claimed < 0.01
    assert np.array_equal(prior.log_prob(jnp.asarray(h)), value)


@pytest.mark.slow
def test_density_sums_to_one():
    prior = random_prior(9, n_hidden=2, smallest=0.3)
    scale = 8 * np.sqrt(np.diag(prior.covariance).max())
    nodes, weights = np.polynomial.legendre.leggauss(28)
    points, weights = (nodes + 1) * scale / 2, weights * scale / 2
    density = lambda h: np.exp(np.asarray(prior.log_prob(jnp.asarray(h))))  # noqa: E731
    total = density(np.zeros((1, 2)))[0]
    for unit in range(2):
        h = np.zeros((28, 2))
        h[:, unit] = points
        total += density(h) @ weights
    both = np.stack(np.meshgrid(points, points, indexing="ij"), -1).reshape(-1, 2)
    total += density(both) @ np.outer(weights, weights).ravel()
    assert abs(total - 1) < 5e-3


@pytest.mark.parametrize(
    ("mean", "covariance", "words"),
    [
        (np.zeros(2), np.eye(3), "got shapes"),
        (np.zeros(2), np.array([[1.0, 0.5], [0.4, 1.0]]), "symmetric"),
        (np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]]), "positive definite"),
        (np.zeros(2), np.array([[1.0, 1.0], [1.0, 1.0]]), "shrink it"),
        (np.zeros(2), np.array([[0.0, 0.0], [0.0, 1.0]]), "positive variances"),
        (np.array([0.0, np.nan]), np.eye(2), "finite"),
        (np.zeros(2), np.eye(2) * 1j, "real numbers"),
    ],
)
def test_other_covariances_are_refused(mean, covariance, words):
    with pytest.raises(pr.Refusal, match=words):
        pr.RectifiedGaussian(mean, covariance)


@pytest.mark.parametrize(
    ("loadings", "noise_var", "words"),
    [
        (np.zeros((3, 1)), 1.0, "got shapes"),
        (np.zeros((2, 1)), 0.0, "must be positive"),
        (np.zeros((2, 1)), np.ones(3), "noise_var must be a number"),
        (np.full((2, 1), np.inf), 1.0, "finite"),
    ],
)
def test_other_factors_are_refused(loadings, noise_var, words):
    with pytest.raises(pr.Refusal, match=words):
        pr.RectifiedGaussian.from_factors(np.zeros(2), loadings, noise_var)


def test_other_methods_refuse_it_in_words():
    model = pr.LayeredModel(random_prior(), [pr.Layer(np.ones((3, 5)), noise_std=1.0)])
    obs = model.simulate(jax.random.key(0), 2)
    with pytest.raises(pr.Refusal, match="continuous variables, which cannot be enumerated"):
        pr.exact(model, obs)
    with pytest.raises(pr.Refusal, match="independent"):
        pr.message_passing(model, obs)
    assert "gibbs" in pr.choose_methods(model)
    assert set(pr.list_rungs(model)) == {
        "theory", "universal", "calibrated", "trained", "scalar", "first_step",
    }  # fmt: skip


def test_v_of_silent_units_lies_below_zero_as_the_factor_has_it():
    prior = random_prior(10, n_hidden=3)
    factor = jnp.asarray(np.random.default_rng(11).normal(size=prior.loadings.shape[1]))
    h = jnp.array([0.0, 0.7, 0.0])
    keys = jax.random.split(jax.random.key(3), 5000)
    drawn = np.asarray(jax.vmap(lambda key: prior.before(key, {"factor": factor}, h))(keys))
    assert (drawn[:, 1] == 0.7).all()
    mean = np.asarray(prior.mean + prior.loadings @ factor)
    std = np.sqrt(np.asarray(prior.noise_var))
    for unit in (0, 2):
        law = stats.truncnorm(-np.inf, -mean[unit] / std[unit], mean[unit], std[unit])
        assert stats.kstest(drawn[:, unit], law.cdf).pvalue > 1e-3
