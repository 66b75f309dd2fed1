"""The benchmark of message passing at a tiny size."""

import numpy as np
import pytest

from analyses.benchmarks import message_passing


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
