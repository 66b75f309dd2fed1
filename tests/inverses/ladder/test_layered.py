"""The ladder against direct sums, SciPy's quadrature and plain message passing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import HalfNormal
from scipy.integrate import quad
from scipy.stats import halfnorm, norm

import probrev as pr
from probrev.inverses.ladder.layered import MAX_TRAINED_WEIGHTS, RUNGS
from tests.inference.plain_messages import iterate_plainly, one_layer
from tests.plain_unit import ACTIVATIONS, Plain, likelihood, simulate

RNG = np.random.default_rng(33)
W = RNG.normal(0, 0.6, (15, 4))
RHO, SIGMA, GAIN, SLAB_STD = 0.7, 0.9, 2.3, 0.8
PROBS = np.array([0.1, 0.3, 0.25, 0.6])
VALUES, LEVEL_PROBS = np.array([0.5, 1.6]), np.array([0.4, 0.6])
LAYERS = {name: pr.Layer(W, RHO, SIGMA, GAIN, activation=name) for name in ("relu", "identity")}
FINITE = pr.SpikeAndSlab(4, PROBS, pr.FiniteSlab(VALUES, LEVEL_PROBS))
HALF_NORMAL = pr.SpikeAndSlab(4, PROBS, HalfNormal(SLAB_STD))


def observe(name):
    z = np.array([[1.6, 0, 0, 0.5], [0, 0, 0, 0], [0, 0.5, 1.6, 1.6]]) @ W.T
    x = GAIN * (z + SIGMA * RNG.normal(size=z.shape)) * (RNG.uniform(size=z.shape) < RHO)
    return np.maximum(x, 0) if name == "relu" else x


def denoise_finite(readout, variance):
    """E[h | readout] by a direct sum over 0 and the values."""
    result = np.zeros_like(readout)
    for (row, unit), r in np.ndenumerate(readout):
        h = np.concatenate([[0.0], VALUES])
        prior = np.concatenate([[1 - PROBS[unit]], PROBS[unit] * LEVEL_PROBS])
        weight = prior * norm.pdf(r, h, np.sqrt(variance[row]))
        result[row, unit] = weight @ h / weight.sum()
    return result


def denoise_half_normal(readout, variance):
    result = np.zeros_like(readout)
    for (row, unit), r in np.ndenumerate(readout):
        spread = np.sqrt(variance[row])

        def weigh(h, power, r=r, spread=spread):
            return h**power * halfnorm.pdf(h, scale=SLAB_STD) * norm.pdf(r, h, spread)

        mass, first = (
            quad(weigh, 0, 8, args=(p,), points=[max(r, 0)], limit=200)[0] for p in (0, 1)
        )
        spike = (1 - PROBS[unit]) * norm.pdf(r, 0, spread)
        result[row, unit] = PROBS[unit] * first / (PROBS[unit] * mass + spike)
    return result


DENOISERS = {"finite": (FINITE, denoise_finite), "half_normal": (HALF_NORMAL, denoise_half_normal)}


@pytest.mark.parametrize(("slab", "name"), [("finite", "identity"), ("half_normal", "relu")])
def test_scalar_activation_denoises_the_readout(slab, name):
    """h_i = E[h_i | u_i], u_i ~ N(h_i, c^2 w^2 ||x||^2), c the factor that makes u unbiased."""
    x = observe(name)
    energy = (W**2).sum(0).mean()
    scale = (2 if name == "relu" else 1) / (GAIN * RHO * energy)
    variance = scale**2 * (W**2).mean() * (x**2).sum(1)
    prior, denoise = DENOISERS[slab]
    found = pr.ScalarActivation(prior, LAYERS[name])(x)
    np.testing.assert_allclose(found, denoise(scale * x @ W, variance), rtol=1e-7)


@pytest.mark.parametrize(
    "name", ["threshold", *(pytest.param(n, marks=pytest.mark.slow) for n in ("clipped", "leaky"))]
)
def test_first_step_of_any_activation_is_one_step_of_gamp_from_nothing(name):
    """With a bias: scores are numerical derivatives of the law, information their mean square."""
    unit = Plain(SIGMA, RHO, GAIN)
    bias = np.linspace(-1, 0.7, 15)
    layer = pr.Layer(W, RHO, SIGMA, GAIN, ACTIVATIONS[name], bias)
    rng, step = np.random.default_rng(0), 1e-4
    x = simulate(rng, name, np.array([[1.6, 0, 0, 0.5], [0, 0.5, 1.6, 1.6]]) @ W.T + bias, unit)
    weight_var, second = (W**2).mean(), PROBS * (LEVEL_PROBS @ VALUES**2)
    wide = unit._replace(noise_std=np.sqrt(SIGMA**2 + weight_var * second.sum()))

    def score(x, bias):
        above, below = (np.log(likelihood(name, x, bias + s, wide)) for s in (step, -step))
        return (above - below) / (2 * step)

    many = simulate(rng, name, np.broadcast_to(bias, (200_000, 15)), wide)
    information = weight_var * (score(many, bias) ** 2).mean(0).sum()
    readout = score(x, bias) @ W / information
    expected = denoise_finite(readout, np.full(2, 1 / information))
    np.testing.assert_allclose(pr.FirstStep(FINITE, layer)(x), expected, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize(("slab", "name"), [("half_normal", "identity"), ("finite", "relu")])
def test_first_step_is_one_step_of_gamp_from_nothing(slab, name):
    """theory §6 with h = 0, v = E h^2, g = 0, but W_ji^2 averaged: written out row by row."""
    x = observe(name)
    prior, denoise = DENOISERS[slab]
    square = LEVEL_PROBS @ VALUES**2 if slab == "finite" else SLAB_STD**2
    mean_square = (W**2).mean()
    s2 = mean_square * PROBS.sum() * square + SIGMA**2
    g = np.zeros_like(x)
    for index, value in np.ndenumerate(x):
        if value != 0:
            g[index] = value / GAIN / s2
        elif name == "relu":  # g = -rho phi(t) / (c f) at t = 0
            g[index] = -RHO * norm.pdf(0) / (np.sqrt(s2) * (1 - RHO + RHO / 2))
    if name == "relu":
        # E[-g'], half of the rows positive: rho/2 at 1/s^2, and E[-g' | silent] = E[g^2 | silent].
        silent = 1 - RHO / 2
        slope = RHO / 2 / s2 + silent * (RHO * norm.pdf(0) / silent) ** 2 / s2
    else:
        slope = RHO / s2
    tau = 1 / (len(W) * mean_square * slope)
    found = pr.FirstStep(prior, LAYERS[name])(x)
    expected = denoise(tau * g @ W, np.full(len(x), tau))
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_nothing_seen_is_nothing_inferred():
    """h = 0 without noise gives x = 0: the readout's variance is 0, and its estimate is 0."""
    layer = pr.Layer(W, RHO, 0.0, GAIN)
    for prior in (FINITE, HALF_NORMAL):
        found = np.asarray(pr.ScalarActivation(prior, layer)(np.zeros((2, 15))))
        np.testing.assert_allclose(found, np.zeros((2, 4)), atol=1e-12)


