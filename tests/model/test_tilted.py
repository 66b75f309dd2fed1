"""The scalar primitive against composite Gauss-Legendre quadrature written in NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.stats
from scipy.integrate import quad
from scipy.special import expit

import probrev.model.tilted as library
from probrev.model.slabs import FiniteSlab, LogQuadraticSlab, canonical_slab
from probrev.model.tilted import slab_moments
from probrev.numerics.quadrature import integrate_and_invert

LOGIT = -1.3
VALUES, PROBS = np.array([0.3, 0.9, 2.2]), np.array([0.5, 0.2, 0.3])

CLOSED_FORMS: dict[str, tuple[Any, Any]] = {
    "half_normal": (dist.HalfNormal(0.7), scipy.stats.halfnorm(scale=0.7)),
    "exponential": (dist.Exponential(1.7), scipy.stats.expon(scale=1 / 1.7)),
    "truncated": (
        dist.TruncatedNormal(-0.8, 0.6, low=0.0),
        scipy.stats.truncnorm(0.8 / 0.6, np.inf, -0.8, 0.6),
    ),
    "truncated_right": (
        dist.TruncatedNormal(1.4, 0.5, low=0.0),
        scipy.stats.truncnorm(-1.4 / 0.5, np.inf, 1.4, 0.5),
    ),
}
BY_QUADRATURE: dict[str, tuple[Any, Any]] = {
    "gamma_half": (dist.Gamma(0.5, 1.0), scipy.stats.gamma(0.5)),
    "gamma": (dist.Gamma(3.0, 2.0), scipy.stats.gamma(3.0, scale=0.5)),
    "half_cauchy": (dist.HalfCauchy(1.0), scipy.stats.halfcauchy()),
    "log_normal": (dist.LogNormal(0.3, 0.5), scipy.stats.lognorm(0.5, scale=np.exp(0.3))),
    "narrow": (dist.LogNormal(0.3, 0.005), scipy.stats.lognorm(0.005, scale=np.exp(0.3))),
    "weibull": (dist.Weibull(1.3, 1.7), scipy.stats.weibull_min(1.7, scale=1.3)),
}
STDS = [1e-3, 0.1, 1.0, 30.0, 1e3]
GRID = [(r, s) for s in STDS for r in (-30 * s, -3 * s, 0.4 * s, 2 * s, 30 * s, 0.9, 30.0)]


def tilted(logit, slab, r, v):
    """Call the library compiled, with a concrete slab: op by op these tests are slower."""
    slab = canonical_slab(slab)
    return jax.jit(lambda *arguments: library.tilted(arguments[0], slab, *arguments[1:]))(
        logit, r, v
    )


def sample_tilted(key, logit, slab, r, v):
    """As `tilted`."""
    slab = canonical_slab(slab)
    draw = jax.jit(lambda key, logit, r, v: library.sample_tilted(key, logit, slab, r, v))
    return draw(key, logit, r, v)


def _tilted_slab(logpdf, r, std):
    """Log integral of slab(h) exp(-(h-r+)^2/2v - r- h/v), mean and variance, r+- the parts of r.

    On the line u = log h; the range is where the integrand exceeds e^-50 of its maximum on a dense
    grid, cut into 400 panels of 30 Gauss-Legendre nodes with edges at quantiles of that grid.
    """
    above, below = max(r, 0.0), max(-r, 0.0)

    def log_integrand(u):
        h = np.exp(u)
        with np.errstate(all="ignore"):
            return logpdf(h) + u - (0.5 * (h - above) ** 2 + below * h) / std**2

    around = np.log(np.maximum(above + std * np.linspace(-12, 12, 2001), 1e-300))
    grid = np.unique(np.concatenate([np.linspace(-120, 40, 40_001), around]))
    log_value = np.nan_to_num(log_integrand(grid), nan=-np.inf, posinf=-np.inf)
    inside = grid[log_value > log_value.max() - 50]
    edges = np.unique(
        np.quantile(
            np.append(inside, [inside[0] - 0.01, inside[-1] + 0.01]), np.linspace(0, 1, 401)
        )
    )
    nodes, weights = np.polynomial.legendre.leggauss(30)
    half = 0.5 * np.diff(edges)[:, None]
    u = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * nodes
    density = half * weights * np.exp(log_integrand(u) - log_value.max())
    mean = (density * np.exp(u)).sum() / density.sum()
    var = (density * (np.exp(u) - mean) ** 2).sum() / density.sum()
    return np.log(density.sum()) + log_value.max(), mean, var


def _reference(logpdf, logit, r, std):
    """Log evidence, mean, variance and inclusion probability."""
    log_shape, mean, var = _tilted_slab(logpdf, r, std)
    above, below = max(r, 0.0) / std, max(-r, 0.0) / std
    prob = expit(logit + log_shape + 0.5 * above**2)
    rest = expit(-(logit + log_shape + 0.5 * above**2))
    log_terms = (
        -np.logaddexp(0, logit) - 0.5 * (r / std) ** 2,
        -np.logaddexp(0, -logit) + log_shape - 0.5 * below**2,
    )
    evidence = np.logaddexp(*log_terms) - 0.5 * np.log(2 * np.pi) - np.log(std)
    return evidence, prob * mean, prob * (var + rest * mean**2), prob


def _assert_matches_reference(slab, law, rtol):
    r, std = np.array(GRID).T
    ours = np.array(tilted(LOGIT, slab, r, std**2))
    expected = np.array([_reference(law.logpdf, LOGIT, *point) for point in GRID]).T
    np.testing.assert_allclose(ours, expected, rtol=rtol, atol=1e-290)


def test_reference_agrees_with_scipy_quad():
    law, r, std = BY_QUADRATURE["gamma"][1], 0.9, 0.4

    def integral(power):
        def integrand(h):
            return h**power * law.pdf(h) * scipy.stats.norm.pdf(h, r, std)

        return quad(integrand, 0, 6, epsrel=1e-12)[0]

    log_shape, mean, var = _tilted_slab(law.logpdf, r, std)
    np.testing.assert_allclose(
        np.exp(log_shape) / (std * np.sqrt(2 * np.pi)), integral(0), rtol=1e-10
    )
    np.testing.assert_allclose(mean, integral(1) / integral(0), rtol=1e-10)
    np.testing.assert_allclose(var, integral(2) / integral(0) - mean**2, rtol=1e-9)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms_match_quadrature(name):
    _assert_matches_reference(*CLOSED_FORMS[name], rtol=1e-9)


@pytest.mark.parametrize(
    "name",
    [
        "gamma_half",
        "half_cauchy",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("gamma", "log_normal", "narrow", "weibull")
        ),
    ],
)
def test_any_other_slab_matches_quadrature(name):
    _assert_matches_reference(*BY_QUADRATURE[name], rtol=1e-8)


def _half_normal_logpdf(h):
    return 0.5 * np.log(2 / np.pi) - np.log(0.7) - 0.5 * (h / 0.7) ** 2


@pytest.mark.parametrize("t", [-50.0, -20.0, -4.1, -3.9, 0.6, 8.0, 50.0])
def test_truncated_normal_is_accurate_out_to_fifty(t):
    """A half-normal slab of scale 0.7 through v = 0.09 is a normal of t standard deviations."""
    std = 0.3
    r = t * std**2 * np.sqrt(1 / 0.7**2 + 1 / std**2)
    ours = tilted(0.4, dist.HalfNormal(0.7), r, std**2)
    expected = _reference(_half_normal_logpdf, 0.4, r, std)
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


@pytest.mark.parametrize("r", [-3.0, 0.7, 1.6, 40.0])
def test_finite_slab_matches_direct_sum(r):
    v = 0.31
    ours = tilted(LOGIT, FiniteSlab(VALUES, PROBS), r, v)
    support = np.append(0.0, VALUES)
    prior = np.append(expit(-LOGIT), expit(LOGIT) * PROBS)
    log_joint = np.log(prior) + scipy.stats.norm.logpdf(support, r, np.sqrt(v))
    evidence = np.logaddexp.reduce(log_joint)
    posterior = np.exp(log_joint - evidence)
    mean = posterior @ support
    expected = evidence, mean, posterior @ (support - mean) ** 2, posterior[1:].sum()
    np.testing.assert_allclose(ours, expected, rtol=1e-11)


ALL: dict[str, tuple[Any, Any]] = {
    **CLOSED_FORMS,
    **BY_QUADRATURE,
    "finite": (FiniteSlab(VALUES, PROBS), None),
}
WITH_SLOW_QUADRATURE = ["half_normal", "finite", pytest.param("gamma", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", WITH_SLOW_QUADRATURE)
def test_certain_spike_and_certain_slab(name):
    logits = jnp.array([-jnp.inf, jnp.inf, 36.0])
    ours = np.array(tilted(logits, ALL[name][0], 0.8, 0.3)).T
    no_slab = [scipy.stats.norm.logpdf(0, 0.8, np.sqrt(0.3)), 0.0, 0.0, 0.0]
    np.testing.assert_allclose(ours[0], no_slab, rtol=1e-13)
    np.testing.assert_allclose(ours[1], ours[2], rtol=1e-12)
    assert ours[1, 3] == 1
    draws = sample_tilted(jax.random.key(0), logits[:2], ALL[name][0], 0.8, 0.3)
    assert draws[0] == 0
    assert draws[1] > 0


@pytest.mark.parametrize("name", WITH_SLOW_QUADRATURE)
@pytest.mark.parametrize("logit", [-1.5, 1.0])
def test_markov_step_balances_and_draws_the_value_anew(name, logit):
    """All uniforms on a fine grid: shares are probabilities, means are expectations."""
    slab, r, v, size = canonical_slab(ALL[name][0]), 0.4, 0.3, 2000
    u = (jnp.arange(size) + 0.5) / size
    step = jax.jit(
        lambda was_active: library.invert_tilted(
            u, logit, slab, jnp.full(size, r), jnp.full(size, v), jnp.full(size, was_active)
        )
    )
    law = tilted(logit, slab, r, v)
    prob = float(law.inclusion_prob)
    from_off, from_on = np.asarray(step(False)), np.asarray(step(True))
    up, down = (from_off > 0).mean(), (from_on == 0).mean()
    np.testing.assert_allclose(up, min(1, prob / (1 - prob)), atol=2 / size)
    np.testing.assert_allclose((1 - prob) * up, prob * down, atol=2 / size)
    for draws in (from_off, from_on):
        if (draws > 0).any():
            np.testing.assert_allclose(draws[draws > 0].mean(), law.mean / prob, rtol=0.01)


@pytest.mark.parametrize("name", ["half_normal", "exponential", "truncated", "gamma", "finite"])
def test_no_information_returns_the_prior(name):
    slab = ALL[name][0]
    prob = expit(LOGIT)
    mean, second = slab_moments(canonical_slab(slab))
    ours = tilted(LOGIT, slab, jnp.nan, jnp.inf)
    assert ours.log_evidence == -jnp.inf
    np.testing.assert_allclose(ours.inclusion_prob, prob, rtol=1e-8)
    np.testing.assert_allclose(ours.mean, prob * mean, rtol=1e-8)
    np.testing.assert_allclose(ours.var, prob * second - (prob * mean) ** 2, rtol=1e-8)
    law = ALL[name][1]
    if law is not None:
        np.testing.assert_allclose([mean, second], [law.mean(), law.moment(2)], rtol=1e-9)


def test_half_cauchy_keeps_its_inclusion_prob_without_information():
    ours = tilted(LOGIT, dist.HalfCauchy(0.8), 0.0, jnp.inf)
    np.testing.assert_allclose(ours.inclusion_prob, expit(LOGIT), rtol=1e-8)
    assert not np.isfinite(ours.mean)


@pytest.mark.slow
def test_moments_without_own_formula_come_from_quadrature():
    slab = dist.LeftTruncatedDistribution(dist.Laplace(0.4, 0.7), 0.0)
    weights = quad(lambda h: h * np.exp(-abs(h - 0.4) / 0.7), 0, 30, points=[0.4])[0]
    total = quad(lambda h: np.exp(-abs(h - 0.4) / 0.7), 0, 30, points=[0.4])[0]
    np.testing.assert_allclose(slab_moments(canonical_slab(slab))[0], weights / total, rtol=1e-4)


@pytest.mark.parametrize("name", ["truncated_right", "gamma_half", "finite"])
def test_score_identity(name):
    """d log_evidence / dr = (mean - r) / v, and the second derivative gives the variance."""
    v, step = 0.21, 1e-3
    r = 0.37 + step * np.arange(-1, 2)
    ours = tilted(LOGIT, ALL[name][0], r, v)
    slope = (ours.log_evidence[2] - ours.log_evidence[0]) / (2 * step)
    np.testing.assert_allclose(slope, (ours.mean[1] - r[1]) / v, rtol=2e-5)
    np.testing.assert_allclose(
        (ours.mean[2] - ours.mean[0]) / (2 * step), ours.var[1] / v, rtol=2e-5
    )


def test_unnormalised_log_quadratic_slab_trades_against_the_logit():
    """The conditional prior of an intermediate unit: density rho N(h; m, s^2) on h > 0."""
    rho, loc, scale, spike = 0.35, -0.6, 0.5, 0.83
    precision = 1 / scale**2
    log_density = np.log(rho) + scipy.stats.norm.logpdf(0, loc, scale)
    raw = LogQuadraticSlab(
        jnp.asarray(log_density), jnp.asarray(loc * precision), jnp.asarray(precision)
    )
    mass = rho * scipy.stats.norm.cdf(loc / scale)
    normalised = dist.TruncatedNormal(loc, scale, low=0.0)
    ours = tilted(-np.log(spike), raw, 0.4, 0.3)
    expected = tilted(np.log(mass / spike), normalised, 0.4, 0.3)
    np.testing.assert_allclose(ours[1:], expected[1:], rtol=1e-12)


@pytest.mark.slow
def test_slabs_per_unit_broadcast_along_the_last_axis():
    r, v = np.array([[0.4, -0.2, 1.1], [2.0, 0.3, -1.0]]), np.array([[0.3], [0.7]])
    scales = np.array([0.5, 1.2, 2.0])
    values = VALUES * scales[:, None]
    for slab, one in (
        (dist.HalfNormal(scales), lambda i: dist.HalfNormal(scales[i])),
        (FiniteSlab(values, PROBS), lambda i: FiniteSlab(values[i], PROBS)),
    ):
        ours = tilted(LOGIT, slab, r, v)
        expected = tilted(LOGIT, one(1), r[:, 1], v[:, 0])
        np.testing.assert_allclose(np.array(ours)[..., 1], expected, rtol=1e-12)
        assert sample_tilted(jax.random.key(0), LOGIT, slab, r, v).shape == (2, 3)
        assert tilted(LOGIT, slab, 0.3, 0.5).mean.shape == (3,)
        mapped = jax.vmap(lambda row, var, s=slab: tilted(LOGIT, s, row, var).mean)(r, v[:, 0])
        np.testing.assert_allclose(mapped, ours.mean, rtol=1e-12)


def test_quadrature_is_safe_under_jit_and_vmap():
    r, v = jnp.array([[0.4, -0.2], [2.0, 0.3]]), 0.3
    slab = dist.Gamma(2.0, 1.5)
    expected = tilted(LOGIT, slab, r, v)

    def of_traced_slab(rate, x):
        return library.tilted(LOGIT, dist.Gamma(2.0, rate), x, v)

    mapped = jax.jit(jax.vmap(jax.vmap(of_traced_slab, (None, 0)), (None, 0)))(1.5, r)
    np.testing.assert_allclose(mapped, expected, rtol=1e-12)


def test_bounded_slab_matches_quadrature():
    slab, r, std = dist.Uniform(0.5, 2.0), 1.8, 0.4
    total, first = (
        quad(lambda h, k=k: h**k * np.exp(-0.5 * ((h - r) / std) ** 2) / 1.5, 0.5, 2.0)[0]
        for k in (0, 1)
    )
    ours = tilted(jnp.inf, slab, r, std**2)
    np.testing.assert_allclose(ours.mean, first / total, rtol=1e-8)
    density = total / (std * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(ours.log_evidence, np.log(density), rtol=1e-8)


DRAWS = [
    ("half_normal", 0.5, 0.3, 100_000),
    ("exponential", -4.0, 0.2, 100_000),
    ("truncated", 0.3, 0.5, 100_000),
    ("truncated_right", 0.3, 5.0, 100_000),
    pytest.param("half_cauchy", 2.0, 1.0, 100_000, marks=pytest.mark.slow),
    pytest.param("gamma_half", 0.2, 0.5, 100_000, marks=pytest.mark.slow),
    pytest.param("log_normal", -1.0, 0.8, 100_000, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "r", "std", "size"), DRAWS)
def test_draws_have_the_tilted_law(name, r, std, size):
    slab, law = ALL[name]
    draws = np.asarray(sample_tilted(jax.random.key(8), 1.1, slab, jnp.full(size, r), std**2))
    _, mean, var, prob = _reference(law.logpdf, 1.1, r, std)
    active = draws[draws > 0]
    assert abs(active.size / size - prob) <= 4.5 * np.sqrt(prob * (1 - prob) / size)
    assert abs(draws.mean() - mean) <= 4.5 * np.sqrt(var / size)
    whole = _tilted_slab(law.logpdf, r, std)[0]
    shares = np.linspace(0.1, 0.9, 9)
    for share, cut in zip(shares, np.quantile(active, shares), strict=True):
        below = _tilted_slab(lambda h, cut=cut: np.where(h <= cut, law.logpdf(h), -np.inf), r, std)
        # the 1e-3 quantile of Kolmogorov's distance, and the oracle's error at its cut
        assert abs(share - np.exp(below[0] - whole)) <= 1.95 / np.sqrt(active.size) + 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gamma_half", "half_cauchy"])
def test_quadrature_inverts_the_distribution_function(name):
    slab, law = BY_QUADRATURE[name]
    u = np.linspace(0.001, 0.999, 300)
    zero = jnp.zeros(u.shape)
    log_integral, quantiles = integrate_and_invert(
        slab, lambda *element: element[-1], zero, zero, jnp.asarray(u)
    )
    np.testing.assert_allclose(law.cdf(quantiles), u, atol=1e-5)
    np.testing.assert_allclose(log_integral, 0.0, atol=1e-8)


def test_finite_draws_have_the_tilted_law():
    slab = FiniteSlab(VALUES, [0.5, 0.0, 0.5])
    draws = np.asarray(sample_tilted(jax.random.key(3), 0.4, slab, jnp.full(100_000, 0.9), 0.5))
    weights = np.append(expit(-0.4), expit(0.4) * np.array([0.5, 0.0, 0.5]))
    weights *= np.exp(-0.5 * (np.append(0.0, VALUES) - 0.9) ** 2 / 0.5)
    weights /= weights.sum()
    frequency = (draws[:, None] == np.append(0.0, VALUES)).mean(0)
    assert frequency[2] == 0
    assert np.all(
        np.abs(frequency - weights) <= 4.5 * np.sqrt(weights * (1 - weights) / draws.size)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_SLOW_QUADRATURE)
def test_float32_is_close(name):
    r = np.array([-60.0, -3.0, 0.4, 2.0, 40.0])
    slab = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), ALL[name][0])
    exact = tilted(LOGIT, ALL[name][0], r, 0.5)
    single = tilted(jnp.float32(LOGIT), slab, r.astype(np.float32), jnp.float32(0.5))
    for ours, expected in zip(single, exact, strict=True):
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, expected, rtol=2e-3, atol=1e-7)
    draws = sample_tilted(
        jax.random.key(0),
        jnp.float32(3.0),
        slab,
        jnp.repeat(r.astype(np.float32), 2_000),
        jnp.float32(0.5),
    )
    assert np.all(np.isfinite(draws) & (np.asarray(draws) >= 0))


def test_slab_outside_the_positive_line_is_refused():
    with pytest.raises(ValueError, match="slab Normal has support"):
        tilted(LOGIT, dist.Normal(0.0, 1.0), 0.3, 0.5)
    with pytest.raises(ValueError, match="slab Gamma has batch_shape"):
        sample_tilted(jax.random.key(0), LOGIT, dist.Gamma(jnp.ones(2), 1.0), 0.3, 0.5)
