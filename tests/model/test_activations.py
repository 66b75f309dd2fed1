"""Activations against laws written down in NumPy, their own definition, and derivatives."""

from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

import probrev as pr
from probrev.model.channel import fisher_information, observed_score
from probrev.model.silence import tabulate_silence
from tests.plain_unit import ACTIVATIONS, Plain, forward, likelihood, simulate, some_now, values

UNITS = [Plain(0.7, 0.6, 1.7), Plain(1.8, 1.0, 0.3), Plain(0.15, 0.9, 1.0)]
PRE_ACTIVATIONS = np.array([-3.1, -0.4, 0.0, 0.6, 1.4, 4.0])
both = pytest.mark.parametrize("unit", UNITS, ids=["dropout", "none", "steep"])
each = pytest.mark.parametrize("name", ACTIVATIONS)
some = pytest.mark.parametrize("name", some_now("clipped", "soft threshold"))


def law(name, z, unit):
    return pr.LayerUnit(ACTIVATIONS[name], z, *unit)


def layer_of(name, unit):
    """A layer with such units; the numbers may be tracers."""
    sigma, rho, alpha = unit
    return pr.Layer(np.ones((1, 1)), rho, sigma, alpha, ACTIVATIONS[name])


@partial(jax.jit, static_argnames="name")
def evaluate(name, x, z, unit):
    """log p(x | z), its gradient, and the score."""
    log_prob = law(name, z, unit).log_prob(x)
    gradient = jax.grad(lambda z: law(name, z, unit).log_prob(x).sum())(z)
    return log_prob, gradient, observed_score(layer_of(name, unit), x, z, jnp.zeros_like(z))


def cases(name, unit):
    """x and z of all kinds, one pair after the other."""
    x = np.stack([values(name, unit, z) for z in PRE_ACTIVATIONS])
    return x.ravel(), np.repeat(PRE_ACTIVATIONS, x.shape[1])


@some
def test_log_prob_is_the_law_written_down(name):
    for unit in UNITS:
        x, z = cases(name, unit)
        plain = likelihood(name, x, z, unit)
        # Where the law written down does not underflow, or cancel.
        at = plain > 1e-200
        found, *_ = evaluate(name, x, z, tuple(map(float, unit)))
        np.testing.assert_allclose(np.asarray(found)[at], np.log(plain[at]), 1e-8, 1e-11)
        near = np.abs(z) < 1
        np.testing.assert_allclose(
            np.asarray(found)[near & at], np.log(plain[near & at]), 1e-10, 1e-13
        )


@pytest.mark.slow
@each
@both
def test_masses_and_densities_add_up_to_one(name, unit):
    """Of the law written down: what the other test holds against."""
    alpha, activation = unit.gain, ACTIVATIONS[name]
    for z in (-0.4, 1.4):
        atoms = {alpha * flat.value for flat in activation.flats} | (
            {0.0} if unit.keep_prob < 1 else set()
        )
        ends = alpha * forward(name, np.linspace(z - 8 * unit.noise_std, z + 8 * unit.noise_std, 9))
        cuts = np.unique([*ends, *atoms])
        total = sum(float(likelihood(name, atom, z, unit)) for atom in atoms)
        for low, high in pairwise(cuts):
            inside = lambda x, z=z: float(likelihood(name, x, z, unit))  # noqa: E731
            total += integrate.quad(inside, low, high, epsabs=1e-12, limit=200)[0]
        assert abs(total - 1) < 1e-7


@pytest.mark.slow
@each
@both
def test_impossible_values_have_none(name, unit):
    y = np.array([-7.0, -1.0, -0.3, 0.0, 0.3, 1.0, 1.3, 1.31, 7.0])
    place = ACTIVATIONS[name].locate(jnp.asarray(y), unit.keep_prob)
    expected = likelihood(name, unit.gain * y, 1.0, Plain(50.0, unit.keep_prob, unit.gain)) > 0
    np.testing.assert_array_equal(place.possible, expected)
    unchecked = pr.LayerUnit(ACTIVATIONS[name], 1.0, *unit, validate_args=False)
    log_prob = unchecked.log_prob(unit.gain * y[~expected])
    assert np.isneginf(log_prob).all()


