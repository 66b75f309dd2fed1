"""Every analysis, computed and plotted at a tiny size."""

import json
import runpy
from pathlib import Path

import pytest

ANALYSES = Path(__file__).parent.parent.parent / "analyses"


def analysis(name: str) -> dict:
    """The names in an analysis script, without running its command line."""
    return runpy.run_path(str(ANALYSES / f"{name}.py"))


@pytest.mark.slow
def test_posterior_comparison(tmp_path):
    script = analysis("posterior_comparison")
    tiny = {"num_obs": 6, "n_visible": 30, "n_hidden": 5, "max_active": 2}
    script["compute"](tmp_path, keep_probs=(0.4, 1.0), **tiny)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "keep_prob-0.4.nc",
        "keep_prob-1.nc",
    ]
    assert script["plot"](tmp_path).stat().st_size > 10_000
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        script["plot"](tmp_path / "nothing")


@pytest.mark.slow
def test_benchmarks(tmp_path):
    script = analysis("benchmarks")
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
    script["compute"](tmp_path, sizes)
    result = json.loads((tmp_path / "benchmarks.json").read_text())
    names = {row["name"] for row in result["samplers"]}
    assert names > {"gibbs", "MixedHMC", "PyMC", "DiscreteGibbs"}
    assert all(row["ess_per_second"] > 0 and row["agrees"] for row in result["samplers"])
    assert all(row["ratio"] > 0 for row in result["sweeps"])
    assert script["plot"](tmp_path).stat().st_size > 5_000


@pytest.mark.slow
def test_agreement_level(tmp_path, capsys):
    script = analysis("agreement_level")
    tiny = {"num_obs": 6, "num_draws": 2000, "n_visible": 30, "n_hidden": 5, "max_active": 2}
    script["compute"](tmp_path, num_perfect=2, num_wrong=1, **tiny)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["perfect-0", "perfect-1", "wrong-0"]
    assert script["plot"](tmp_path).stat().st_size > 10_000
    lines = capsys.readouterr().out.splitlines()
    for kind in script["PERFECT"]:
        assert any(line.startswith(f"{kind}: 0 of 2 flagged") for line in lines)
    for kind in script["WRONG"]:
        assert any(line.startswith(f"{kind}: ") for line in lines)
    assert any(line.startswith("3 h + 1: 1 of 1 flagged") for line in lines)
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        script["plot"](tmp_path / "nothing")


@pytest.mark.slow
def test_message_passing_benchmark(tmp_path):
    script = analysis("message_passing_benchmark")
    script["compute"](tmp_path, num_obs=(1, 3), n_visible=300, n_hidden=40)
    result = json.loads((tmp_path / "message_passing.json").read_text())
    assert [row["num_obs"] for row in result["cost"]] == [1, 3]
    assert all(row["ratio"] > 0 for row in result["cost"])
    assert result["memory"][0]["weights_bytes"] == 300 * 40 * 8
    assert script["plot"](tmp_path).stat().st_size > 5_000
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        script["plot"](tmp_path / "nothing")
