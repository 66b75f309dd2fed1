"""Every activation, with a bias, through every method, against plain sums and integrals."""

import itertools

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import HalfNormal
from scipy import special, stats

import probrev as pr
from probrev.inference.gibbs.layered_state import init_layered
from probrev.inference.gibbs.layered_sweep import layered_step
from probrev.inference.gibbs.surrogate import fit_surrogate, log_neglected, surrogate_rows
from probrev.inference.messages.messages import init_messages, iterate_messages
from tests.marks import by_hand
from tests.plain_unit import ACTIVATIONS, Plain, likelihood, simulate

VALUES, PROBS = np.array([0.6, 1.5]), np.array([0.7, 0.3])
FINITE = pr.FiniteSlab(VALUES, PROBS)
UNIT = Plain(0.7, 0.6, 1.7)
each = pytest.mark.parametrize("name", ACTIVATIONS)


def build(name, *, unit=UNIT, n_visible=10, n_hidden=4, seed=0, slab=FINITE, max_active=None):
    """A model whose bias is of the size of W h, and its weights and bias."""
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(0.2, 1, (n_visible, n_hidden)), rng.normal(-0.3, 0.8, n_visible)
    sigma, rho, alpha = unit
    layer = pr.Layer(weights, rho, sigma, alpha, ACTIVATIONS[name], bias)
    prior = pr.SpikeAndSlab(n_hidden, 0.3, slab, max_active=max_active)
    return pr.LayeredModel(prior, [layer]), weights, bias


def sum_states(name, weights, bias, x, unit=UNIT):
    """Mean, inclusion probability and log evidence, by a sum over every vector of levels."""
    levels, log_probs = np.append(0, VALUES), np.log(np.append(0.7, 0.3 * PROBS))
    choices = np.array(list(itertools.product(range(3), repeat=weights.shape[1])))
    h = levels[choices]
    log_joint = log_probs[choices].sum(1)
    log_joint = log_joint + np.log(likelihood(name, x, h @ weights.T + bias, unit)).sum(1)
    log_evidence = special.logsumexp(log_joint)
    weight = np.exp(log_joint - log_evidence)
    return weight @ h, weight @ (h > 0), log_evidence


@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("keep_prob", [0.6, pytest.param(1.0, marks=pytest.mark.proof)])
def test_enumeration_is_the_sum_over_states(name, keep_prob):
    """One observation and several, which are summed in different ways."""
    unit = UNIT._replace(keep_prob=keep_prob)
    model, weights, bias = build(name, unit=unit)
    obs = model.simulate(jax.random.key(1), 3)
    for part in (obs[:1], obs):
        found = pr.exact(model, part, num_draws=8).tree["exact"]
        for index, x in enumerate(np.asarray(part.x)):
            mean, inclusion, log_evidence = sum_states(name, weights, bias, x, unit)
            np.testing.assert_allclose(found["mean"][index], mean, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(
                found["inclusion_prob"][index], inclusion, rtol=1e-10, atol=1e-12
            )
            np.testing.assert_allclose(found["log_evidence"][index], log_evidence, rtol=1e-10)


def integrate_supports(name, weights, bias, x, unit, scale=0.8, num_nodes=400):
    """Mean and log evidence under a half-normal slab and at most two of three units, by grids."""
    node, node_weight = np.polynomial.legendre.leggauss(num_nodes)
    point, node_weight = 3.5 * (node + 1), 3.5 * node_weight
    density = stats.halfnorm.pdf(point, scale=scale) * node_weight
    evidence, first = 0.0, np.zeros(3)
    for size in range(3):
        for support in itertools.combinations(range(3), size):
            axes = np.meshgrid(*[point] * size, indexing="ij")
            h = np.zeros((num_nodes**size, 3))
            for unit_index, axis in zip(support, axes, strict=True):
                h[:, unit_index] = axis.ravel()
            prior = np.ones(1)
            for _ in support:
                prior = np.multiply.outer(prior, density).ravel()
            mass = 0.3**size * 0.7 ** (3 - size) * prior
            mass = mass * likelihood(name, x, h @ weights.T + bias, unit).prod(1)
            evidence, first = evidence + mass.sum(), first + mass @ h
    allowed = sum(stats.binom.pmf(size, 3, 0.3) for size in range(3))
    return first / evidence, np.log(evidence / allowed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "keep_prob"),
    [
        ("tanh", 1.0),
        *by_hand(("relu", 0.6), ("leaky", 0.6), ("clipped", 0.6), ("threshold", 1.0)),
    ],
)
def test_integration_is_the_integral(name, keep_prob):
    unit = Plain(0.8, keep_prob, 1.7)
    model, weights, bias = build(
        name, unit=unit, n_visible=7, n_hidden=3, slab=HalfNormal(0.8), max_active=2
    )
    obs = model.simulate(jax.random.key(4), 3)
    posterior = pr.exact(model, obs, num_draws=4000)
    assert posterior.status == "ok", posterior.status_reason
    found = posterior.tree["exact"]
    for index, x in enumerate(np.asarray(obs.x)):
        mean, log_evidence = integrate_supports(name, weights, bias, x, unit)
        np.testing.assert_allclose(found["mean"][index], mean, rtol=5e-4, atol=5e-5)
        np.testing.assert_allclose(found["log_evidence"][index], log_evidence, atol=1e-4)
    h = posterior.draws.to_numpy().reshape(-1, 3, 3)
    spread = np.sqrt(posterior.var.to_numpy() / len(h))
    assert np.all(np.abs(h.mean(0) - found["mean"].to_numpy()) < 4.5 * spread + 1e-6)


