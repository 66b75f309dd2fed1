"""The benchmarks at a tiny size."""

import json

import pytest

from analyses.benchmarks import __main__ as benchmarks


@pytest.mark.slow
def test_benchmarks(tmp_path):
    base = {"n": 20, "m": 6, "k": 2, "depth": 1, "chains": 2, "obs": 1}
    setting = {"n_visible": 20, "n_hidden": 4, "n_active": 1, "num_chains": (2,), "seconds": 0.1}
    sizes = {
        "sweeps": [{"base": base, "growth": {"depth": (1, 2), "obs": (1, 3)}}],
        "samplers": [
            setting | {"pymc_draws": 100},
            setting | {"is_finite": True, "pymc_draws": 0},
        ],
        "enumerations": [{"num_obs": (1, 2), "n_visible": 30, "n_hidden": 6}],
    }
    benchmarks.compute(tmp_path, sizes)
    result = json.loads((tmp_path / "benchmarks.json").read_text())
    names = {row["name"] for row in result["samplers"]}
    assert names > {"gibbs", "MixedHMC", "PyMC", "DiscreteGibbs"}
    assert all(row["ess_per_second"] > 0 and row["agrees"] for row in result["samplers"])
    assert all(row["ratio"] > 0 for row in result["sweeps"])
    assert benchmarks.plot(tmp_path).stat().st_size > 5_000
