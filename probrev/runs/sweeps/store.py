"""Where a sweep's results lie: one zarr store, written batch by batch."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from probrev.comparison.metrics.case import POSTERIOR
from probrev.plumbing import door
from probrev.plumbing.refusal import Refusal, taken_for
from probrev.plumbing.replacing import clear_leftovers, temporary_beside
from probrev.runs.provenance import surroundings
from probrev.runs.sweeps.cell import Row
from probrev.runs.sweeps.grid import MOST_CELLS, Grid

# Every variable of a cell and its dimension beside the cell's; text where the default is text.
VARIABLES: dict[str, tuple[str | None, Any]] = {
    "relative_risk": ("subject", np.nan),
    "squared_error": ("subject", np.nan),
    "risk_ratio": ("inverse", np.nan),
    "excess_risk": ("inverse", np.nan),
    "claimed_risk": (None, np.nan),
    "energy": (None, np.nan),
    "status": (None, ""),
    "reason": (None, ""),
    "run_seconds": (None, np.nan),
    "compile_seconds": (None, np.nan),
    "cell_seconds": (None, np.nan),
}
# What two runs of one sweep need not have in common.
TIMINGS = ("run_seconds", "compile_seconds", "cell_seconds")


def prepare(path: str | Path, grid: Grid, workers: dict[str, Any]) -> None:
    """Makes the store, empty, unless it is there already for the same grid.

    Args:
        path: the store, a folder.
        grid: what will be computed.
        workers: who will compute it, for the record.

    Raises:
        ValueError: what lies at `path` is no sweep, or another one.
    """
    path = Path(path)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_leftovers(path.parent)
        # Made beside its place and moved there: it is whole, whoever else makes it.
        folder = temporary_beside(path)
        try:
            folder.mkdir()
            _create(folder / "store", grid, workers)
            (folder / "store").rename(path)
        except OSError:
            if not path.exists():
                raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    with taken_for(path, "the store of a sweep", "delete it, or name another store"):
        attrs = dict(_open(path, "r").attrs)
    for name, value in (("grid", grid.as_json()), ("model_source", grid.info.source)):
        if attrs.get(name) != value:
            raise Refusal(
                f"{path} holds another sweep (its {name} differs): name another store, or delete it"
            )


def _create(path: Path, grid: Grid, workers: dict[str, Any]) -> None:
    group = zarr.create_group(path)
    sizes = {"subject": len(grid.inverses) + 1, "inverse": len(grid.inverses)}
    for name, (dim, default) in VARIABLES.items():
        dims = ("cell",) if dim is None else ("cell", dim)
        extra = () if dim is None else (sizes[dim],)
        group.create_array(
            name,
            shape=(grid.num_cells, *extra),
            chunks=(grid.batch_size, *extra),
            dtype=str if isinstance(default, str) else float,
            fill_value=default,
            dimension_names=dims,
        )
    group.create_array(
        "done", shape=(grid.num_batches,), chunks=(1,), dtype=bool, dimension_names=("batch",)
    )
    group.attrs.update(
        {
            "grid": grid.as_json(),
            "model_source": grid.info.source,
            "workers": workers,
            **surroundings(),
        }
    )


def unfinished(path: str | Path) -> list[int]:
    """Numbers of the batches that are still to do.

    Raises:
        ValueError: what is done cannot be read.
    """
    with taken_for(path, "the store of a sweep", "delete it, or name another store"):
        group = _open(path, "r")
        for name in VARIABLES:  # what cannot be read is told before anything is computed
            _array(group, name)
        return np.flatnonzero(~np.asarray(_array(group, "done")[:])).tolist()


def write_batch(path: str | Path, grid: Grid, batch: int, rows: Sequence[Row]) -> None:
    """Writes the rows of a batch, and after them that it is done.

    Batches do not share a chunk, and zarr replaces chunks whole: several may write at once, and
    one that is killed leaves a batch to be done again.
    """
    group = _open(path, "r+")
    cells = grid.cells_of(batch)
    for name, (_, default) in VARIABLES.items():
        array = _array(group, name)
        shape = (len(cells), *array.shape[1:])
        values = np.full(shape, default, dtype=object if isinstance(default, str) else float)
        for place, row in enumerate(rows):
            values[place] = row.get(name, default)
        array[cells.start : cells.stop] = values
    _array(group, "done")[batch] = True


@door.guard(path=door.path)
def load_sweep(path: str | Path) -> xr.Dataset:
    """The results of a sweep, finished or not, as labelled arrays.

    Dimensions: each axis of the grid, `posterior`, `seed`; with `inverse`, or `subject`, which is
    the inverses and then "posterior". Variables: `relative_risk` and `squared_error` (subject; the
    latter per observation), `risk_ratio` and `excess_risk` (inverse), `claimed_risk`, `energy`
    (E||h||^2), `status` ("" if not computed yet, "failed", or the posterior's) with its `reason`,
    and seconds: `run_seconds` and `compile_seconds` of the posterior, `cell_seconds` of all.
    NaN where a cell has no result. Attributes are the provenance.

    Args:
        path: the store.

    Raises:
        ValueError: no sweep lies there.
    """
    with taken_for(path, "the store of a sweep"):
        return _load(_open(path, "r"))


def _load(group: zarr.Group) -> xr.Dataset:
    """See `load_sweep`."""
    found = json.loads(str(group.attrs["grid"]))
    grid = Grid(**found)
    coords = {
        **{name: _labels(values) for name, values in grid.coords.items()},
        "inverse": list(grid.inverses),
        "subject": [*grid.inverses, POSTERIOR],
    }
    shape = tuple(grid.shape.values())
    variables = {}
    for name, (dim, _) in VARIABLES.items():
        array = _array(group, name)
        if array.shape[0] != grid.num_cells or array.size > MOST_CELLS * len(coords["subject"]):
            raise Refusal(f"{name} has shape {array.shape}, for {grid.num_cells} cells")
        values = np.asarray(array[:])
        dims = (*grid.shape, dim) if dim else tuple(grid.shape)
        variables[name] = (dims, values.reshape(*shape, *values.shape[1:]))
    return xr.Dataset(variables, coords, attrs=dict(group.attrs))


def _labels(values: list[Any]) -> np.ndarray:
    """Values of an axis as coordinates: numbers stay numbers, all else is text."""
    labels = np.asarray(values) if np.ndim(values) == 1 else np.empty(0, object)
    return labels if labels.dtype.kind in "iuf" else np.asarray([str(value) for value in values])


def _open(path: str | Path, mode: Any) -> zarr.Group:
    try:
        group = zarr.open_group(path, mode=mode)
    except Exception as error:  # libraries raise what they like for what is broken
        raise Refusal(f"{path} is not the store of a sweep: {error}") from error
    if "grid" not in group.attrs:
        raise Refusal(f"{path} is not the store of a sweep: it names no grid")
    return group


def _array(group: zarr.Group, name: str) -> zarr.Array:
    found = group[name]
    assert isinstance(found, zarr.Array)
    return found
