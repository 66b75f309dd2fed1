"""Inputs that once gave a wrong number: scripts as a user would write them, in `tests/cases`.

One that still does is expected to fail, so that whoever mends it is told to say so here.
"""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.marks import by_hand

CASES = Path(__file__).with_name("cases")


def numbers(line):
    return [float(text) for text in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", line)]


def neither_agrees(out):
    assert re.findall(r"agrees (\w+)", out) == ["False", "False"]


def inconclusive(out):
    assert out.startswith("False nothing is inconclusive (")
    assert "): constant is unchecked" in out


def within_its_claim(out):
    evidence, inclusion, claim = out.splitlines()
    assert abs(numbers(evidence)[0] + 6.849106) < 1e-3
    np.testing.assert_allclose(numbers(inclusion)[:4], [0.02659, 0.92788, 0.21539, 0.10135], 1e-3)
    assert sum(numbers(claim)) < 5e-4


def misfits(out):
    assert len(re.findall(r" is misfit", out)) == 4


def aligned(out):
    assert [line.split(" (")[0] for line in out.splitlines()] == ["net is unjudged"] * 2


def goes_on(out):
    assert re.findall(r"exit (\d)", out) == ["0", "0"]


def in_order(out):
    assert numbers(out)[-1] < 1e-5


def with_biases(out):
    assert len(out.splitlines()) == 2
    assert all(numbers(line)[-1] > 0 for line in out.splitlines())


def the_layer_alone(out):
    assert "model.0.weight" in out
    assert "optim" not in out


def the_good_layer(out):
    assert re.findall(r"exit status (\d)", out) == ["0", "0"]


def the_readable_layer(out):
    assert "a.weight" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("agreement_blind", neither_agrees),
        ("constant_draws", inconclusive),
        ("observation_labels", aligned),
        ("checkpoint_other_process", goes_on),
        ("safetensors_order", in_order),
        ("keras3_weights_h5", with_biases),
        ("optimizer_state", the_layer_alone),
        ("one_odd_tensor", the_good_layer),
        ("float8_safetensors", the_readable_layer),
        *by_hand(("exact_ridge", within_its_claim), ("misfit_breast_cancer", misfits)),
    ],
)
def test_case(monkeypatch, capsys, name, check):
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(CASES / f"{name}.py"), run_name="__main__")
    check(capsys.readouterr().out.strip())


@pytest.mark.slow
def test_a_dependent_prior_is_refused():
    with pytest.raises(ValueError, match="the two are one law, so override both, or neither"):
        runpy.run_path(str(CASES / "silent_extension.py"), run_name="__main__")
