"""`probrev sweep`: a grid of comparisons, killed and resumed as one likes."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probrev.cli import INCONCLUSIVE
from probrev.cli.display import stages
from probrev.cli.flags import AsJson, Quiet
from probrev.cli.numbers import Count
from probrev.cli.output import check_place
from probrev.plumbing.refusal import Refusal
from probrev.runs.sweeps.grid import read_grid

if TYPE_CHECKING:
    import xarray as xr

SHARD = re.compile(r"(\d+)/(\d+)")
SHOWN_TROUBLE = 3


def sweep(
    grid: Path,
    /,
    *,
    workers: Count | None = None,
    scheduler: str | None = None,
    shard: str = "1/1",
    out: Path | None = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> int:
    """Computes a grid of comparisons into one zarr store, or goes on where it was left.

    Args:
        grid: a TOML file; its keys are the attributes of probrev.Grid: model, a table of axes, and
            fixed, posteriors, inverses, num_seeds, num_obs, settings, batch_size.
        workers: worker processes on this machine; by default this process computes.
        scheduler: address of a running Dask scheduler whose workers compute.
        shard: I/N, to compute only every N-th batch, beginning with the I-th: for job arrays.
        out: the store; by default runs/<name of the grid>.zarr.
        quiet: say nothing on stderr but errors.
        as_json: print what was done as JSON, and nothing else, on stdout.
    """
    found = SHARD.fullmatch(shard)
    if found is None:
        raise Refusal(f"--shard {shard}: expected I/N, such as 1/4")
    if not 1 <= int(found[1]) <= int(found[2]):
        raise Refusal(f"--shard {shard}: I/N needs 1 <= I <= N")
    if workers is not None and scheduler is not None:
        raise Refusal("--workers and --scheduler are two ways to the same end: give one")
    given = read_grid(grid)
    store = out or Path("runs") / f"{grid.stem}.zarr"
    check_place(store)

    import numpyro

    import probrev as pr
    from probrev.cli.programs import keep_programs

    numpyro.enable_x64()
    keep_programs()
    with stages(quiet) as stage:
        result = pr.sweep(
            given,
            store,
            workers=workers,
            scheduler=scheduler,
            shard=(int(found[1]), int(found[2])),
            begin=stage.say,
            progress=stage(f"{grid.stem}: batches"),
        )
    said = summarize(result)
    if as_json:
        print(json.dumps({"store": str(store), **said}, indent=2))
    else:
        print_summary(said, store)
    return 0 if set(said["status"]) <= {"ok", ""} else INCONCLUSIVE


def summarize(result: "xr.Dataset") -> dict[str, Any]:
    """How many cells have which status, and why the first of those that are not ok are not."""
    status = result["status"].to_numpy().ravel()
    reasons = result["reason"].to_numpy().ravel()
    counts = {str(name): int((status == name).sum()) for name in sorted(set(status))}
    trouble = [
        f"{one}: {reason}" for one, reason in zip(status, reasons, strict=True)
        if one not in ("ok", "")
    ]  # fmt: skip
    return {"cells": status.size, "status": counts, "trouble": list(dict.fromkeys(trouble))}


def print_summary(said: dict[str, Any], store: Path) -> None:
    """Prints the counts, the first causes of trouble, and how to read the store."""
    for name, count in said["status"].items():
        print(f"{count} of {said['cells']} cells: {name or 'not computed yet'}")
    for cause in said["trouble"][:SHOWN_TROUBLE]:
        print(f"    {cause}")
    if len(said["trouble"]) > SHOWN_TROUBLE:
        print(f"    and {len(said['trouble']) - SHOWN_TROUBLE} more kinds")
    print(f"\n{store}\nread it with probrev.load_sweep({str(store)!r})")
