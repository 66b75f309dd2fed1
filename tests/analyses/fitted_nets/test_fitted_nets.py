"""The table of fitted layers: its finding, its figure, and a row of it."""

import json
import math

import numpy as np
import pytest

from analyses.fitted_nets import __main__ as fitted_nets
from analyses.fitted_nets.finding import say


def row(net, layer, model, *, failed=(), verdict="far", ratio=math.nan, kappa=math.nan):
    figures = {"null": 0.0, "gaussian": -0.1, "shuffled": -0.2, "keep_prob": 1.0, "zeros": 0.2}
    figures |= {"relative_noise": 0.3, "effective_rows": 9.0, "tied_share": 0.4}
    return figures | {
        "net": net, "layer": layer, "model": model, "failed": list(failed), "verdict": verdict,
        "ratio": ratio, "low": 0.9 * ratio, "high": 1.1 * ratio, "kappa": kappa,
        "claimed_over_actual": 1.0,
    }  # fmt: skip


ROWS = [
    row("digits-0", 1, 0.35, failed=["zeros"], verdict="misfit: zeros"),
    row("digits-0", 2, 0.40, ratio=2.0, kappa=1.1),
    row("mnist-0", 2, 0.10, ratio=1.2, kappa=0.9, verdict="near"),
    row("tiara-4", 2, -0.05, failed=["above null"], verdict="misfit: above null"),
    row("ina", 1, 0.2, verdict="misfit"),
    row("untrained-digits-0", 2, 0.05, verdict="far"),
]


def test_the_finding_is_made_from_the_rows():
    told = say(ROWS)
    assert "5 layers of trained nets: 4 lie above the null of independent rows, by -0.05 to" in told
    assert "Gaussian weights do in 0 of them, shuffled h in 0." in told
    assert "Of 1 untrained layers 1 lie above it, by 0.05 to 0.05." in told
    assert "3 pass the gates of their fit." in told
    assert "2 are judged (1 far, 1 near): the net's error is 1.20 to 2.00 times Bayes'" in told
    assert "kappa 0.90 to 1.10" in told
    assert "Without a verdict, though the layer fits: ina 1." in told


def test_rows_are_read_in_the_order_of_the_nets(tmp_path, capsys):
    for one in reversed(ROWS):
        path = tmp_path / f"{one['net']}-layer{one['layer']}.json"
        path.write_text(json.dumps(one))
    found = [(one["net"], one["layer"]) for one in fitted_nets.read(tmp_path)]
    assert found[:3] == [("digits-0", 1), ("digits-0", 2), ("mnist-0", 2)]
    assert fitted_nets.plot(tmp_path).stat().st_size > 5_000
    assert "net/Bayes" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        fitted_nets.read(tmp_path / "nothing")


@pytest.mark.slow
def test_a_layer_whose_gates_fail_is_not_judged():
    rng = np.random.default_rng(0)
    x, held_out = (np.round(np.maximum(rng.normal(size=(n, 12)), 0), 1) for n in (80, 40))
    x[:, 3] = 0  # a row and a unit that never fire are left out
    weights, bias = rng.normal(size=(12, 6)) / 3, np.array([0.1] * 5 + [-50.0])
    found = fitted_nets.study(weights, bias, x, held_out, 16)
    assert (found["n_visible"], found["n_hidden"]) == (11, 5)
    assert "repeated values" in found["failed"]
    assert found["verdict"].startswith("misfit: ")
    assert math.isnan(found["ratio"])
    assert {*fitted_nets.COLUMNS} <= {*found, "net", "layer"}