@pytest.mark.parametrize(
    ("n", "low", "high"),
    [(100, 0.25, 0.5), pytest.param(400, 0.01, 0.08, marks=pytest.mark.slow)],
)
def test_silence_is_evidence(n, low, high):
    """Rung 4 errs less than rung 3, which leaves silent rows out; paired over fresh W."""
    prior = pr.SpikeAndSlab(30, 0.1, pr.FiniteSlab([1.0], [1.0]))

    def errors(key):
        key_weights, key_h, key_x = jax.random.split(key, 3)
        layer = pr.Layer(jax.random.normal(key_weights, (n, 30)), 0.5, 0.7, 4 / n)
        h = pr.sample_prior(key_h, prior, 100)
        x, _ = layer.generate(key_x, h)
        rungs = pr.ScalarActivation(prior, layer), pr.FirstStep(prior, layer)
        return jnp.stack([((rung(x) - h) ** 2).sum() for rung in rungs]), (h**2).sum()

    squared, energy = jax.jit(lambda keys: jax.lax.map(errors, keys))(
        jax.random.split(jax.random.key(0), 30)
    )
    scalar, first_step = np.asarray(squared.sum(0) / energy.sum())
    assert low < first_step < scalar < high
    gain = np.asarray(squared[:, 0] - squared[:, 1])
    assert gain.mean() > 4 * gain.std() / np.sqrt(len(gain))


