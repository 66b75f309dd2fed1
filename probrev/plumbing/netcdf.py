"""NetCDF files, written whole or not at all."""

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
    whole = data.to_netcdf(None, engine="h5netcdf", **options)
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(whole)
