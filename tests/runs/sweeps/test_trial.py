"""Grids tried before anything is written: what is refused, and whose fault it is."""

import pytest

from probrev.runs.sweeps import trial
from probrev.runs.sweeps.trial import try_grid


def test_a_value_that_build_refuses_everywhere_is_named_with_the_line(make_grid):
    grid = make_grid(axes={"noise_std": (0.5, 9.0), "values": ("one",)})
    with pytest.raises(ValueError, match=r"model\.py, line 12: axis noise_std = 9.0: too noisy"):
        try_grid(grid)


def test_a_value_that_some_cell_can_have_is_not(make_grid):
    assert "4 cells" in try_grid(
        make_grid(axes={"noise_std": (0.5, 9.0), "values": ("one", "two")}, num_seeds=1)
    )


def test_a_defect_of_ours_is_no_refusal(make_grid, monkeypatch):
    def fail(*_):
        raise LookupError("ours")

    monkeypatch.setattr(trial, "build_model", fail)
    with pytest.raises(LookupError, match="ours"):
        try_grid(make_grid())