def test_a_flat_between_two_points_is_not_integrated():
    model, *_ = build("soft threshold", slab=HalfNormal(0.8), max_active=2)
    with pytest.raises(ValueError, match="soft_threshold has a flat between two: use gibbs"):
        pr.exact(model, model.simulate(jax.random.key(0), 1))


# Gibbs


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["clipped", "soft threshold", *by_hand("relu", "leaky", "threshold", "tanh")]
)
def test_gibbs_agrees_with_exact(name):
    model, *_ = build(name, n_visible=12, unit=Plain(1.2, 0.6, 1.7))
    obs = model.simulate(jax.random.key(3), 3)
    gibbs = pr.gibbs(jax.random.key(4), model, obs, num_warmup=200, num_samples=3000)
    exact = pr.exact(model, obs, num_draws=12_000)
    found = pr.measure_agreement(gibbs, exact)
    assert found.agrees, found.reason
    assert (np.abs(gibbs.mean - exact.mean) <= 5 * az.mcse(gibbs.draws) + 2e-3).all()


@pytest.mark.slow
@each
def test_surrogate_and_what_it_neglects_are_the_likelihood(name):
    """Differences between two points, against the law of each row written down."""
    rng = np.random.default_rng(0)
    sigma, rho, alpha = UNIT
    layer = pr.Layer(rng.normal(size=(12, 3)), rho, sigma, alpha, ACTIVATIONS[name])
    center, old, new = (rng.normal(size=(4, 12)) for _ in range(3))
    x = simulate(rng, name, center, UNIT)
    spread = rng.uniform(size=(4, 12))
    surrogate = fit_surrogate(layer, *map(jnp.asarray, (x, center, spread)))
    rows = jax.tree.map(np.asarray, surrogate_rows(layer, surrogate, jnp.asarray(x), old))
    d = new - old
    quadratic = (rows.residual * d - 0.5 * rows.precision * d**2).sum(1)
    before, after = (
        log_neglected(layer, surrogate, jnp.asarray(x), jnp.asarray(z)) for z in (old, new)
    )
    log_law = [np.log(likelihood(name, x, z, UNIT)).sum(1) for z in (old, new)]
    np.testing.assert_allclose(quadratic + after - before, log_law[1] - log_law[0], rtol=1e-8)


@pytest.mark.slow
def test_warm_up_fits_surrogates_to_what_x_is():
    """Rows at the top of a clipped layer are fitted as such: else proposals are seldom taken."""
    model, *_ = build("clipped")
    x = model.simulate(jax.random.key(3), 2).x
    state = init_layered(jax.random.key(1), model, x, 3, 4)
    for _ in range(4):
        state = jax.jit(layered_step)(state, model, x)
    (warmth,) = state.warmth
    var = jnp.maximum(warmth.square - jnp.square(warmth.mean), 0.0)
    expected = fit_surrogate(model.layers[0], jnp.tile(x, (3, 1)), warmth.mean, var)
    for found, wanted in zip(warmth.surrogate, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10)


