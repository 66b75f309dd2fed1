"""Reversal on half-normal inputs, of stacks made here, against plain NumPy."""

import numpy as np
import pytest

from tests.analyses.test_analyses import analysis

RNG = np.random.default_rng(3)
SHAPES = ((30, 12), (12, 9), (9, 7))


def made():
    weights = [RNG.normal(0.1, 0.4, shape) for shape in SHAPES]
    return weights, [RNG.normal(0, 0.1, shape[1]) for shape in SHAPES]


@pytest.mark.slow
def test_cosines_are_those_of_plain_numpy_where_nothing_is_dropped():
    script = analysis("synthetic_reversal")
    stack = made()
    key = script["jax"].random.key(1)
    found = script["measure"](key, stack, 50).query("keep_prob == 1")
    x = np.abs(
        np.asarray(script["jax"].random.normal(script["jax"].random.split(key)[0], (50, 30)))
    )
    for level, (matrix, bias) in enumerate(zip(*stack, strict=True), start=1):
        h = np.maximum(x @ matrix + bias, 0)
        gain = 2 / (len(matrix) * (matrix**2).mean())
        back = np.maximum(gain * np.maximum(h @ matrix.T, 0) @ matrix + bias, 0)
        cosine = (h * back).sum(1) / np.linalg.norm(h, axis=1) / np.linalg.norm(back, axis=1)
        assert found.set_index("top")["cosine"][level] == pytest.approx(np.mean(cosine))
        x = h


@pytest.mark.slow
def test_computed_and_plotted(tmp_path, capsys):
    script = analysis("synthetic_reversal")
    script["compute"](tmp_path, num_inputs=40, stacks={"one": made, "another": made})
    assert script["plot"](tmp_path).stat().st_size > 10_000
    told = capsys.readouterr().out
    assert "another" in told
    assert "(layers from 3 on" in told
    assert "Gaussian weights of the same shapes" in told