@some
def test_score_is_the_derivative(name):
    """First and second derivative of the log of the law written down, by central differences."""
    for unit in UNITS:
        x, z = cases(name, unit)
        # Farther out the law written down cancels in its tail.
        at = likelihood(name, x, z, unit) > 1e-6
        step, scale = 1e-4 * unit.noise_std, 1 / unit.noise_std
        log_law = [np.log(likelihood(name, x, z + k * step, unit)[at]) for k in (-1, 0, 1)]
        slope = (log_law[2] - log_law[0]) / (2 * step)
        bend = (log_law[2] - 2 * log_law[1] + log_law[0]) / step**2
        _, gradient, score = evaluate(name, x, z, tuple(map(float, unit)))
        g, information = (np.asarray(part) for part in score)
        np.testing.assert_allclose(g[at], slope, rtol=1e-5, atol=1e-5 * scale)
        np.testing.assert_allclose(information[at], -bend, rtol=1e-4, atol=1e-4 * scale**2)
        np.testing.assert_allclose(np.asarray(gradient)[at], g[at], 1e-9, 1e-9 * scale)


@pytest.mark.slow
@each
def test_fisher_information_is_the_mean_squared_score(name):
    """Over draws by the definition."""
    rng = np.random.default_rng(3)
    z = np.repeat([-0.4, 0.6, 1.4], 40_000)
    for unit in UNITS:
        x = simulate(rng, name, z, unit)
        *_, score = evaluate(name, x, z, tuple(map(float, unit)))
        squares = (np.asarray(score.g) ** 2).reshape(3, -1)
        found = fisher_information(layer_of(name, unit), jnp.asarray(z[::40_000]), unit[0] ** 2)
        error = 4.5 * squares.std(1) / 200 + 1e-12
        assert np.all(np.abs(squares.mean(1) - np.asarray(found)) < error)


@pytest.mark.slow
@each
@both
def test_draws_have_the_law(name, unit):
    """The distribution function at many points, against draws by the definition."""
    rng = np.random.default_rng(1)
    z = np.full(20_000, 0.6)
    ours = np.sort(law(name, jnp.asarray(z), unit).sample(jax.random.key(0)))
    plain = np.sort(simulate(rng, name, z, unit))
    at = np.quantile(plain, np.linspace(0.02, 0.98, 25))
    for side in ("left", "right"):
        first, second = (np.searchsorted(one, at, side=side) / 20_000 for one in (ours, plain))
        error = np.sqrt(np.maximum(second * (1 - second), 1e-4) * 2 / 20_000)
        assert np.all(np.abs(first - second) < 4.5 * error)


