"""The standard normal above a bound, against SciPy and long continued fractions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from jax.scipy.special import ndtri

from probrev.numerics import truncated_normal
from probrev.numerics.truncated_normal import (
    excess_moments,
    log_mills,
    log_scaled_ndtr,
    open_uniform,
    upper_tail,
)


def _excess(u, lower):
    """Call the library compiled; each test uses one shape and dtype for all its bounds."""
    bound = jnp.full(u.shape, lower, u.dtype)
    return jax.jit(truncated_normal.excess_from_uniform)(u, bound, upper_tail(bound))


def _moments_by_quadrature(t: float) -> tuple[float, float]:
    """Mean and variance of Z + t given Z + t > 0, by Gauss-Legendre panels."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    top = max(t, 0.0) + 12.0 if t > -2 else 40.0 / -t
    edges = np.linspace(0.0, top, 201)
    half = 0.5 * np.diff(edges)[:, None]
    e = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * nodes
    density = half * weights * np.exp(-0.5 * e * e + t * e - 0.5 * max(t, 0.0) ** 2)
    mean = np.sum(density * e) / density.sum()
    return mean, np.sum(density * (e - mean) ** 2) / density.sum()


@pytest.mark.parametrize("t", [-1e4, -50.0, -8.0, -4.001, -3.999, -1.3, 0.0, 0.7, 6.0, 50.0])
def test_excess_moments_match_quadrature(t):
    mean, var = excess_moments(jnp.asarray(t))
    np.testing.assert_allclose((mean, var), _moments_by_quadrature(t), rtol=1e-11)


def test_log_mills_matches_scipy_in_both_tails():
    t = np.array([-1e8, -60.0, -9.0, -0.3, 0.0, 0.4, 5.0, 37.0, 200.0])
    expected = scipy.special.log_ndtr(t) + 0.5 * t**2 + 0.5 * np.log(2 * np.pi)
    expected[0] = -np.log(1e8)
    np.testing.assert_allclose(log_mills(jnp.asarray(t)), expected, rtol=2e-13, atol=1e-12)
    scaled = log_scaled_ndtr(jnp.array([-jnp.inf, jnp.inf]))
    np.testing.assert_array_equal(scaled, [-np.inf, 0.0])


def test_upper_tail_keeps_relative_precision():
    lower = np.array([-9.0, -0.2, 0.3, 12.0, 37.0])
    np.testing.assert_allclose(
        upper_tail(jnp.asarray(lower)), scipy.stats.norm.sf(lower), rtol=1e-13
    )


@pytest.mark.parametrize("lower", [-40.0, -3.0, 0.0, 7.9, 8.1, 12.0, 40.0, 1e6])
def test_excess_inverts_the_tail_probability(lower):
    u = np.random.default_rng(3).uniform(1e-12, 1.0, 400)
    e = np.asarray(_excess(jnp.asarray(u), lower))
    if lower > 0:  # log of the survival ratio, without its large common part
        scaled = scipy.special.erfcx(np.array([lower + e, np.full_like(e, lower)]) / np.sqrt(2))
        log_u = -e * (lower + 0.5 * e) + np.log(scaled[0] / scaled[1])
    else:
        log_u = scipy.special.log_ndtr(-(lower + e)) - scipy.special.log_ndtr(-lower)
    np.testing.assert_allclose(log_u, np.log(u), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("lower", [-40.0, 2.5, 7.9, 40.0, 1e6])
def test_excess_in_float32_is_finite_and_close(lower):
    u = np.append(np.random.default_rng(4).uniform(0.01, 0.99, 400), [2.0**-24, 1.0])
    exact, single = _excess(jnp.asarray(u), lower), _excess(jnp.asarray(u, jnp.float32), lower)
    assert single.dtype == jnp.float32
    assert np.all(np.isfinite(single))
    np.testing.assert_allclose(single[:-2], exact[:-2], rtol=3e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_open_uniform_is_never_zero(dtype):
    u = open_uniform(jax.random.key(2), (1 << 22,), dtype)
    assert u.dtype == dtype
    assert float(u.min()) >= 0.5 * float(jnp.finfo(dtype).eps)
    assert float(u.max()) < 1.0


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_quantile_of_jax_keeps_both_tails(dtype):
    """JAX's `ndtri` is as good as algorithm AS 241, so that draws need none of our own."""
    near = np.linspace(0.0005, 0.9995, 4001)
    tail = 10.0 ** -np.linspace(3, 300 if dtype == "float64" else 37, 500)
    p = np.concatenate([near, tail, 1 - tail[:20]]).astype(dtype)
    ours = ndtri(jnp.asarray(p))
    assert ours.dtype == dtype
    tolerance = 1e-15 if dtype == "float64" else 3e-7
    expected = scipy.special.ndtri(p.astype("float64"))
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)
    ends = ndtri(jnp.asarray([0.0, 1.0], dtype))
    np.testing.assert_array_equal(ends, [-np.inf, np.inf])
