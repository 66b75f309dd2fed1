"""NetCDF files, written whole or not at all."""

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import xarray as xr

from probrev.plumbing.replacing import replacing


def write_netcdf(data: xr.Dataset | xr.DataTree, path: str | Path, **options: Any) -> None:
    """Writes a netCDF file, with HDF5 in memory: on a disk that is full it would crash.

    Args:
        data: what to write.
        path: the file; replaced if it is there.
        **options: of xarray's `to_netcdf`.

    Raises:
        OSError: the file cannot be written; what was at `path` is still there.
    """
    with _without_locks_of_dask():
        whole = data.to_netcdf(None, engine="h5netcdf", **options)
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(whole)


def _without_locks_of_dask() -> AbstractContextManager[Any]:
    """In a worker of Dask's xarray would ask the scheduler for a lock on what is in memory here."""
    dask = sys.modules.get("dask")
    return dask.config.set(scheduler="synchronous") if dask else nullcontext()