@pytest.mark.proof
def test_two_layers_with_biases():
    rng = np.random.default_rng(1)
    below = pr.Layer(
        rng.normal(size=(8, 3)), 0.7, 0.9, 0.5, pr.ClippedRelu(1.3), rng.normal(size=8)
    )
    above = pr.Layer(rng.normal(size=(3, 3)), 0.8, 0.6, 0.9, bias=rng.normal(size=3))
    model = pr.LayeredModel(pr.SpikeAndSlab(3, 0.4, FINITE), [below, above])
    obs = model.simulate(jax.random.key(1), 3)
    exact = pr.exact(model, obs, num_draws=12_000)
    gibbs = pr.gibbs(jax.random.key(2), model, obs, num_samples=4000)
    found = pr.measure_agreement(gibbs, exact)
    assert found.agrees, found.reason
    between = exact.tree["intermediates"]["h_1_mean"]
    np.testing.assert_allclose(gibbs.tree["intermediates"]["h_1_mean"], between, atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clipped", *by_hand("leaky")])
def test_hmc_runs_the_program(name):
    model, weights, bias = build(name, n_visible=6, n_hidden=2)
    obs = model.simulate(jax.random.key(6), 1)
    hmc = pr.hmc(jax.random.key(7), model, obs, num_warmup=200, num_samples=4000)
    mean, *_ = sum_states(name, weights, bias, np.asarray(obs.x)[0])
    assert np.all(np.abs(hmc.mean[0] - mean) < 5 * az.mcse(hmc.draws)[0] + 2e-3)


# Message passing


def pass_plainly(name, model, x, num_iterations):
    """Message passing for one x, from its definition: scores are numerical derivatives of log Z."""
    layer, prior = model.layers[0], model.prior
    W, bias, sigma = np.asarray(layer.weights), np.asarray(layer.bias), float(layer.noise_std)
    pi = np.asarray(prior.inclusion_prob) * np.ones((W.shape[1], 1))
    probs, levels = np.concatenate([1 - pi, pi * PROBS], axis=1), np.append(0, VALUES)
    mean, var = probs @ levels, probs @ levels**2 - (probs @ levels) ** 2
    g, step = np.zeros(len(x)), 1e-4

    def log_z(omega, V):
        c = np.sqrt(sigma**2 + V)
        return np.log(likelihood(name, x, omega, Plain(c, layer.keep_prob, layer.gain)))

    for _ in range(num_iterations):
        V = W**2 @ var
        omega = W @ mean + bias - V * g
        below, here, above = (log_z(omega + k * step, V) for k in (-1, 0, 1))
        g, information = (above - below) / (2 * step), -(above - 2 * here + below) / step**2
        tau = 1 / (W.T**2 @ information)
        r = mean + tau * (W.T @ g)
        weight = probs * np.exp(-((r[:, None] - levels) ** 2) / (2 * tau[:, None]))
        weight /= weight.sum(1, keepdims=True)
        mean, var = weight @ levels, weight @ levels**2 - (weight @ levels) ** 2
    return mean, var


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "threshold" else pytest.mark.slow)
        for name in ("relu", "clipped", "threshold", "tanh", "soft threshold")
    ],
)
def test_messages_are_those_of_the_definition(name):
    """Undamped: two iterations from the prior."""
    model, *_ = build(name, n_visible=40, n_hidden=6)
    x = model.simulate(jax.random.key(5), 2).x
    state = iterate_messages(init_messages(model, x), model, x, 2, 0.0)
    for index, row in enumerate(np.asarray(x)):
        belief = state.layers[-1].belief
        mean, var = pass_plainly(name, model, row, 2)
        np.testing.assert_allclose(belief.mean[index], mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(belief.var[index], var, rtol=1e-3, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["leaky", "threshold", *by_hand("clipped", "soft threshold")])
def test_message_passing_is_near_exact_where_rows_are_many(name):
    model, *_ = build(name, unit=Plain(2.5, 0.6, 1.0), n_visible=120, n_hidden=6)
    obs = model.simulate(jax.random.key(8), 4)
    found = pr.message_passing(model, obs, num_draws=8)
    assert found.status == "ok", found.status_reason
    exact = pr.exact(model, obs, num_draws=8)
    assert np.abs(found.inclusion_prob - exact.inclusion_prob).max() < 0.12
    assert np.abs(found.mean - exact.mean).max() < 0.12


# Without noise


@pytest.mark.slow
@pytest.mark.parametrize("slab", ["finite", pytest.param("half-normal", marks=pytest.mark.slow)])
def test_without_noise_a_bias_is_taken_off(slab):
    rng = np.random.default_rng(3)
    law = FINITE if slab == "finite" else HalfNormal(1.0)
    weights, bias = rng.normal(size=(14, 4)), rng.normal(size=14)
    model = pr.LayeredModel(
        pr.SpikeAndSlab(4, 0.4, law, max_active=2), [pr.Layer(weights, 0.7, 0.0, 0.8, bias=bias)]
    )
    obs = model.simulate(jax.random.key(1), 12)
    posterior = pr.exact(model, obs, num_draws=8)
    np.testing.assert_allclose(posterior.mean, obs.h, atol=1e-6)
    h = np.asarray(obs.h)
    dropped = ((h @ weights.T + bias > 0) & (np.asarray(obs.x) == 0)).sum(1)
    seen = np.asarray(obs.x) > 0
    expected = np.asarray(model.prior.log_prob(obs.h))
    expected = expected + dropped * np.log(0.3) + seen.sum(1) * np.log(0.7)
    if slab == "half-normal":  # a density: over the units that are active, as x has it
        for index, (rows, units) in enumerate(zip(seen, h > 0, strict=True)):
            columns = weights[np.ix_(rows, units)]
            volume = np.linalg.slogdet(columns.T @ columns)[1] / 2
            expected[index] -= volume + units.sum() * np.log(0.8)
    np.testing.assert_allclose(posterior.tree["exact"]["log_evidence"], expected, rtol=1e-8)
    assert (h == 0).all(1).any()  # where all of x is bias


# Evidence


@pytest.mark.slow
def test_evidence_by_particles():
    model, *_ = build("clipped")
    obs = model.simulate(jax.random.key(1), 3)
    found = pr.estimate_log_evidence(jax.random.key(2), model, obs)
    exact = pr.exact(model, obs, num_draws=8).tree["exact"]["log_evidence"]
    assert np.all(np.abs(found.value - exact) < 5 * found.std_error + 1e-3)
