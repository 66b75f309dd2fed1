"""Evidence of a layer by sequential Monte Carlo, against enumeration and integration."""

import itertools
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import special, stats

import probrev as pr

WEIGHTS = np.random.default_rng(7).normal(0.1, 1, size=(20, 5))
LAYER = pr.Layer(WEIGHTS, keep_prob=0.6, noise_std=0.8, gain=0.3)
FINITE = pr.SpikeAndSlab(5, 0.35, pr.FiniteSlab([0.5, 1.1], [0.7, 0.3]))


def exact_evidence(model, obs):
    return pr.exact(model, obs, num_draws=4).tree["exact/log_evidence"].to_numpy()


def enumerate_by_hand(x):
    """log p(x) under FINITE and LAYER: every state, its mass and the law of every row."""
    rho, sigma, gain = 0.6, 0.8, 0.3
    terms = []
    for h in itertools.product((0.0, 0.5, 1.1), repeat=5):
        log_mass = sum(np.log({0.0: 0.65, 0.5: 0.35 * 0.7, 1.1: 0.35 * 0.3}[one]) for one in h)
        z = WEIGHTS @ np.array(h)
        seen = np.log(rho / gain) + stats.norm.logpdf(x / gain, z, sigma)
        silent = np.log1p(-rho * stats.norm.sf(-z / sigma))
        terms.append(log_mass + np.where(x > 0, seen, silent).sum())
    return special.logsumexp(terms)


@pytest.mark.slow
def test_agrees_with_enumeration():
    """Rows join two or three at a time; in one observation nothing is seen."""
    model = pr.LayeredModel(FINITE, [LAYER])
    x = np.array(model.simulate(jax.random.key(0), 4).x)
    x[0] = 0
    found = pr.estimate_log_evidence(
        jax.random.key(1), model, pr.Observations(x), num_chains=400, num_temperatures=9
    )
    assert found.value.shape == found.std_error.shape == (4,)
    error = found.value - np.array([enumerate_by_hand(row) for row in x])
    assert (np.abs(error) < 5 * found.std_error).all()
    assert (found.std_error < 0.5).all()


@pytest.mark.slow
def test_rows_are_heard_from_the_step_in_which_they_join():
    """Two steps, so that the second half of x is told by what the first said of h."""
    model = pr.LayeredModel(FINITE, [LAYER])
    obs = model.simulate(jax.random.key(4), 4)
    found = pr.estimate_log_evidence(
        jax.random.key(1), model, obs, num_chains=1600, num_temperatures=2
    )
    error = found.value - np.array([enumerate_by_hand(np.asarray(row)) for row in obs.x])
    assert (np.abs(error) < 5 * found.std_error).all()
    assert (found.std_error < 0.3).all()


@pytest.mark.slow
def test_bound_on_active_units_and_more_steps_than_rows():
    prior = pr.SpikeAndSlab(5, 0.35, pr.FiniteSlab([0.5, 1.1], [0.7, 0.3]), max_active=2)
    model = pr.LayeredModel(prior, [LAYER])
    # What three units together made is unlikely here.
    h = np.array([[0.0, 0, 0, 0, 0], [1.1, 0, 1.1, 0.5, 0]])
    obs = pr.Observations(model.generate(jax.random.key(2), h))
    found = pr.estimate_log_evidence(
        jax.random.key(1), model, obs, num_chains=1600, num_temperatures=50
    )
    assert (np.abs(found.value - exact_evidence(model, obs)) < 5 * found.std_error).all()


@pytest.mark.slow
def test_agrees_with_integration_and_is_unbiased():
    prior = pr.SpikeAndSlab(4, 0.4, dist.Exponential(1.5))
    model = pr.LayeredModel(prior, [pr.Layer(WEIGHTS[:, :4], 0.5, 0.9)])
    obs = model.simulate(jax.random.key(3), 6)
    exact = exact_evidence(model, obs)
    scores = []
    for seed in range(8):
        found = pr.estimate_log_evidence(
            jax.random.key(seed), model, obs, num_chains=1600, num_temperatures=20
        )
        scores.append(np.exp(found.value - exact))
    ratios = np.array(scores)
    std_error = ratios.std(0, ddof=1) / np.sqrt(len(ratios))
    assert (np.abs(ratios.mean(0) - 1) < 5 * std_error).all()
    pooled = ratios.std(ddof=1) / np.sqrt(ratios.size)
    assert pooled < 0.05
    assert abs(ratios.mean() - 1) < 4 * pooled


MODEL = pr.LayeredModel(FINITE, [LAYER])
OBS = pr.Observations(np.ones((1, 20)))


@pytest.mark.parametrize(
    ("model", "obs", "settings", "message"),
    [
        (
            pr.LayeredModel(pr.KSparse(5, 2, dist.HalfNormal(1.0)), [LAYER]),
            OBS, {}, "needs a SpikeAndSlab prior.*got KSparse",
        ),
        (
            pr.LayeredModel(FINITE, [pr.Layer(WEIGHTS)]),
            OBS, {}, "needs noise_std > 0",
        ),
        (MODEL, OBS, {"num_chains": 12}, "num_chains must be a multiple of 8"),
        (MODEL, OBS, {"num_temperatures": 0}, "num_temperatures must be at least 1"),
        (MODEL, pr.Observations(np.ones((1, 6))), {}, "x has 6 columns"),
    ],
)  # fmt: skip
def test_bad_input(model, obs, settings, message):
    with pytest.raises(ValueError, match=message):
        pr.estimate_log_evidence(jax.random.key(0), model, obs, **settings)


