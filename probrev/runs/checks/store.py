"""Where a check's batches lie: a folder, a file for each, whole or not there."""

import json
from pathlib import Path
from typing import Any

import xarray as xr

from probrev.plumbing.netcdf import write_netcdf
from probrev.plumbing.refusal import Refusal, taken_for
from probrev.plumbing.replacing import clear_leftovers, replacing
from probrev.plumbing.trees import opened

IDENTITY = "check.json"


def prepare(folder: str | Path, identity: dict[str, Any]) -> None:
    """Makes the folder, unless it holds the same check already.

    Args:
        folder: the folder.
        identity: what the batches depend on, JSON-able.

    Raises:
        ValueError: it holds another check, or cannot be written.
    """
    folder = Path(folder)
    path, wanted = folder / IDENTITY, json.loads(json.dumps(identity))
    try:
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                partial.write_text(json.dumps(wanted, indent=2), encoding="utf-8")
        clear_leftovers(folder)
    except OSError as error:
        raise Refusal(f"{folder} cannot hold a check: {error}") from error
    with taken_for(path, "the record of a check", f"delete {folder}, or name another folder"):
        found = dict(json.loads(path.read_text(encoding="utf-8")))
    for name in wanted:
        if found.get(name) != wanted[name]:
            raise Refusal(
                f"{folder} holds another check (its {name} differs): name another folder, or "
                "delete it"
            )


def unfinished(folder: str | Path, num_batches: int) -> list[int]:
    """Numbers of the batches that are still to do.

    Raises:
        ValueError: the file of one that is done is broken.
    """
    left = [batch for batch in range(num_batches) if not _path(folder, batch).exists()]
    for batch in set(range(num_batches)).difference(left):
        read_batch(folder, batch)  # what is broken is told before anything is computed
    return left


def write_batch(folder: str | Path, batch: int, found: xr.Dataset) -> None:
    """Writes a batch, whole or not at all."""
    write_netcdf(found, _path(folder, batch))


def read_batch(folder: str | Path, batch: int) -> xr.Dataset:
    """Reads a batch.

    Raises:
        ValueError: its file is broken.
    """
    path = _path(folder, batch)
    what, remedy = "a batch of a check", "delete it, and it is done again"
    with taken_for(path, what, remedy), opened(path) as source:
        return xr.load_dataset(source, engine="h5netcdf")


def _path(folder: str | Path, batch: int) -> Path:
    return Path(folder) / f"batch-{batch:04}.nc"
