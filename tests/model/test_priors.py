"""Priors against plain enumeration, NumPyro's own density, and closed forms."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import scipy.stats
from numpyro.infer.util import log_density

import probrev as pr

UNIT_PROBS = np.array([0.15, 0.6, 0.35, 0.8])
VALUES = np.array([[0.4, 1.7], [0.9, 2.2], [1.1, 3.0], [0.2, 0.7]])
LEVEL_PROBS = np.array([[0.3, 0.7], [0.85, 0.15], [0.5, 0.5], [0.1, 0.9]])
PER_UNIT = pr.FiniteSlab(VALUES, LEVEL_PROBS)
SHARED = pr.FiniteSlab([0.4, 1.7, 2.5], [0.2, 0.5, 0.3])

FINITE = {
    "capped_per_unit": pr.SpikeAndSlab(4, UNIT_PROBS, PER_UNIT, max_active=2),
    "uncapped_shared": pr.SpikeAndSlab(4, 0.3, SHARED),
    "exactly_two": pr.KSparse(4, 2, PER_UNIT),
}


LOG_PROB = jax.jit(lambda prior, h: prior.log_prob(h))


@functools.partial(jax.jit, static_argnums=2)
def draw(key, prior, num_samples):
    return pr.sample_prior(key, prior, num_samples)


def law_by_enumeration(prior):
    """Every state and its probability, by plain loops."""
    values = np.broadcast_to(prior.slab.values, (4, prior.slab.values.shape[-1]))
    probs = np.broadcast_to(prior.slab.probs, values.shape)
    if isinstance(prior, pr.KSparse):
        inclusion, fewest, most = np.full(4, 0.5), prior.n_active, prior.n_active
    else:
        inclusion = np.broadcast_to(prior.inclusion_prob, 4)
        fewest, most = 0, 4 if prior.max_active is None else prior.max_active
    states, weights = [], []
    for levels in itertools.product(range(values.shape[1] + 1), repeat=4):
        if not fewest <= sum(level > 0 for level in levels) <= most:
            continue
        weight = 1.0
        for unit, level in enumerate(levels):
            weight *= inclusion[unit] * probs[unit, level - 1] if level else 1 - inclusion[unit]
        states.append([values[i, level - 1] if level else 0.0 for i, level in enumerate(levels)])
        weights.append(weight)
    weights = np.asarray(weights)
    return np.asarray(states), weights / weights.sum()


@functools.cache
def evaluate(name):
    """What a prior says of itself, compiled once: log_prob of every state, and moments."""
    prior, (states, _) = FINITE[name], law_by_enumeration(FINITE[name])

    @jax.jit
    def everything(prior, h):
        return prior.log_prob(h), prior.marginal_inclusion_prob, prior.second_moment

    return everything(prior, jnp.asarray(states))


@pytest.mark.parametrize("name", FINITE)
def test_log_prob_matches_enumeration(name):
    _, probs = law_by_enumeration(FINITE[name])
    np.testing.assert_allclose(np.exp(evaluate(name)[0]), probs, rtol=1e-12)


@pytest.mark.parametrize("name", FINITE)
def test_states_are_all_that_has_positive_probability(name):
    states = FINITE[name].states()
    listed = {tuple(row) for row in np.asarray(states[jnp.arange(states.count)]).tolist()}
    assert listed == {tuple(row) for row in law_by_enumeration(FINITE[name])[0].tolist()}
    np.testing.assert_allclose(np.exp(evaluate(name)[0]).sum(), 1.0, rtol=1e-12)


@pytest.mark.parametrize("name", FINITE)
def test_moments_match_enumeration(name):
    states, probs = law_by_enumeration(FINITE[name])
    _, inclusion_prob, second_moment = evaluate(name)
    np.testing.assert_allclose(inclusion_prob, probs @ (states > 0), rtol=1e-12)
    np.testing.assert_allclose(second_moment, probs @ states**2, rtol=1e-12)


@pytest.mark.parametrize("name", FINITE)
def test_program_has_the_same_density(name):
    """NumPyro's density at the program's sites is log_prob of the h that it returns."""
    prior = FINITE[name]

    def both(key):
        seeded = numpyro.handlers.seed(prior, key)
        trace = numpyro.handlers.trace(seeded).get_trace()
        sites = {name: site["value"] for name, site in trace.items() if site["type"] == "sample"}
        h = numpyro.handlers.substitute(prior, sites)()
        return log_density(prior, (), {}, sites)[0], prior.log_prob(h)

    by_program, by_law = jax.jit(jax.vmap(both))(jax.random.split(jax.random.key(0), 8))
    assert len(np.unique(np.asarray(by_law).round(6))) > 3
    np.testing.assert_allclose(by_program, by_law, rtol=1e-12)


@pytest.mark.parametrize("name", ["capped_per_unit", "exactly_two"])
def test_draws_have_the_enumerated_frequencies(name):
    prior, num_samples = FINITE[name], 40_000
    states, probs = law_by_enumeration(prior)
    draws = np.asarray(draw(jax.random.key(3), prior, num_samples))
    seen = (draws[:, None, :] == states[None]).all(-1)
    assert seen.any(1).all()
    counts = seen.sum(0)
    expected = probs * num_samples
    assert np.all(np.abs(counts - expected) <= 4.5 * np.sqrt(expected) + 2)
    statistic = ((counts - expected) ** 2 / expected)[expected > 5].sum()
    assert scipy.stats.chi2.sf(statistic, (expected > 5).sum() - 1) > 1e-4


def test_impossible_vectors_have_probability_zero():
    prior = FINITE["capped_per_unit"]
    h = np.zeros((4, 4))
    h[0, :3] = [0.4, 0.9, 1.1]  # three active where two are allowed
    h[1, 0] = 0.5  # not a value
    h[2, 0] = 0.9  # a value of another unit
    h[3, 1] = -0.9
    np.testing.assert_array_equal(LOG_PROB(prior, h), np.full(4, -np.inf))
    assert LOG_PROB(FINITE["exactly_two"], np.array([0.4, 0.0, 0.0, 0.0])) == -np.inf


def test_a_cap_of_none_leaves_nothing_to_draw():
    prior = pr.SpikeAndSlab(4, 0.3, SHARED, max_active=0)
    assert prior.states().count == 1
    np.testing.assert_allclose(LOG_PROB(prior, np.zeros(4)), 0.0, atol=1e-15)
    assert not draw(jax.random.key(0), prior, 8).any()


def test_certain_units():
    """Probabilities 0 and 1 are laws like any other."""
    prior = pr.SpikeAndSlab(3, np.array([0.0, 1.0, 0.25]), pr.FiniteSlab([2.0], [1.0]))
    h = np.array([[0.0, 2.0, 0.0], [0.0, 2.0, 2.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(np.exp(LOG_PROB(prior, h)), [0.75, 0.25, 0.0, 0.0], rtol=1e-12)
    inclusion_prob = jax.jit(lambda prior: prior.marginal_inclusion_prob)(prior)
    np.testing.assert_allclose(inclusion_prob, [0.0, 1.0, 0.25], atol=1e-15)


SCALES = np.array([0.7, 1.3, 2.1])


def test_continuous_slab_density_is_the_written_one():
    prior = pr.SpikeAndSlab(3, UNIT_PROBS[:3], dist.HalfNormal(SCALES), max_active=2)
    h = np.array([0.5, 0.0, 1.9])
    on, off = UNIT_PROBS[:3], 1 - UNIT_PROBS[:3]
    density = scipy.stats.halfnorm.pdf(h, scale=SCALES)
    allowed = 1 - on.prod()
    expected = np.log(on[0] * density[0] * off[1] * on[2] * density[2] / allowed)
    np.testing.assert_allclose(LOG_PROB(prior, h), expected, rtol=1e-12)
    sites = {"active": jnp.array([1, 0, 1]), "value": jnp.array([0.5, 8.0, 1.9])}
    found, _ = log_density(prior, (), {}, sites)
    np.testing.assert_allclose(
        found, expected + scipy.stats.halfnorm.logpdf(8.0, scale=SCALES[1]), rtol=1e-12
    )
    np.testing.assert_array_equal(numpyro.handlers.substitute(prior, sites)(), h)


def test_continuous_slab_moments():
    prior = pr.KSparse(5, 2, dist.Exponential(np.asarray(1.6)))
    inclusion_prob, second_moment = jax.jit(
        lambda prior: (prior.marginal_inclusion_prob, prior.second_moment)
    )(prior)
    np.testing.assert_allclose(inclusion_prob, np.full(5, 0.4), rtol=1e-12)
    np.testing.assert_allclose(second_moment, np.full(5, 0.4 * 2 / 1.6**2), rtol=1e-12)
    draws = np.asarray(draw(jax.random.key(0), prior, 20_000))
    assert np.all((draws > 0).sum(1) == 2)
    error = 4.5 * (draws**2).std(0) / np.sqrt(len(draws))
    assert np.all(np.abs((draws**2).mean(0) - 0.4 * 2 / 1.6**2) < error)


def horseshoe():
    """Nonnegative horseshoe: a hierarchical prior without an atom."""
    shrinkage = numpyro.sample("shrinkage", dist.HalfCauchy(0.3))
    with numpyro.plate("hidden", 3):
        local = numpyro.sample("local", dist.HalfCauchy(1.0))
        return numpyro.sample("value", dist.HalfNormal(local * shrinkage))


def test_any_numpyro_function_is_a_prior():
    draws = np.asarray(pr.sample_prior(jax.random.key(1), horseshoe, 20_000))
    assert draws.shape == (20_000, 3)
    assert np.all(draws > 0)
    # The quartile of |N| * |C| * 0.3 |C'| is that of the plain products, drawn by NumPy.
    rng = np.random.default_rng(5)
    shape = (200_000,)
    plain = 0.3 * abs(
        rng.standard_cauchy(shape) * rng.standard_cauchy(shape) * rng.normal(size=shape)
    )
    for quantile in (0.25, 0.5, 0.75):
        below = np.mean(draws[:, 0] < np.quantile(plain, quantile))
        error = 4.5 * math.sqrt(quantile * (1 - quantile) * (1 / 20_000 + 1 / 200_000))
        assert abs(below - quantile) < error


def test_sparsity_conditions_match_enumeration():
    """A case where each condition fails at times and they are dependent."""
    prior, n_active, constant = FINITE["uncapped_shared"], 2, 1.5
    states, probs = law_by_enumeration(prior)
    sparse = (states > 0).sum(1) <= n_active
    beta = constant * math.sqrt(math.log(n_active) / n_active)
    flat = states.max(1) <= beta * np.sqrt((states**2).sum(1))
    expected = [probs @ sparse, probs @ flat, probs @ (sparse & flat)]
    assert all(0.02 < one < 0.98 for one in expected)
    assert abs(expected[2] - expected[0] * expected[1]) > 0.02
    found = pr.sparsity_conditions(
        jax.random.key(2), prior, n_active, constant=constant, num_samples=20_000
    )
    for seen, prob in zip(found, expected, strict=False):
        assert abs(seen - prob) < 4.5 * math.sqrt(prob * (1 - prob) / 20_000)
    both = expected[2]
    np.testing.assert_allclose(found.std_error, math.sqrt(both * (1 - both) / 20_000), rtol=0.05)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"n_hidden": 0}, "n_hidden must be at least 1; got 0"),
        ({"inclusion_prob": 1.2}, r"inclusion_prob must lie in \[0, 1\]"),
        ({"inclusion_prob": np.nan}, r"inclusion_prob must lie in \[0, 1\]"),
        ({"inclusion_prob": [0.1, 0.2]}, r"inclusion_prob must .* shape \(3,\).* got shape \(2,\)"),
        ({"max_active": 4}, r"max_active must lie in \[0, n_hidden = 3\]; got 4"),
        ({"max_active": -1}, r"max_active must lie in \[0, n_hidden = 3\]; got -1"),
        ({"slab": dist.HalfNormal(np.ones(2))}, r"slab must have batch shape \(\) or \(3,\)"),
        ({"slab": dist.Normal()}, r"slab Normal has support"),
        ({"slab": dist.Poisson(1.0)}, "slab Poisson is discrete: give its values as FiniteSlab"),
    ],
)
def test_spike_and_slab_refuses(arguments, match):
    good = {"n_hidden": 3, "inclusion_prob": 0.2, "slab": dist.HalfNormal(1.0)}
    with pytest.raises(ValueError, match=match):
        pr.SpikeAndSlab(**(good | arguments))


@pytest.mark.parametrize("n_active", [-1, 5])
def test_ksparse_refuses_more_active_units_than_units(n_active):
    with pytest.raises(
        ValueError, match=rf"n_active must lie in \[0, n_hidden = 4\].*got {n_active}"
    ):
        pr.KSparse(4, n_active, SHARED)


def test_slab_must_be_a_distribution():
    with pytest.raises(TypeError, match="slab must be a NumPyro distribution"):
        pr.SpikeAndSlab(3, 0.2, 1.0)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("prior_type", ["spike", "sparse"])
def test_continuous_slab_has_no_states(prior_type):
    slab = dist.HalfNormal(1.0)
    prior = pr.SpikeAndSlab(3, 0.2, slab) if prior_type == "spike" else pr.KSparse(3, 1, slab)
    with pytest.raises(ValueError, match="slab HalfNormal has no finite list of states"):
        prior.states()


def test_sparsity_conditions_need_two_active_units():
    with pytest.raises(ValueError, match=r"n_active must be at least 2.*got 1"):
        pr.sparsity_conditions(jax.random.key(0), FINITE["uncapped_shared"], 1)
