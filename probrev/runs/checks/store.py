"""Where a check's batches lie: a folder, a file for each, whole or not there."""

import json
from pathlib import Path
from typing import Any

import xarray as xr

from probrev.plumbing.netcdf import write_netcdf
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.replacing import clear_leftovers, replacing

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
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refusal(f"{folder} cannot hold a check: {error}") from error
    for name in wanted:
        if found.get(name) != wanted[name]:
            raise Refusal(
                f"{folder} holds another check (its {name} differs): name another folder, or "
                "delete it"
            )


def unfinished(folder: str | Path, num_batches: int) -> list[int]:
    """Numbers of the batches that are still to do."""
    return [batch for batch in range(num_batches) if not _path(folder, batch).exists()]


def write_batch(folder: str | Path, batch: int, found: xr.Dataset) -> None:
    """Writes a batch, whole or not at all."""
    write_netcdf(found, _path(folder, batch))


def read_batch(folder: str | Path, batch: int) -> xr.Dataset:
    """Reads a batch.

    Raises:
        ValueError: its file is broken.
    """
    path = _path(folder, batch)
    try:
        return xr.load_dataset(path, engine="h5netcdf")
    except (OSError, ValueError) as error:
        raise Refusal(f"{path} is no batch of a check: delete it, and it is done again") from error


def _path(folder: str | Path, batch: int) -> Path:
    return Path(folder) / f"batch-{batch:04}.nc"
