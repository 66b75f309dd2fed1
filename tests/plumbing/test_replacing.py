"""Files that are whole or absent."""

import os
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from probrev.plumbing.netcdf import write_netcdf
from probrev.plumbing.replacing import replacing, temporary_beside


def test_replacing_moves_a_whole_file_into_place(tmp_path):
    target = tmp_path / "report.html"
    target.write_text("old")
    with replacing(target) as partial:
        partial.write_text("new")
        assert target.read_text() == "old"
        assert partial.suffix == target.suffix
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"report.html": "new"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_replacing_leaves_nothing_behind_when_interrupted(tmp_path, error):
    def write():
        with replacing(tmp_path / "run.nc") as partial:
            partial.write_text("half")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_what_killed_processes_have_left_is_removed(tmp_path):
    own = [sys.executable, "-c", "import os; print(os.getpid())"]
    pid = int(subprocess.run(own, capture_output=True, check=True).stdout)
    mine = temporary_beside(tmp_path / "run.nc").name
    left = mine.replace(f".{os.getpid()}@", f".{pid}@")
    (tmp_path / left).write_text("half")
    (tmp_path / left.replace("run.nc", "store.zarr")).mkdir()
    kept = [
        mine.replace(f".{os.getpid()}@", f".{os.getppid()}@"),  # of one that is alive
        f".{pid}@another-machine-run.nc",
        f".{pid}-run.nc",
        "run.nc.old",
    ]
    for name in kept:
        (tmp_path / name).write_text("another's")
    with replacing(tmp_path / "report.html") as partial:
        partial.write_text("new")
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "report.html"])


FULL = """
import resource, sys, numpy as np, xarray as xr
from probrev.plumbing.netcdf import write_netcdf
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    h = np.random.default_rng(0).normal(size=10_000)
    write_netcdf(xr.Dataset({"h": ("i", h)}), sys.argv[1])
except OSError as error:
    print(error.strerror)
"""


def test_a_full_disk_is_an_error_and_the_old_file_is_kept(tmp_path):
    """HDF5 itself crashes there."""
    path = tmp_path / "run.nc"
    write_netcdf(xr.Dataset({"h": ("i", np.arange(3))}), path)
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "File too large\n", "")
    assert os.listdir(tmp_path) == ["run.nc"]
    np.testing.assert_array_equal(xr.load_dataset(path)["h"], [0, 1, 2])