def hierarchical():
    rate = numpyro.sample("rate", dist.Beta(1.5, 3.0))
    return numpyro.sample("h", pr.SpikeAndSlab(4, rate, pr.FiniteSlab([0.5, 1.1], [0.7, 0.3])))


def log_likelihood_by_hand(h, x, weights, rho=0.6, sigma=0.8, gain=0.3):
    z = h @ weights.T
    seen = np.log(rho / gain) + stats.norm.logpdf(x / gain, z, sigma)
    silent = np.log1p(-rho * stats.norm.sf(-z / sigma))
    return np.where(x > 0, seen, silent).sum(-1)


def hierarchical_by_hand(x, weights):
    """The rate is summed out: a beta-binomial number of active units."""
    states = np.array(list(itertools.product((0.0, 0.5, 1.1), repeat=4)))
    active = (states > 0).sum(1)
    log_prior = special.betaln(1.5 + active, 3 + 4 - active) - special.betaln(1.5, 3)
    log_prior += (np.where(states == 0.5, np.log(0.7), np.log(0.3)) * (states > 0)).sum(1)
    return special.logsumexp(log_prior + log_likelihood_by_hand(states, x, weights))


def gaussian_by_hand(x, weights, prior):
    """On a grid of v in two dimensions."""
    scales = np.sqrt(np.diag(prior.covariance))
    axes = [m + s * np.linspace(-6, 6, 361) for m, s in zip(prior.mean, scales, strict=True)]
    v = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    log_prior = stats.multivariate_normal(prior.mean, prior.covariance).logpdf(v)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    log_terms = log_prior + log_likelihood_by_hand(np.maximum(v, 0), x, weights)
    return special.logsumexp(log_terms) + np.log(cell)


def random_cases(kind):
    """Ten models: random weights, all signs and scales, and of a Gaussian random covariance."""
    for seed in range(10):
        rng = np.random.default_rng(seed)
        size = 4 if kind == "hierarchical" else 2
        weights = rng.normal(size=(10, size)) * np.exp(0.4 * rng.normal(size=size))
        layer = pr.Layer(weights, keep_prob=0.6, noise_std=0.8, gain=0.3)
        if kind == "hierarchical":
            yield pr.LayeredModel(hierarchical, [layer]), hierarchical_by_hand
            continue
        root = rng.normal(size=(2, 2))
        prior = pr.RectifiedGaussian(rng.normal(size=2), root @ root.T + 0.2 * np.eye(2))
        yield pr.LayeredModel(prior, [layer]), partial(gaussian_by_hand, prior=prior)


@pytest.mark.slow
def test_hierarchical_and_correlated_priors_on_random_cases():
    errors, std_errors = [], []
    for kind in ("hierarchical", "correlated"):
        for number, (model, by_hand) in enumerate(random_cases(kind)):
            obs = model.simulate(jax.random.key(number), 1)
            found = pr.estimate_log_evidence(
                jax.random.key(100 + number), model, obs, num_chains=4000, num_temperatures=40
            )
            expected = by_hand(np.asarray(obs.x[0]), np.asarray(model.layers[0].weights))
            errors.append((found.value[0] - expected) / found.std_error[0])
            std_errors.append(found.std_error[0])
    # Of t with 7 degrees of freedom .914 lie within 2, so of 20 at least 17 in 19 of 20 seeds.
    assert np.abs(errors).max() < 4
    assert (np.abs(errors) < 2).sum() >= 17
    assert max(std_errors) <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("num_layers", [1, 2])
def test_through_the_program(num_layers):
    """A prior of which nothing is known but its program, and two layers, against exact."""
    layers = [LAYER]
    prior = pr.SpikeAndSlab(5, 0.35, pr.FiniteSlab([0.5, 1.1], [0.7, 0.3]))
    plain = prior.program
    if num_layers == 2:
        prior = pr.SpikeAndSlab(2, 0.4, pr.FiniteSlab([0.5, 1.1], [0.7, 0.3]))
        plain = prior
        layers = [
            pr.Layer(WEIGHTS[:12, :3], keep_prob=0.6, noise_std=0.5),
            pr.Layer(WEIGHTS[:3, :2], keep_prob=0.8, noise_std=0.5, gain=1.4),
        ]
    model = pr.LayeredModel(plain, layers)
    obs = model.simulate(jax.random.key(3), 2)
    found = pr.estimate_log_evidence(
        jax.random.key(4), model, obs, num_chains=800, num_temperatures=100
    )
    error = found.value - exact_evidence(pr.LayeredModel(prior, layers), obs)
    assert (np.abs(error) < 5 * found.std_error).all()
    assert (found.std_error < 0.1).all()


def test_a_program_that_does_not_observe_is_refused():
    class Blind(NamedTuple):
        n_visible: int = 3
        n_hidden: int = 2

        def program(self, x=None):
            numpyro.sample("h", dist.Normal().expand([2]).to_event(1))
            return numpyro.sample("x", dist.Normal().expand([3]).to_event(1))

    with pytest.raises(pr.Refusal, match="a program that observes x"):
        pr.estimate_log_evidence(jax.random.key(0), Blind(), pr.Observations(np.ones((1, 3))))
