"""The phase diagram at a tiny size, and what its sentence says of made-up maps."""

import numpy as np
import pytest
import xarray as xr

from analyses import phase_diagram

TINY = {
    "num_points": 2, "num_seeds": 2, "num_ground": 3, "num_checks": 1, "num_obs": 4,
    "n_hidden": 6, "check_n_visible": 60,
    "gibbs": {"num_warmup": 50, "num_samples": 100, "num_chains": 2},
}  # fmt: skip


@pytest.mark.proof
def test_it_is_computed_resumed_and_drawn(tmp_path):
    phase_diagram.compute(tmp_path, **TINY)
    before = {path.name for path in tmp_path.iterdir()}
    assert before >= {"measured_noise.zarr", "measured_sparsity.zarr", "check.nc"}
    phase_diagram.compute(tmp_path, **TINY)
    assert {path.name for path in tmp_path.iterdir()} == before
    assert phase_diagram.plot(tmp_path).stat().st_size > 20_000


def ground(ratio, axis="relative_noise"):
    bayes = np.array([[0.2, 0.3], [0.6, 0.9]])
    coords = {axis: [0.5, 2.0], "n_visible": [40, 80]}
    dims = (axis, "n_visible")
    data = {"bayes_risk": (dims, bayes), "net_risk": (dims, bayes * np.asarray(ratio))}
    return xr.Dataset(data, coords, attrs={"n_hidden": 10})


def test_the_finding_follows_the_data():
    measured = np.array([[0.9, 1.0, 1.1], [1.9, 2.0, 2.1]])
    check = xr.Dataset(
        {"measured": (("setting", "seed"), measured), "predicted": ("setting", [1.05, 2.5])},
        attrs={"n_visible": 2000},
    )
    maps = {
        "noise": ground([[3.0, 4.0], [1.05, 1.2]]),
        "sparsity": ground([[3.0, 4.0], [2.0, 2.0]], "n_active"),
    }
    said = phase_diagram.finding(maps, check)
    assert "25% of the noise map and 0% of the sparsity map" in said
    assert "where Bayes itself leaves at least 60% of" in said
    assert "at n/m = 4 it needs a signal-to-noise ratio below 0.25" in said
    assert "n = 2000 in 1 of 2 settings" in said
    never = phase_diagram.finding({name: ground(np.full((2, 2), 2.0)) for name in maps}, check)
    assert "0% of the noise map" in never
    assert "at n/m = 4 it never is on this map" in never
