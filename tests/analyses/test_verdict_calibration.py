"""Calibration of verdicts: the analysis at a tiny size, and what intervals of R must hold."""

import jax
import numpy as np
import pytest

import probrev as pr
from analyses import verdict_calibration
from probrev.runs import registry

TINY = {"n_visible": 30, "n_hidden": 5, "max_active": 2}


@pytest.mark.slow
def test_computed_and_plotted(tmp_path, capsys):
    sizes = {"num_pool": 64, "num_sets": 3, "num_right": 2, "num_wrong": 2}
    verdict_calibration.compute(tmp_path, covered=(16, 20), convicted=(16, 32), **sizes, **TINY)
    assert verdict_calibration.plot(tmp_path).stat().st_size > 10_000
    told = capsys.readouterr().out
    assert "convicted, noise_std × 1.3:" in told
    assert "of 2 right posteriors" in told
    data = verdict_calibration.load(tmp_path, "verdict_calibration")
    assert data["coverage"].shape == (2, 5, 2)
    assert set(np.unique(data["coverage"] * 3 % 1)) <= {0.0}
    assert data["p_right"].size == 2


@pytest.mark.proof
def test_intervals_cover():
    """1000 data sets of 16 and of 32 observations, both forms of R, three nets.

    With 16 observations intervals may be a little too long; they must not be too short.
    """
    model = registry.load("one_layer")(n_visible=200, n_hidden=16)
    obs = model.simulate(jax.random.key(11), 4096)
    ladder = pr.build_ladder(jax.random.key(5), model, verdict_calibration.PLANNED)
    estimates = np.stack([np.asarray(inverse(obs.x)) for inverse in ladder.values()])
    posterior = pr.exact(model, obs, num_draws=4)
    case = verdict_calibration.make_case(posterior, obs, estimates, list(ladder))
    found = verdict_calibration.measure_coverage(case, (16, 32), 1000)["coverage"]
    assert found.sizes == {"form": 2, "inverse": 3, "covered": 2}
    assert float(found.sel(covered=16).min()) >= 0.90
    more = found.sel(covered=32)
    assert 0.92 <= float(more.min()) <= float(more.max()) <= 0.97
