"""What the theorems' measurements share, against sums and integrals in plain NumPy."""

import jax
import numpy as np
from scipy.integrate import quad
from scipy.stats import norm

from analyses.theorems import exponents, readouts

H = np.array([0.0, 0.0, 0.6, 1.7])


def test_readout_var_is_that_of_a_sum_over_rows():
    """Var[u_i] = n Var[w x], by quadrature over w and the rest of the pre-activation."""
    n, rho, q, sigma = 70, 0.6, 0.5, 0.8
    found = readouts.readout_var(H, (H**2).sum() + sigma**2, n, keep_prob=rho, net_keep_prob=q)
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    for h, var in zip(H, np.asarray(found), strict=True):
        rest = np.sqrt((H**2).sum() - h**2 + sigma**2)
        w, z = nodes[:, None], h * nodes[:, None] + rest * nodes[None, :]
        x = 2 / (rho * n) * np.maximum(z, 0)
        second = (weights[:, None] * weights * w**2 * x**2).sum() * rho / q
        np.testing.assert_allclose(var, n * second - h**2 / n, rtol=1e-3)


def test_simulated_readouts_are_those_of_plain_numpy():
    """Means and variances over fresh weights, both nets, against the same model written out."""
    n, rho, q, sigma, num = 30, 0.6, 0.5, 0.8, 4000
    h = np.tile(H, (num, 1))
    found = readouts.simulate_readouts(
        jax.random.key(0), h, n, keep_prob=rho, noise_std=sigma, net_keep_prob=q
    )
    rng = np.random.default_rng(1)
    w = rng.normal(size=(num, n, H.size))
    z = w @ H + sigma * rng.normal(size=(num, n))
    x = 2 / (rho * n) * np.maximum(z, 0) * (rng.random((num, n)) < rho)
    dropped = x * (rng.random((num, n)) < q) / q
    for ours, below in zip(found, (x, dropped), strict=True):
        plain = np.einsum("dj,dji->di", below, w)
        std = plain.std(0)
        np.testing.assert_array_less(
            abs(np.asarray(ours).mean(0) - plain.mean(0)), 4 * std * np.sqrt(2 / num)
        )
        np.testing.assert_allclose(np.asarray(ours).std(0), std, rtol=0.07)


def test_unit_error_is_the_integral():
    """Each unit by adaptive quadrature, with the moments and the threshold written out."""
    n, rho, q, m = 90, 0.6, 0.5, H.size
    energy = (H**2).sum()
    bias = np.sqrt(2 * np.log(m)) * np.sqrt(2 * energy / (rho * q * n))
    plain = []
    for h in H:
        t = np.sqrt(2 * (energy + 2 * h**2) / (rho * q * n) - h**2 / n)
        kink = (bias - h) / t

        def integrand(z, h=h, t=t):
            return (max(h + t * z - bias, 0) - h) ** 2 * norm.pdf(z)

        plain.append(quad(integrand, -10, kink)[0] + quad(integrand, kink, 12)[0])
    found = readouts.unit_error(H, np.full(H.shape, energy), m, n, keep_prob=rho, net_keep_prob=q)
    np.testing.assert_allclose(found, plain, rtol=1e-7, atol=1e-12)


def test_exponents_are_those_of_a_power_law():
    """Exact data give the exponent; the error is that of weighted least squares in NumPy."""
    size = np.array([10.0, 30.0, 50.0, 200.0])
    value, error = 3.0 * size**-0.7, np.array([0.01, 0.02, 0.005, 0.004])
    fit = exponents.fit_exponent(size, value, error)
    np.testing.assert_allclose(fit.value, -0.7)
    relative = error / value
    _, cov = np.polyfit(np.log(size), np.log(value), 1, w=1 / relative, cov="unscaled")
    np.testing.assert_allclose(fit.std_error, np.sqrt(cov[0, 0]))
    steps = exponents.step_exponents(size, value, error)
    np.testing.assert_allclose(steps.value, -0.7)
    first = np.hypot(relative[0], relative[1]) / np.log(3)
    np.testing.assert_allclose(steps.std_error[0], first)
