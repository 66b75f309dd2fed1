"""The loop of a sweep: what is left to do, who does it, and results written as they come."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import xarray as xr

from probrev.plumbing import door
from probrev.plumbing.progress import Progress
from probrev.plumbing.refusal import Refusal
from probrev.runs.engines import Work, check_workers, results_of
from probrev.runs.sweeps.cell import compute_batch, lost_batch
from probrev.runs.sweeps.grid import Grid, read_grid
from probrev.runs.sweeps.store import load_sweep, prepare, unfinished, write_batch
from probrev.runs.sweeps.trial import try_grid


@door.guard(
    store=door.path, workers=door.optional(door.count()), progress=door.optional(door.function)
)
def sweep(
    grid: Grid | str | Path,
    store: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    shard: tuple[int, int] = (1, 1),
    begin: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Computes a grid of comparisons, or goes on where the same grid was left.

    Batches are written as they finish. Killed at any moment, the same call resumes and loses at
    most the batches in flight; what it writes is what an uninterrupted run writes, bit for bit with
    the same number of threads a worker. A cell that fails is a row with its error.

    Args:
        grid: the grid, or the TOML file of one.
        store: folder of the zarr store.
        workers: number of worker processes on this machine, which share its processors; by default
            this process computes. Needs the extra `sweep`. A script that asks for workers must
            guard its own start with `if __name__ == "__main__"`, since they import it.
        scheduler: address of a running Dask scheduler, whose workers then compute. They read the
            model file, where it is a user's own, at the same place as here.
        shard: (i, N): only every N-th batch, beginning with the i-th (from 1). Jobs of an array
            with the same store and i = 1..N compute the whole grid.
        begin: told, before anything is written, how many cells there are and about how long they
            take.
        progress: told the number of batches done and of all, those of this shard.

    Returns:
        What `load_sweep` returns.

    Raises:
        ValueError: the grid or the store cannot be used, or both workers and scheduler are given.
    """
    grid = grid if isinstance(grid, Grid) else read_grid(grid)
    for place, number in zip("iN", shard, strict=True):
        door.count()(f"shard {place}", number)
    own, num_shards = shard
    if not 1 <= own <= num_shards:
        raise Refusal(f"shard (i, N) needs 1 <= i <= N; got ({own}, {num_shards})")
    check_workers(workers, scheduler)
    said = try_grid(grid)
    if begin is not None:
        begin(said)
    prepare(store, grid, {"workers": workers, "scheduler": scheduler, "num_shards": num_shards})
    mine = range(own - 1, grid.num_batches, num_shards)
    left = [batch for batch in unfinished(store) if batch in mine]
    done = len(mine) - len(left)
    report = progress or (lambda done, total: None)
    report(done, len(mine))
    if left:
        work = Work(partial(compute_batch, grid), partial(lost_batch, grid))
        with results_of(work, left, workers, scheduler) as results:
            for batch, rows in results:
                write_batch(store, grid, batch, rows)
                done += 1
                report(done, len(mine))
    return load_sweep(store)
