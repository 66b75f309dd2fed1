"""`probrev sweep`, as typed."""

import json

import pytest

import probrev as pr
from tests.runs.sweeps.conftest import MODEL

GRID = f"""
model = "{MODEL}"
num_obs = 3
num_seeds = 2
[axes]
noise_std = [0.8, {{second}}]
"""


@pytest.fixture
def grid(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(GRID.format(second=1.6))
    return path


@pytest.fixture
def quick_cells(monkeypatch):
    """Cells that cost nothing, and fail where the noise is 7."""

    def compute(grid, number):
        if grid.cell(number).parameters["noise_std"] == 7:
            return {"status": "failed", "reason": "ValueError: too noisy"}
        return {"status": "ok"}

    monkeypatch.setattr("probrev.runs.sweeps.cell.compute_cell", compute)


@pytest.mark.slow
def test_a_sweep_says_what_it_did_and_where(grid, probrev, tmp_path):
    done = probrev("sweep", grid)
    assert (done.status, done.err) == (0, "4 cells in 1 batch, about 1 min\n")
    assert done.out.splitlines()[0] == "4 of 4 cells: ok"
    assert "probrev.load_sweep('runs/small.zarr')" in done.out
    result = pr.load_sweep(tmp_path / "runs" / "small.zarr")
    assert dict(result["status"].sizes) == {"noise_std": 2, "posterior": 1, "seed": 2}
    again = probrev("sweep", grid, "--json")
    assert json.loads(again.out) == {
        "store": "runs/small.zarr",
        "cells": 4,
        "status": {"ok": 4},
        "trouble": [],
    }


@pytest.mark.usefixtures("quick_cells")
def test_failed_cells_are_counted_and_explained(grid, probrev):
    grid.write_text(GRID.format(second=7))
    done = probrev("sweep", grid, "--out", "s.zarr")
    assert done.status == 3
    lines = done.out.splitlines()
    assert lines[:3] == [
        "2 of 4 cells: failed",
        "2 of 4 cells: ok",
        "    failed: ValueError: too noisy",
    ]


@pytest.mark.usefixtures("quick_cells")
def test_quiet_says_nothing_on_the_way(grid, probrev, read_json):
    loud = probrev("sweep", grid, "--out", "s.zarr", "--json")
    assert loud.err.startswith("4 cells in 1 batch")
    quiet = probrev("sweep", grid, "--out", "t.zarr", "--json", "--quiet")
    assert quiet.err == ""
    assert read_json("sweep", quiet.out) == json.loads(loud.out.replace("s.zarr", "t.zarr"))


@pytest.mark.usefixtures("quick_cells")
def test_a_shard_leaves_the_rest(grid, probrev):
    grid.write_text("batch_size = 1" + GRID.format(second=1.6))
    done = probrev("sweep", grid, "--shard", "2/2", "--out", "s.zarr")
    assert done.status == 0
    assert "2 of 4 cells: not computed yet" in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shard", "2"), "--shard 2: expected I/N, such as 1/4"),
        (("--shard", "3/2"), "needs 1 <= I <= N"),
        (("--workers", "0"), "workers"),
    ],
)
def test_what_is_refused_in_one_line(grid, probrev, words, message):
    done = probrev("sweep", grid, *words)
    assert done.status == 2
    assert message in done.err
    assert len(done.err.splitlines()) == 1


def test_a_grid_that_is_not_there(probrev):
    done = probrev("sweep", "none.toml")
    assert done.status == 2
    assert "cannot read the grid none.toml" in done.err