@pytest.fixture(scope="module")
def unrolled():
    """A small model in which rho / alpha is not 1, and its observations."""
    model = one_layer()
    return model, np.asarray(model.simulate(jax.random.key(1), 3).x)


@pytest.mark.parametrize("num_iterations", [1, 2, 3])
def test_unrolled_message_passing_is_so_many_plain_iterations(unrolled, num_iterations):
    """None of the first three beliefs is damped."""
    model, x = unrolled
    found = pr.UnrolledMessagePassing(model, num_iterations)(x)
    expected = [iterate_plainly(model, one, num_iterations, step=1.0)[0] for one in x]
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.slow
def test_unrolled_to_convergence_it_has_the_mean_of_message_passing(unrolled):
    model, x = unrolled
    found = pr.build_ladder(jax.random.key(0), model, ["converged"])["converged"](x)
    posterior = pr.message_passing(model, pr.Observations(x), num_draws=4)
    assert posterior.status == "ok"
    np.testing.assert_array_equal(found, posterior.mean)


@pytest.mark.slow
def test_unrolled_message_passing_of_two_layers():
    two = pr.LayeredModel(FINITE, [pr.Layer(RNG.normal(size=(60, 15)), 0.5, 0.2), LAYERS["relu"]])
    x = two.simulate(jax.random.key(0), 3).x
    ladder = pr.build_ladder(jax.random.key(0), two)
    assert tuple(ladder) == (
        "theory", "universal", "calibrated", "two_steps", "three_steps", "converged",
    )  # fmt: skip
    expected = pr.message_passing(two, pr.Observations(x), num_draws=4).mean
    np.testing.assert_array_equal(ladder["converged"](x), expected)
    assert not np.allclose(ladder["two_steps"](x), expected, rtol=1e-3)


def test_rungs_are_those_that_a_model_has():
    nets = ("theory", "universal", "calibrated")
    one = pr.LayeredModel(FINITE, [LAYERS["relu"]])
    assert pr.list_rungs(one) == RUNGS
    assert set(nets) < set(RUNGS)
    wide = pr.Layer(np.ones((MAX_TRAINED_WEIGHTS // 4 + 1, 4)), 0.5)
    assert pr.list_rungs(pr.LayeredModel(FINITE, [wide])) == (*nets, "scalar", "first_step")
    k_sparse = pr.LayeredModel(pr.KSparse(4, 2, FINITE.slab), [LAYERS["relu"]])
    assert pr.list_rungs(k_sparse) == (*nets, "trained", "scalar", "first_step")
    function = pr.LayeredModel(lambda: jnp.ones(4), [LAYERS["relu"]])
    assert pr.list_rungs(function) == (*nets, "trained")
    deep = pr.LayeredModel(FINITE, [pr.Layer(np.ones((9, 15)), 0.5), LAYERS["relu"]])
    assert pr.list_rungs(deep) == nets


def test_build_ladder_gives_the_rungs_asked_for():
    names = [name for name in RUNGS if name != "trained"]
    one = pr.LayeredModel(FINITE, [LAYERS["relu"]])
    ladder = pr.build_ladder(jax.random.key(0), one, names[::-1])
    assert list(ladder) == names
    x = observe("relu")
    for inverse in ladder.values():
        found = np.asarray(inverse(x))
        assert found.shape == (3, 4)
        assert np.all(np.isfinite(found) & (found >= 0))
    assert pr.build_ladder(jax.random.key(0), one, []) == {}
    with pytest.raises(ValueError, match="no rung 'two_steps'; it has theory, "):
        pr.build_ladder(jax.random.key(0), pr.LayeredModel(FINITE, [pr.Layer(W)]), ["two_steps"])


@pytest.mark.slow
def test_the_whole_ladder_of_one_layer():
    one = pr.LayeredModel(FINITE, [LAYERS["relu"]])
    assert tuple(pr.build_ladder(jax.random.key(0), one)) == RUNGS
