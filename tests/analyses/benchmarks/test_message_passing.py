"""The benchmark of message passing at a tiny size."""

import json

import pytest

from analyses.benchmarks import message_passing


@pytest.mark.slow
def test_message_passing_benchmark(tmp_path):
    message_passing.compute(tmp_path, num_obs=(1, 3), n_visible=300, n_hidden=40)
    result = json.loads((tmp_path / "message_passing.json").read_text())
    assert [row["num_obs"] for row in result["cost"]] == [1, 3]
    assert all(row["ratio"] > 0 for row in result["cost"])
    assert result["memory"][0]["weights_bytes"] == 300 * 40 * 8
    assert message_passing.plot(tmp_path).stat().st_size > 5_000
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        message_passing.plot(tmp_path / "nothing")
