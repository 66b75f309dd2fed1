"""The benchmarks at a tiny size."""

import pytest

from analyses.benchmarks import __main__ as benchmarks


# NumPyro donates a buffer that its collecting loop cannot use; nothing is lost by it.
@pytest.mark.filterwarnings("ignore:Some donated buffers were not usable")
@pytest.mark.proof
def test_benchmarks(tmp_path):
    base = {"n": 20, "m": 6, "k": 2, "depth": 1, "chains": 2, "obs": 1}
    setting = {"n_visible": 20, "n_hidden": 4, "n_active": 1, "num_chains": (2,), "seconds": 0.1}
    calls = {
        "sweeps": [{"base": base, "growth": {"depth": (1, 2), "obs": (1, 3)}}],
        "samplers": [
            setting | {"pymc_draws": 100},
            setting | {"is_finite": True, "pymc_draws": 0},
        ],
        "priors": [
            {"prior": prior, "n_visible": 20, "n_hidden": 4, "gibbs_samples": 200}
            | {"kernel_samples": 100}
            for prior in ("rate", "correlated")
        ],
        "enumerations": [{"num_obs": (1, 2), "n_visible": 30, "n_hidden": 6}],
        "integrals": [{"n_visible": 20, "n_hidden": 4, "max_active": (2,), "num_obs": 2}],
        "predictions": [{"sizes": ((500, 150),), "num_obs": 4}],
    }
    benchmarks.compute(tmp_path, parts=tuple(calls), calls=calls)
    found = benchmarks.load(tmp_path, "samplers")
    assert {*found["name"].to_numpy()} > {"gibbs", "MixedHMC", "PyMC", "DiscreteGibbs"}
    assert (found["ess_per_second"] > 0).all()
    assert found["agrees"].all()
    assert (benchmarks.load(tmp_path, "sweeps")["ratio"] > 0).all()
    assert (benchmarks.load(tmp_path, "priors")["ratio"] > 0).all()
    for part in ("integrals", "predictions"):  # which check that both sides agree
        assert (benchmarks.load(tmp_path, part)["ratio"] > 0).all()
    assert benchmarks.plot(tmp_path).stat().st_size > 5_000
