"""Files that are refused are let go."""

import gc

import h5py
import numpy as np
import pytest
import xarray as xr

from probrev.plumbing.netcdf import write_netcdf
from probrev.plumbing.trees import read_tree


@pytest.fixture
def uncollected():
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_a_file_that_was_refused_can_be_written_again_at_once(tmp_path):
    path = tmp_path / "run.nc"
    whole = {f"v{i}": (("row", "column"), np.full((3, 4), i)) for i in range(12)}
    tree = xr.DataTree.from_dict({"/": xr.Dataset(), "data": xr.Dataset(whole)})
    rng, num_refused = np.random.default_rng(0), 0
    for _ in range(30):
        write_netcdf(tree, path)
        data = bytearray(path.read_bytes())
        for place in rng.integers(len(data), size=20):
            data[place] ^= 0xFF
        path.write_bytes(data)
        try:
            read_tree(path, "a tree", ["data"])
        except ValueError:
            num_refused += 1
        with h5py.File(path, "w"):  # HDF5 refuses what this process still holds open
            pass
    assert num_refused > 3
