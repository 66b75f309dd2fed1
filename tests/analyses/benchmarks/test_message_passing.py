"""The benchmarks of message passing at a tiny size."""

import numpy as np
import pytest

from analyses.benchmarks import large_weights, message_passing


@pytest.mark.slow
def test_message_passing_benchmark(tmp_path):
    message_passing.compute(tmp_path, num_obs=(1, 3), n_visible=300, n_hidden=40)
    cost, memory = (message_passing.load(tmp_path, name) for name in ("cost", "memory"))
    np.testing.assert_array_equal(cost["num_obs"], [1, 3])
    assert (cost["ratio"] > 0).all()
    assert memory["weights_bytes"].item() == 300 * 40 * 8
    assert message_passing.plot(tmp_path).stat().st_size > 5_000
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        message_passing.plot(tmp_path / "nothing")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["message_passing", "gibbs"])
def test_large_weights(tmp_path, method):
    large_weights.compute(tmp_path, n_visible=60, n_hidden=8, method=method, num_devices=2)
    found = large_weights.load(tmp_path, "large_weights")
    assert found["num_devices"] == 2
    assert found["layer_peak_over_weights"] <= found["posterior_peak_over_weights"]
    assert large_weights.plot(tmp_path).stat().st_size > 5_000
    assert not (tmp_path / "weights.npy").exists()
    if method == "gibbs":
        assert np.isfinite(found["sweep_seconds"])  # a difference, which is noise at this size
        assert found["pass_seconds"] > 0
