"""The laws of one unit against quadrature, their definition and NumPyro's handling."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.integrate import quad

from probrev.model.activations import Identity, Relu
from probrev.model.distributions import LayerUnit
from probrev.model.silence import (
    log_silence_prob,
    look_up_slope,
    sum_log_silence_prob,
    tabulate_silence,
)

rectified_unit, linear_unit = partial(LayerUnit, Relu()), partial(LayerUnit, Identity())

CASES = [(0.4, 0.7, 0.3, 1.6), (-1.3, 0.5, 0.8, 0.4), (2.1, 1.4, 1.0, 2.5), (-0.6, 0.9, 0.0, 0.7)]


def _rectified_moment(case, power):
    """E[x^power] by quadrature over the noise."""
    z, noise_std, keep_prob, gain = case

    def integrand(eps):
        return (gain * max(z + noise_std * eps, 0.0)) ** power * scipy.stats.norm.pdf(eps)

    kink = -z / noise_std
    return keep_prob * quad(integrand, kink, kink + 25.0, epsabs=1e-14, limit=200)[0]


@pytest.mark.parametrize("case", CASES)
def test_rectified_density_matches_definition(case):
    z, noise_std, keep_prob, gain = case
    law = rectified_unit(*case)
    x = np.array([0.3, 1.7, 4.0])
    density = keep_prob * scipy.stats.norm.pdf(x, gain * z, gain * noise_std)
    mass = 1 - keep_prob + keep_prob * scipy.stats.norm.cdf(0.0, z, noise_std)
    np.testing.assert_allclose(jnp.exp(law.log_prob(x)), density, rtol=1e-13)
    np.testing.assert_allclose(jnp.exp(law.log_prob(0.0)), mass, rtol=1e-13)
    total = mass + quad(lambda v: float(jnp.exp(law.log_prob(v))), 1e-300, gain * (abs(z) + 12))[0]
    np.testing.assert_allclose(total, 1.0, rtol=1e-8)


def test_negative_value_is_impossible():
    law = rectified_unit(0.4, 0.7, 0.3, 1.6)
    with pytest.warns(UserWarning, match="Out-of-support"):
        assert law.log_prob(-0.1) == -jnp.inf
    assert law.support(jnp.array([0.0, 2.0])).all()


@pytest.mark.parametrize("case", CASES)
def test_rectified_moments_match_quadrature(case):
    law = rectified_unit(*case)
    mean, second = _rectified_moment(case, 1), _rectified_moment(case, 2)
    np.testing.assert_allclose(law.mean, mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(law.variance, second - mean**2, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("law_type", [rectified_unit, linear_unit])
@pytest.mark.parametrize("case", CASES)
def test_sample_moments_match(law_type, case):
    law = law_type(*case)
    draws = np.asarray(law.sample(jax.random.key(1), (200_000,)))
    error = 4.5 * np.sqrt(law.variance / draws.size)
    np.testing.assert_allclose(draws.mean(), law.mean, atol=error + 1e-12)
    square_error = 4.5 * np.std((draws - law.mean) ** 2) / np.sqrt(draws.size)
    np.testing.assert_allclose(draws.var(), law.variance, atol=square_error + 1e-12)


def test_zero_noise_is_the_deterministic_rectifier():
    z = jnp.array([-1.2, 0.0, 0.7])
    law = rectified_unit(z, 0.0, 0.4, 1.5)
    np.testing.assert_allclose(law.mean, [0.0, 0.0, 0.4 * 1.05])
    np.testing.assert_allclose(law.variance, [0.0, 0.0, 0.4 * 0.6 * 1.05**2])
    draws = np.asarray(law.sample(jax.random.key(0), (64,)))
    assert set(np.unique(draws).round(12)) == {0.0, 1.05}


@pytest.mark.parametrize("dtype", [pytest.param(jnp.float32, marks=pytest.mark.slow), jnp.float64])
def test_value_and_gradients_are_finite_far_out(dtype):
    z = 0.7 * np.array([-40.0, -13.0, -1.0, 0.0, 2.0, 14.0, 40.0])
    grid = np.array([(x, m, k) for x in (0.0, 0.8) for m in z for k in (0.0, 0.35, 1.0)], dtype).T

    def log_prob(x, z, noise_std, gain, keep_prob):
        return rectified_unit(z, noise_std, keep_prob, gain).log_prob(x)

    gradient = jax.value_and_grad(log_prob, argnums=(0, 1, 2, 3))
    constants = np.full((2, grid.shape[1]), [[0.7], [1.6]], dtype)
    arguments = grid[0], grid[1], *constants, grid[2]
    values, gradients = jax.jit(jax.vmap(gradient))(*arguments)
    impossible = (grid[0] > 0) & (grid[2] == 0)
    assert values.dtype == dtype
    assert np.all(values[impossible] == -np.inf)
    assert np.all(np.isfinite(values[~impossible]))
    assert np.all(np.isfinite(gradients))
    eager = gradient(*(a[-1] for a in arguments))
    np.testing.assert_allclose(np.array(gradients)[:, -1], eager[1], rtol=2e-5)
    if dtype == jnp.float32:
        exact = jax.jit(jax.vmap(gradient))(*(np.asarray(a, np.float64) for a in arguments))[1]
        np.testing.assert_allclose(gradients, exact, rtol=1e-3, atol=1e-5)


def test_gradient_of_the_silent_mass_matches_its_closed_form():
    z, noise_std, keep_prob = jnp.array([-9.0, -0.4, 1.1, 30.0]), 0.8, 0.65
    gradient = jax.grad(lambda z: rectified_unit(z, noise_std, keep_prob).log_prob(0.0 * z).sum())
    t = np.asarray(z) / noise_std
    silent = 1 - keep_prob + keep_prob * scipy.stats.norm.cdf(-t)
    expected = -keep_prob * scipy.stats.norm.pdf(t) / (noise_std * silent)
    np.testing.assert_allclose(gradient(z), expected, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("keep_prob", [0.0, 0.35, 1.0])
@pytest.mark.parametrize("furthest", [5.0, 60.0])
def test_silence_prob_equals_the_log_mass_in_every_branch(keep_prob, furthest):
    t = np.array([-40.0, -0.7, 0.3, furthest])
    ours = jax.jit(log_silence_prob)(jnp.asarray(t), keep_prob)
    with np.errstate(divide="ignore"):
        expected = np.logaddexp(
            np.log(1 - keep_prob), np.log(keep_prob) + scipy.stats.norm.logcdf(-t)
        )
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("keep_prob", [0.35, 1.0 - 2**-50, 1.0])
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_sum_over_silent_rows(keep_prob, dtype):
    """Far beyond where one row's mass underflows, and no multiple of a group's size."""
    rng = np.random.default_rng(0)
    t = np.concatenate([rng.normal(0, 3, (3, 20)), np.full((3, 10), 45.0)], 1).astype(dtype)
    is_on = rng.uniform(size=(1, 30)) < 0.7
    ours = jax.jit(sum_log_silence_prob)(jnp.asarray(t), dtype(keep_prob), is_on)
    assert ours.dtype == dtype
    rho = float(dtype(keep_prob))
    with np.errstate(divide="ignore"):
        log_kept = np.log(rho) + scipy.stats.norm.logcdf(-t.astype(float))
        expected = np.where(is_on, np.logaddexp(np.log1p(-rho), log_kept), 0.0).sum(1)
    np.testing.assert_allclose(ours, expected, rtol=1e-12 if dtype == jnp.float64 else 1e-5)


@pytest.mark.parametrize("keep_prob", [0.0, 1e-9, 0.35, 0.97, 1.0 - 2**-20, 1.0 - 2**-50, 1.0])
@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_sum_over_silent_rows_by_table(keep_prob, dtype):
    """Off by little for each row wherever it lies; without dropout the table does not serve."""
    rho = float(dtype(keep_prob))
    table = jax.jit(tabulate_silence)(dtype(keep_prob))
    assert table.is_near == (rho < 1)
    t = np.concatenate([np.linspace(-10, 13, 20_001), [-1e9, -40.0, 40.0, 1e9]]).astype(dtype)
    is_on = np.ones((1,), bool)
    by_row = jax.jit(jax.vmap(sum_log_silence_prob, in_axes=(0, None, None, None)))
    ours = by_row(jnp.asarray(t[:, None]), dtype(keep_prob), is_on, table)
    assert ours.dtype == dtype
    with np.errstate(divide="ignore"):
        log_kept = np.log(rho) + scipy.stats.norm.logcdf(-t.astype(float))
        expected = np.logaddexp(np.log1p(-rho), log_kept)
    error = np.abs(ours - expected) / np.maximum(1.0, -expected)
    assert error.max() < (1e-8 if dtype == jnp.float64 else 5e-6)
    if rho < 1:
        hazard = rho * np.exp(scipy.stats.norm.logpdf(t.astype(float)) - expected)
        found = jax.jit(look_up_slope)(table, jnp.asarray(t))
        assert found.dtype == dtype
        assert np.abs(found + hazard).max() < (2e-5 if dtype == jnp.float64 else 1e-3)
    none = sum_log_silence_prob(jnp.asarray(t), dtype(keep_prob), ~is_on, table)
    assert none == 0
    nan = sum_log_silence_prob(jnp.full(3, jnp.nan, dtype), dtype(keep_prob), is_on, table)
    assert jnp.isnan(nan)


@pytest.mark.slow
@pytest.mark.parametrize("law_type", [rectified_unit, linear_unit])
def test_law_passes_through_jit_and_vmap_as_a_pytree(law_type):
    z, noise_std = jnp.array([[0.4, -0.7, 1.2], [0.1, 0.9, -2.0]]), jnp.array([[0.6], [1.1]])
    x = jnp.array([[0.0, 0.5, 0.2], [0.9, 0.0, 0.4]])
    law = law_type(z, noise_std, 0.35, 1.7)
    expected = law.log_prob(x)
    assert law.batch_shape == (2, 3)
    np.testing.assert_allclose(
        jax.jit(lambda law, x: law.log_prob(x))(law, x), expected, rtol=1e-14
    )
    rows = law_type(
        z, jnp.broadcast_to(noise_std, z.shape), jnp.full(z.shape, 0.35), jnp.full(z.shape, 1.7)
    )
    by_row = jax.jit(jax.vmap(lambda law, x: law.log_prob(x)))(rows, x)
    np.testing.assert_allclose(by_row, expected, rtol=1e-14)
    draw = jax.vmap(lambda law, key: law.sample(key, (5,)))(
        rows, jax.random.split(jax.random.key(0))
    )
    assert draw.shape == (2, 5, 3)
    assert law.to_event(2).log_prob(x).shape == ()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("pre_activation", (np.nan, 0.5, 0.5)),
        ("noise_std", (0.1, -0.5, 0.5)),
        ("keep_prob", (0.1, 0.5, 1.2)),
        ("gain", (0.1, 0.5, 0.5, 0.0)),
    ],
)
@pytest.mark.parametrize("law_type", [rectified_unit, linear_unit])
def test_bad_parameters_are_refused(law_type, name, arguments):
    with pytest.raises(ValueError, match=name):
        law_type(*arguments, validate_args=True)


@pytest.mark.parametrize(("z", "keep_prob"), [(0.5, 0.6), (-0.8, 0.3), (1.9, 1.0)])
def test_latents_of_a_silent_unit_have_the_conditional_law(z, keep_prob):
    noise_std, size = 0.9, 100_000
    law = rectified_unit(jnp.full(size, z), noise_std, keep_prob, 1.6)
    kept, pre_noise = law.sample_latents(jax.random.key(5), jnp.zeros(size))
    below = scipy.stats.norm.cdf(-z / noise_std)
    expected = keep_prob * below / (1 - keep_prob + keep_prob * below)
    np.testing.assert_allclose(
        kept.mean(), expected, atol=4.5 * np.sqrt(expected * (1 - expected) / size) + 1e-12
    )
    zeta = np.asarray(pre_noise)[np.asarray(kept)]
    exact = scipy.stats.truncnorm(-np.inf, -z / noise_std, loc=z, scale=noise_std)
    assert zeta.max() <= 0
    assert scipy.stats.kstest(zeta[:20_000], exact.cdf).pvalue > 1e-3
    np.testing.assert_allclose(zeta.mean(), exact.mean(), atol=4.5 * exact.std() / zeta.size**0.5)


@pytest.mark.slow
def test_latents_of_a_positive_unit_are_determined():
    law = rectified_unit(jnp.array([0.4, -30.0]), 0.7, 0.2, 1.6)
    kept, pre_noise = law.sample_latents(jax.random.key(0), jnp.array([0.8, 3.2]))
    assert np.all(kept)
    np.testing.assert_allclose(pre_noise, [0.5, 2.0])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_latents_stay_exact_in_deep_tails(dtype):
    size, noise_std = 20_000, 0.5
    t = np.array([[40.0], [9.0], [-40.0]], dtype)[:, :, None]
    keep_prob = np.array([0.0, 0.5, 1.0], dtype)[None, :, None]

    @jax.jit
    def draw(key, z, keep_prob):
        law = rectified_unit(z, dtype(noise_std), keep_prob, dtype(1.6))
        return law.sample_latents(key, jnp.zeros((3, 3, size), dtype))

    kept, pre_noise = draw(jax.random.key(7), t * dtype(noise_std), keep_prob)
    assert pre_noise.dtype == dtype
    assert np.all(np.isfinite(pre_noise))
    assert np.all(kept[:, 2])
    assert not np.any(kept[:2, :2])
    assert not np.any(kept[2, 0])
    assert abs(kept[2, 1].mean() - 0.5) < 4.5 * 0.5 / np.sqrt(size)
    for row, bound in enumerate((40.0, 9.0)):
        zeta = np.asarray(pre_noise[row, 2], np.float64)
        assert zeta.max() <= 0
        # E[Z - t | Z > t] = hazard - t, the hazard by its asymptotic series
        mean = -noise_std * (1 / bound - 2 / bound**3 + 10 / bound**5)
        np.testing.assert_allclose(zeta.mean(), mean, rtol=4.5 / np.sqrt(size) + 1e-3)


@pytest.mark.parametrize("case", CASES[:3])
def test_linear_density_matches_definition(case):
    z, noise_std, keep_prob, gain = case
    law = linear_unit(*case)
    x = np.array([-1.3, 0.4, 2.0])
    density = keep_prob * scipy.stats.norm.pdf(x, gain * z, gain * noise_std)
    np.testing.assert_allclose(jnp.exp(law.log_prob(x)), density, rtol=1e-13)
    at_zero = (
        1 - keep_prob if keep_prob < 1 else scipy.stats.norm.pdf(0, gain * z, gain * noise_std)
    )
    np.testing.assert_allclose(jnp.exp(law.log_prob(0.0)), at_zero, rtol=1e-13)


def test_linear_latents_are_determined():
    x = jnp.array([0.0, -0.8])
    kept, pre_noise = linear_unit(0.3, 0.5, 0.6, 1.6).sample_latents(jax.random.key(0), x)
    np.testing.assert_array_equal(kept, [False, True])
    np.testing.assert_allclose(pre_noise, [0.3, -0.5])
    kept, pre_noise = linear_unit(0.3, 0.5, 1.0, 1.6).sample_latents(jax.random.key(0), x)
    assert np.all(kept)
    np.testing.assert_allclose(pre_noise, [0.0, -0.5])


def test_rectified_latents_and_mask_sum_out_to_the_density():
    """Bayes: p(kept | x=0) p(x=0) = keep_prob P(z + noise <= 0), for explicit masks too."""
    z, noise_std, gain = 0.35, 0.8, 1.4
    explicit = [rectified_unit(z, noise_std, float(mask), gain) for mask in (0, 1)]
    for x in (0.0, 0.9):
        by_mask = np.exp([float(law.log_prob(x)) for law in explicit])
        mixed = float(jnp.exp(rectified_unit(z, noise_std, 0.3, gain).log_prob(x)))
        np.testing.assert_allclose(0.7 * by_mask[0] + 0.3 * by_mask[1], mixed, rtol=1e-13)
