"""The sweep's benchmark at a tiny size, kills and all."""

import pytest

from analyses.benchmarks import grid_sweep


@pytest.mark.proof
def test_kills_leave_the_bits_alone(tmp_path):
    grid_sweep.compute(tmp_path, num_seeds=2, n_visible=30, num_kills=1)
    data = grid_sweep.load(tmp_path, "sweep_benchmark")
    assert data.attrs["same_after_kills"] == 1
    assert (data["cells"] == 80).all()
    assert (data["overhead_seconds"] > 0).all()
    assert "holds the same bits" in grid_sweep.finding(data)
    assert grid_sweep.plot(tmp_path).stat().st_size > 5_000
