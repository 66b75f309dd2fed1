"""The linear theorem's analysis at a tiny size, and its finding on data made by hand."""

import jax
import numpy as np
import pytest
import xarray as xr

from analyses.theorems import baby


@pytest.mark.slow
def test_computed_and_plotted(tmp_path, capsys):
    baby.compute(tmp_path, n_hidden=12, n_active=3, n_visible=(40, 160), num_draws=50)
    assert baby.plot(tmp_path).stat().st_size > 10_000
    assert "sup norm of the error falls as n to the -0." in capsys.readouterr().out


def test_norms_are_those_of_numpy():
    """The dense sup norm of one unit is |mean of w^2 - 1|, and so is the spectral norm."""
    measure = baby.measure
    sup, spectral = measure(jax.random.key(0), np.ones((1, 1)), 50, 4000)
    np.testing.assert_allclose(np.ravel(sup), spectral, rtol=1e-9)
    plain = abs((np.random.default_rng(0).normal(size=(4000, 50)) ** 2).mean(1) - 1)
    spread = np.hypot(plain.std(), np.std(spectral)) / np.sqrt(4000)
    assert abs(np.mean(spectral) - plain.mean()) < 4 * spread


def test_finding_follows_the_data():
    n = np.array([100.0, 400.0])
    sup = np.stack([n**-0.5, 2 * n**-0.25], axis=1)
    data = xr.Dataset(
        {
            "sup_norm": (("n_visible", "n_active"), sup),
            "sup_norm_std_error": (("n_visible", "n_active"), 0.01 * sup),
            "spectral_norm": ("n_visible", 3 * (2 * np.sqrt(20 / n) + 20 / n)),
        },
        {"n_visible": n, "n_active": [2, 20]},
        {"n_hidden": 20},
    )
    told = baby.find(baby.add_theory(data))
    assert "-0.500 ± 0.010 with 2 active units and -0.250 ± 0.010 with 20" in told
    assert "3.000 to 3.000 times 2 sqrt(m/n) + m/n" in told
    loose = np.log(20 * n) * np.sqrt(20)
    assert f"{loose[0]:.0f} to {loose[1]:.0f} times too large for the sparse h" in told
