"""Labelled trees read from files that anybody may have written."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import h5py
import xarray as xr

from probrev.plumbing.refusal import MissingFileRefusal, Refusal, taken_for

# What compression can make of a byte, at most, and what a tiny file may hold besides.
MOST_INFLATION, LEAST_BYTES = 1032, 2**24


def read_tree(path: Path, what: str, groups: Sequence[str]) -> xr.DataTree:
    """Reads a tree from a netCDF file.

    Args:
        path: the file.
        what: what it should be, such as "a saved comparison".
        groups: that it must have.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is none, is cut, claims more than it can hold, or lacks a group.
    """
    if not path.is_file():
        raise MissingFileRefusal(f"{path} does not exist: give the run.nc of {what}")
    with taken_for(path, what), opened(path) as source, _open(source) as stored:
        claimed = sum(node.to_dataset().nbytes for node in stored.subtree)
        if claimed > MOST_INFLATION * path.stat().st_size + LEAST_BYTES:
            raise Refusal(f"{path} claims {claimed} bytes, more than it can hold")
        tree = stored.load()
    for name in groups:
        if name not in tree.children:
            raise Refusal(f"{path} is not {what}: it has no group {name!r}")
    return tree


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A netCDF file as xarray is to read it, let go whatever is wrong with it.

    By its path HDF5 would keep a broken file open, which this process then could not write again.

    Args:
        path: the file.
    """
    with path.open("rb") as source:
        # The first question of h5netcdf, which complains once more, later, where it fails.
        with h5py.File(source) as file:
            file.attrs.get("_nc3_strict")
        yield source


def _open(source: BinaryIO) -> xr.DataTree:
    # Arrays of other HDF5 files have no names for their axes, which is no more than that.
    return xr.open_datatree(source, engine="h5netcdf", phony_dims="access")
