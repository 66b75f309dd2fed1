import math

import numpy as np
import pytest
from scipy.integrate import quad

from probrev.numerics.marchenko_pastur import MarchenkoPastur

LAWS = [MarchenkoPastur(0.3, 1.0), MarchenkoPastur(0.05, 2.5), MarchenkoPastur(1.0, 0.7)]


def integrate(law, function, upto=1.0):
    """By quadrature in the angle, where the density has no singularity."""

    def integrand(angle):
        x = law.lower + (law.upper - law.lower) * math.sin(angle) ** 2
        jacobian = (law.upper - law.lower) * math.sin(2 * angle)
        return float(function(x) * law.density(x)) * jacobian

    return quad(integrand, 1e-9, upto * math.pi / 2 - 1e-9, epsabs=1e-11)[0]


@pytest.mark.parametrize("law", LAWS, ids=str)
def test_moments_of_the_density(law):
    """v^k sum_r N(k, r) aspect^(r-1), N Narayana's numbers: 1, 1 + c, 1 + 3c + c^2."""
    c, v = law.aspect, law.variance
    for power, moment in enumerate((1, 1, 1 + c, 1 + 3 * c + c**2)):
        found = integrate(law, lambda x, power=power: x**power)
        assert found == pytest.approx(moment * v**power, rel=1e-6)


@pytest.mark.parametrize("law", LAWS, ids=str)
@pytest.mark.parametrize("upto", [0.1, 0.35, 0.6, 0.95])
def test_distribution_function_is_the_integral_of_the_density(law, upto):
    x = law.lower + (law.upper - law.lower) * math.sin(upto * math.pi / 2) ** 2
    assert law.cdf(x) == pytest.approx(integrate(law, lambda _: 1.0, upto), abs=1e-7)


def test_outside_the_edges():
    law = MarchenkoPastur(0.25, 2.0)
    assert (law.lower, law.upper) == (0.5, 4.5)
    np.testing.assert_array_equal(law.density([0.0, 0.49, 4.51]), 0)
    np.testing.assert_allclose(law.cdf([-1, 0.5, 4.5, 9.0]), [0, 0, 1, 1], atol=1e-12)
    assert law.cdf(law.median) == pytest.approx(0.5)


def test_spectra_of_gaussian_matrices_follow_it():
    rng = np.random.default_rng(0)
    law = MarchenkoPastur(0.4, 9.0)
    pooled = np.concatenate(
        [np.linalg.eigvalsh(a.T @ a / 250) for a in 3 * rng.normal(size=(20, 250, 100))]
    )
    for share in (0.1, 0.5, 0.8):
        x = np.quantile(pooled, share)
        assert law.cdf(x) == pytest.approx(share, abs=0.01)


def test_reach_is_exceeded_about_once_in_a_thousand():
    """A coarser quantile of the same law: 5 % of matrices pass the centre + .98 scales."""
    rng = np.random.default_rng(1)
    long, short, quantile = 120, 60, 0.9793
    law = MarchenkoPastur(short / long)
    lower, upper = law.reach(short, long)
    centre_low, centre_high = _centres(short, long)
    scale_low, scale_high = (centre_low - lower) / 3.2724, (upper - centre_high) / 3.2724
    spectra = np.stack(
        [np.linalg.eigvalsh(a.T @ a / long) for a in rng.normal(size=(800, long, short))]
    )
    error = 4 * math.sqrt(0.05 * 0.95 / 800)
    assert (spectra[:, -1] > centre_high + quantile * scale_high).mean() == pytest.approx(
        0.05, abs=error
    )
    # The smallest eigenvalue converges more slowly: its tail is the shorter at this size.
    assert (spectra[:, 0] < centre_low - quantile * scale_low).mean() < 0.05 + error
    assert (spectra[:, -1] > upper).mean() <= 0.006
    assert (spectra[:, 0] < lower).mean() <= 0.006


def _centres(short, long):
    low = (math.sqrt(long) - math.sqrt(short)) ** 2 / long
    return low, (math.sqrt(long - 1) + math.sqrt(short)) ** 2 / long


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match=r"aspect must lie in \(0, 1\].*got 1.5"):
        MarchenkoPastur(1.5)
    with pytest.raises(ValueError, match="variance must be positive and finite; got 0"):
        MarchenkoPastur(0.5, 0)