@pytest.mark.slow
@each
@both
def test_latents_are_those_that_made_x(name, unit):
    """(mask, pre-activation) given x, x drawn: as (mask, pre-activation) before x, and they fit."""
    num, z = 20_000, 0.6
    sigma, rho, alpha = unit
    unit_law = law(name, jnp.full(num, z), unit)
    x = unit_law.sample(jax.random.key(2))
    kept, zeta = (np.asarray(part) for part in unit_law.sample_latents(jax.random.key(3), x))
    assert abs(kept.mean() - rho) < 4.5 * np.sqrt(rho * (1 - rho) / num) + 1e-12
    assert stats.kstest(zeta[kept], stats.norm(z, sigma).cdf).pvalue > 1e-3
    made = alpha * forward(name, zeta) * kept
    np.testing.assert_allclose(made, np.asarray(x), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@each
@both
def test_moments_match_quadrature(name, unit):
    sigma, rho, alpha = unit
    if ACTIVATIONS[name].__class__.moments is pr.Activation.moments:
        with pytest.raises(ValueError, match=f"activation {ACTIVATIONS[name]} has no closed form"):
            _ = law(name, jnp.asarray(0.3), unit).mean
        return
    for z in PRE_ACTIVATIONS:
        moments = []
        for power in (1, 2):
            total = 0.0
            cuts = np.unique(np.clip([z - 12 * sigma, 0.0, 1.3, z + 12 * sigma], z - 12 * sigma,
                                     z + 12 * sigma))  # fmt: skip
            for low, high in pairwise(cuts):
                inside = lambda u, p=power, z=z: float(  # noqa: E731
                    forward(name, u) ** p * stats.norm.pdf(u, z, sigma)
                )
                total += integrate.quad(inside, low, high, epsabs=1e-13, points=[z], limit=300)[0]
            moments.append(rho * alpha**power * total)
        found = law(name, jnp.asarray(z), unit)
        np.testing.assert_allclose(found.mean, moments[0], rtol=1e-8, atol=1e-11)
        np.testing.assert_allclose(
            found.variance, moments[1] - moments[0] ** 2, rtol=1e-7, atol=1e-10
        )


@pytest.mark.slow
@each
def test_without_noise_the_mean_is_the_activation(name):
    if ACTIVATIONS[name].__class__.moments is not pr.Activation.moments:
        z = jnp.asarray([-0.7, 0.4, 2.0])
        found = pr.LayerUnit(ACTIVATIONS[name], z, 0.0, 0.6, 1.7)
        expected = forward(name, np.asarray(z))
        np.testing.assert_allclose(found.mean, 1.7 * 0.6 * expected, rtol=1e-12)
        spread = 1.7**2 * 0.6 * 0.4 * expected**2
        np.testing.assert_allclose(found.variance, spread, rtol=1e-12, atol=1e-12)


def test_a_value_of_a_flat_survives_the_gain():
    """x = gain * top, rounded: within a few units in the last place it is on the flat."""
    activation = pr.ClippedRelu(1.3)
    gains = np.random.default_rng(0).uniform(0.01, 90, 2000)
    x = gains * 1.3
    assert np.asarray(activation.locate(jnp.asarray(x / gains), 0.5).on[1]).all()
    beyond = jnp.asarray([1.3 * (1 + 1e-12), 1.3 * (1 - 1e-12)])
    place = activation.locate(beyond, 0.5)
    assert np.asarray(place.possible).tolist() == [False, True]


# The layer


@pytest.mark.slow
@pytest.mark.parametrize(("name", "slope"), [("leaky", 0.2), ("relu", 0.0), ("identity", 1.0)])
def test_readout_is_unbiased_over_gaussian_weights(name, slope):
    """theory §14: E[W^T x | h] = h at the default gain, by Stein's identity."""
    n, num, h = 40, 12_000, jnp.array([0.0, 0.8, 1.5])

    @jax.jit
    def draw(key):
        key_weights, key_x = jax.random.split(key)
        weights = jax.random.normal(key_weights, (n, 3))
        layer = pr.Layer(weights, 0.7, 0.5, activation=ACTIVATIONS[name])
        x, _ = layer.generate(key_x, h)
        # The default gain knows this W's norm; the theory's the expected one.
        return layer.readout(x) * (weights**2).mean(), layer.readout_std(x)[0], layer.gain

    keys = jax.random.split(jax.random.key(1), num)
    u, std, gain = (np.asarray(part) for part in jax.vmap(draw)(keys))
    assert np.all(np.abs(u.mean(0) - np.asarray(h)) < 4.5 * u.std(0) / np.sqrt(num))
    np.testing.assert_allclose(gain.mean(), 2 / ((1 + slope) * 0.7 * n), rtol=0.02)
    energy = float((h**2).sum())
    expected = pr.Layer(np.ones((n, 3)), 0.7, 0.5, activation=ACTIVATIONS[name])
    expected = expected.prior_readout_std(energy)
    np.testing.assert_allclose(np.sqrt((std**2).mean()), expected, rtol=0.05)


def test_a_gain_that_is_derived_follows_and_one_that_is_given_stays():
    weights = np.random.default_rng(0).normal(size=(8, 3))
    derived, given = pr.Layer(weights, 0.5), pr.Layer(weights, 0.5, gain=0.7)
    for changes in ({"keep_prob": 1.0}, {"weights": 2 * weights}, {"activation": "identity"}):
        arguments = {"weights": weights, "keep_prob": 0.5} | changes
        assert float(replace(derived, **changes).gain) == float(pr.Layer(**arguments).gain)
        assert float(replace(given, **changes).gain) == 0.7
    assert float(replace(derived, gain=0.2).gain) == float(replace(given, gain=0.2).gain) == 0.2
    again = replace(replace(derived, gain=0.2), keep_prob=1.0)
    assert float(again.gain) == 0.2


@pytest.mark.slow
@some
@pytest.mark.parametrize("keep_prob", [0.6, pytest.param(1.0, marks=pytest.mark.slow)])
def test_likelihoods_of_a_layer_with_bias_are_the_law_written_down(name, keep_prob):
    """Pair by pair and in the table."""
    rng = np.random.default_rng(2)
    weights, bias = rng.normal(0.3, 1, (9, 3)), rng.normal(size=9)
    unit = Plain(0.7, keep_prob, 1.7)
    layer = pr.Layer(weights, keep_prob, 0.7, 1.7, ACTIVATIONS[name], bias)
    h = rng.exponential(size=(5, 3)) * (rng.uniform(size=(5, 3)) < 0.6)
    z = h @ weights.T + bias
    x = simulate(rng, name, z[:4], unit)
    expected = np.log(likelihood(name, x[None], z[:, None], unit)).sum(-1)
    found = layer.log_likelihood(h[:, None], x[None])
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    np.testing.assert_allclose(layer.log_likelihood_table(h, x), expected, rtol=1e-10)
    quick = layer.log_likelihood_quick(h[:, None], x[None])
    np.testing.assert_allclose(quick, expected, rtol=1e-10)
    table = tabulate_silence(layer.keep_prob)
    by_table = layer.log_likelihood_quick(h[:, None], x[None], table)
    np.testing.assert_allclose(by_table, expected, rtol=1e-7)
    step = 1e-5

    def near(gap):
        return np.log(likelihood(name, x[None], z[:, None] + gap, unit))

    slope = (near(step) - near(-step)) / (2 * step)
    for some_table in (None, table):
        score = layer.score(x[None], jnp.asarray(z)[:, None], some_table)
        np.testing.assert_allclose(score, slope, rtol=1e-5, atol=1e-5)


# What is refused


def test_x_that_was_rounded_off_a_flat_is_refused_and_one_that_was_not_is_not():
    layer = pr.Layer(np.ones((40, 2)), 0.9, 0.7, 1.7, pr.ClippedRelu(1.3))
    model = pr.LayeredModel(pr.SpikeAndSlab(2, 0.5, pr.FiniteSlab([2.0], [1.0])), [layer])
    obs = model.simulate(jax.random.key(0), 4)
    model.check(obs)
    rounded = np.asarray(obs.x).astype(np.float32).astype(float)
    assert (rounded != np.asarray(obs.x)).any()
    below = np.where(rounded >= 1.7 * 1.3, 1.7 * 1.3 * (1 - 1e-8), rounded)
    with pytest.raises(ValueError, match=r"values within 1e-06 of 2.21, .*kept in float32\?"):
        pr.exact(model, pr.Observations(below))
    mended = np.where(np.isclose(below, 2.21), 1.7 * 1.3, below)
    model.check(pr.Observations(mended))
    one = np.array(obs.x)
    one[0, 0] = 1.7 * 1.3 * (1 - 1e-8)  # by chance
    model.check(pr.Observations(one))


class Late(pr.ClippedRelu):
    """Its top is not where it says, far from 0."""

    def __call__(self, z):
        return jnp.clip(z, 0.0, 6.1)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: pr.LeakyRelu(0.0), r"slope of LeakyRelu must lie in \(0, 1\).*got 0.0"),
        (lambda: pr.LeakyRelu(-0.1), r"slope of LeakyRelu must lie in \(0, 1\).*got -0.1"),
        (lambda: pr.ClippedRelu(0.0), "top of ClippedRelu must be positive and finite; got 0.0"),
        (lambda: pr.ClippedRelu(np.inf), "top of ClippedRelu must be positive and finite; got inf"),
        (
            lambda: pr.Layer(np.ones((3, 2)), activation=pr.Relu),
            "or an Activation such as .*got <class",
        ),
        (
            lambda: pr.Layer(np.ones((3, 2)), activation="threshold"),
            "gain has no default under activation threshold.*give one",
        ),
        (
            lambda: pr.Layer(np.ones((3, 2)), bias=np.ones(2)),
            r"bias must have shape \(n_visible,\) = \(3,\); got shape \(2,\)",
        ),
        (
            lambda: pr.Layer(np.ones((3, 2)), bias=[0.0, np.nan, 1.0]),
            "bias must be finite; got NaN or infinity",
        ),
        (
            lambda: pr.Layer(np.ones((3, 2)), gain=1.0, activation="threshold").readout_scale,
            "no multiple of W.T x is unbiased for every h in a layer with activation threshold",
        ),
    ],
)
def test_refusals(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(("name", "value"), [("clipped", 2.0), ("threshold", 0.5), ("tanh", -1.0)])
def test_a_model_refuses_x_that_its_activation_cannot_make(name, value):
    layer = pr.Layer(np.ones((4, 2)), 0.5, 0.7, 1.0, ACTIVATIONS[name])
    model = pr.LayeredModel(pr.SpikeAndSlab(2, 0.5, pr.FiniteSlab([1.0], [1.0])), [layer])
    x = np.zeros((2, 4))
    x[1, 2] = value
    with pytest.raises(ValueError, match=f"observation 1 has x_2 = {value:g},.*probability 0"):
        pr.exact(model, pr.Observations(x))


class Wrong(pr.Relu):
    """Leaks, and says nothing of it."""

    def __call__(self, z):
        return jnp.where(z > 0, z, 0.2 * z)


class Flatless(pr.ClippedRelu):
    """Forgets its flat at the top."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "flats", self.flats[:1])


class Steeper(pr.Identity):
    """Twice the pre-activation, whose inverse is changed too, but not all that follows."""

    def __call__(self, z):
        return 2 * z

    def inverse(self, y):
        return y / 2


class Named(pr.LeakyRelu):
    """Says that it is ReLU."""

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "negative_slope", 0.0)

    def __call__(self, z):
        return jnp.where(z > 0, z, 0.2 * z)

    def inverse(self, y):
        return jnp.where(y > 0, y, y / 0.2)

    def log_inverse_slope(self, y):
        return jnp.where(y > 0, 0.0, -np.log(0.2))


@dataclass(frozen=True)
class Unhashable(pr.ClippedRelu):
    """One of its fields is an array."""

    knots: np.ndarray = field(default_factory=lambda: np.zeros(2))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Unhashable(1.0), "activation Unhashable must be hashable.*frozen dataclass"),
        (Wrong, r"relu must be 0 on Flat.* and nowhere else: it does not at z = -3"),
        (lambda: Flatless(1.3), r"top=1.3\) must have values in `stretches` off flats"),
        (lambda: Late(6.0), r"top=6\) must be 6 on Flat.*it does not at z = 6.01"),
        (Steeper, "identity must have the log derivative of `inverse` as `log_inverse_slope`"),
        (lambda: Named(0.2), "must be z above 0 and `negative_slope` z below"),
        (
            lambda: pr.Increasing(jnp.tanh, jnp.arcsinh, jnp.zeros_like, name="mine"),
            "activation mine must have `inverse` undo it off flats: it does not at z = -3",
        ),
        (
            lambda: pr.Increasing(jnp.tanh, jnp.arctanh, jnp.zeros_like, name="mine"),
            "activation mine must have the log derivative of `inverse`",
        ),
        (
            lambda: pr.Increasing(jnp.cos, jnp.arccos, jnp.zeros_like, name="mine"),
            "activation mine must be nondecreasing: it does not at z = 0",
        ),
        (
            lambda: pr.Increasing(jnp.tanh, jnp.arctanh, jnp.zeros_like, high=0.5, name="mine"),
            "activation mine must have values in `stretches` off flats: it does not at z = 0.55",
        ),
    ],
)
def test_an_activation_that_contradicts_itself_is_refused(make, match):
    with pytest.raises(ValueError, match=match):
        pr.Layer(np.ones((3, 2)), 0.5, 0.7, 1.0, make())
