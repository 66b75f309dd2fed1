"""Whole sweeps: labelled, resumed, sharded, on workers, killed."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

import probrev as pr
from probrev.runs.sweeps import driver
from probrev.runs.sweeps.cell import compute_cell
from probrev.runs.sweeps.store import TIMINGS, prepare, unfinished, write_batch

LOCAL = {"workers": None, "scheduler": None, "num_shards": 1}


def data(result):
    """What must not depend on how a sweep was run."""
    return result.drop_vars(TIMINGS)


@pytest.fixture
def fake_cells(monkeypatch):
    """Cells that cost nothing: their number is all they say."""

    def compute(grid, number):
        row = {"status": "ok", "reason": "", "energy": float(number), "cell_seconds": 0.0}
        return {**row, "risk_ratio": [number + 0.1 * place for place in range(len(grid.inverses))]}

    monkeypatch.setattr("probrev.runs.sweeps.cell.compute_cell", compute)


@pytest.mark.slow
def test_results_are_labelled(make_grid, tmp_path):
    grid = make_grid(axes={"noise_std": (0.5, 9.0), "values": ("one", "two")})
    result = pr.sweep(grid, tmp_path / "s.zarr")
    assert result["risk_ratio"].dims == ("noise_std", "values", "posterior", "seed", "inverse")
    one = result.sel(noise_std=0.5, values="two", posterior="exact", seed=1)
    row = compute_cell(grid, 3)
    np.testing.assert_array_equal(one["relative_risk"], row["relative_risk"])
    assert list(one["subject"].to_numpy()) == ["universal", "calibrated", "posterior"]
    assert str(one["status"].item()) == "ok"
    failed = result.sel(noise_std=9.0, values="one")
    assert (failed["status"] == "failed").all()
    assert (failed["reason"] == "ValueError: too noisy").all()
    assert failed["risk_ratio"].isnull().all()
    assert json.loads(result.attrs["grid"])["num_obs"] == 5
    assert "def build" in result.attrs["model_source"]
    assert result.attrs["versions"]["jax"]


def test_every_cell_is_at_its_place(make_grid, tmp_path, fake_cells):
    grid = make_grid(posteriors=("exact", "gibbs"))
    told = []
    result = pr.sweep(grid, tmp_path / "s.zarr", progress=lambda *done: told.append(done))
    assert told == [(done, 5) for done in range(6)]
    numbers = result["energy"].to_numpy()
    assert numbers.shape == (3, 2, 2, 2)
    np.testing.assert_array_equal(numbers.ravel(), np.arange(24))
    np.testing.assert_allclose(result["risk_ratio"].sel(inverse="calibrated"), numbers + 0.1)


def test_a_sweep_goes_on_where_it_was_left(make_grid, tmp_path, fake_cells, monkeypatch):
    grid, store = make_grid(), tmp_path / "s.zarr"
    prepare(store, grid, LOCAL)
    write_batch(store, grid, 1, [{"status": "ok", "energy": -1.0}] * 5)
    assert unfinished(store) == [0, 2]
    partly = pr.load_sweep(store)
    assert int((partly["status"] == "").sum()) == 7
    result = pr.sweep(grid, store)
    energy = result["energy"].to_numpy().ravel()
    np.testing.assert_array_equal(energy, [0, 1, 2, 3, 4, -1, -1, -1, -1, -1, 10, 11])
    monkeypatch.setattr(driver, "results_of", None)  # nothing is left to do
    xr.testing.assert_identical(pr.sweep(grid, store), result)


def test_shards_make_the_whole(make_grid, tmp_path, fake_cells):
    grid = make_grid()
    first = pr.sweep(grid, tmp_path / "s.zarr", shard=(1, 2))
    assert int((first["status"] == "").sum()) == 5
    both = pr.sweep(grid, tmp_path / "s.zarr", shard=(2, 2))
    xr.testing.assert_equal(both, pr.sweep(grid, tmp_path / "t.zarr"))


def test_a_store_belongs_to_one_grid(make_grid, tmp_path, fake_cells):
    store = tmp_path / "s.zarr"
    pr.sweep(make_grid(), store)
    with pytest.raises(ValueError, match="holds another sweep"):
        pr.sweep(make_grid(num_obs=6), store)


def test_what_is_no_store(make_grid, tmp_path):
    (tmp_path / "s.zarr").mkdir()
    with pytest.raises(ValueError, match="is not the store of a sweep"):
        pr.sweep(make_grid(), tmp_path / "s.zarr")
    with pytest.raises(ValueError, match="is not the store of a sweep"):
        pr.load_sweep(tmp_path / "none.zarr")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shard": (3, 2)}, r"shard \(i, N\) needs 1 <= i <= N; got \(3, 2\)"),
        ({"workers": 0}, "workers must be at least 1; got 0"),
        ({"workers": 1, "scheduler": "a"}, "give one"),
    ],
)
def test_what_a_sweep_refuses(make_grid, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        pr.sweep(make_grid(), tmp_path / "s.zarr", **arguments)
    assert not (tmp_path / "s.zarr").exists()


SCRIPT = """
import sys
import numpyro
import probrev as pr
from tests.runs.sweeps.test_driver import big_grid

if __name__ == "__main__":
    numpyro.enable_x64()
    pr.sweep(big_grid(), sys.argv[1], workers=int(sys.argv[2]) or None)
"""


def big_grid():
    from tests.runs.sweeps.conftest import MODEL

    axes = {"noise_std": (0.5, 9.0), "values": ("one", "two")}
    return pr.Grid(str(MODEL), axes, num_seeds=15, num_obs=4, batch_size=3)


def start(store, workers):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(store), str(workers)], start_new_session=True
    )


def wait_for(store, num_batches, process):
    """Until so many batches are done."""
    while process.poll() is None:
        if store.exists() and big_grid().num_batches - len(unfinished(store)) >= num_batches:
            return
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_and_resumed_it_gives_the_same_bits(tmp_path, workers):
    plain, broken = tmp_path / "plain.zarr", tmp_path / "broken.zarr"
    assert start(plain, workers).wait() == 0
    for num_batches in (1, 4):
        process = start(broken, workers)
        wait_for(broken, num_batches, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert len(unfinished(broken)) > 0
    assert start(broken, workers).wait() == 0
    xr.testing.assert_equal(data(pr.load_sweep(broken)), data(pr.load_sweep(plain)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.zarr", "plain.zarr"]
