"""Labelled trees read from files that anybody may have written."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import xarray as xr

from probrev.plumbing.refusal import REFUSALS, MissingFileRefusal, Refusal

# What compression can make of a byte, at most, and what a tiny file may hold besides.
MOST_INFLATION, LEAST_BYTES = 1032, 2**24
# No more of a message is repeated.
LONGEST = 300


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
    with taken_for(path, what), h5py.File(path):
        pass  # what is no HDF5 file is not given to h5netcdf, which complains once more as it goes
    with taken_for(path, what), _open(path) as stored:
        claimed = sum(node.to_dataset().nbytes for node in stored.subtree)
        if claimed > MOST_INFLATION * path.stat().st_size + LEAST_BYTES:
            raise Refusal(f"{path} claims {claimed} bytes, more than it can hold")
        tree = stored.load()
    for name in groups:
        if name not in tree.children:
            raise Refusal(f"{path} is not {what}: it has no group {name!r}")
    return tree


def _open(path: Path) -> xr.DataTree:
    # Arrays of other HDF5 files have no names for their axes, which is no more than that.
    return xr.open_datatree(path, engine="h5netcdf", phony_dims="access")


@contextmanager
def taken_for(path: str | Path, what: str) -> Iterator[None]:
    """Says whatever goes wrong with what a file holds in one line: it is not what it should be.

    Args:
        path: the file.
        what: what it should be.

    Raises:
        ValueError: anything but a refusal was raised.
    """
    try:
        yield
    except REFUSALS:
        raise
    except Exception as error:  # libraries raise what they like for what is broken
        said = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST]
        raise Refusal(f"{path} is not {what}, or another version wrote it: {said}") from error
