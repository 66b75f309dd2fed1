"""Who computes the batches of a sweep: this process, or workers of Dask distributed."""

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax

from probrev.plumbing.refusal import Refusal
from probrev.runs.sweeps.cell import Row, compute_batch, failure
from probrev.runs.sweeps.grid import Grid

# Batches that wait at each worker, so that none is idle while results travel.
AHEAD = 2
Results = Iterator[tuple[int, list[Row]]]


def compute_here(grid: Grid, batches: Sequence[int]) -> Results:
    """Computes batches one after the other."""
    for batch in batches:
        yield batch, compute_batch(grid, batch)


def compute_on_workers(grid: Grid, batches: Sequence[int], client: Any) -> Results:
    """Computes batches on the workers of a Dask client, as they come.

    A batch whose worker dies goes to another one; one that has killed several is a row of failures.

    Args:
        grid: what to compute; workers read the model file at the same place as here.
        batches: numbers of the batches.
        client: a `distributed.Client`.
    """
    from distributed import KilledWorker, as_completed

    x64 = bool(jax.config.jax_enable_x64)
    waiting = iter(batches)

    def submit(batch: int) -> Any:
        return client.submit(_work, grid, batch, x64, key=f"probrev-batch-{batch}", pure=False)

    num_workers = max(1, len(client.scheduler_info()["workers"]))
    first = list(itertools.islice(waiting, AHEAD * num_workers))
    numbers = {}
    running = as_completed([])
    for batch in first:
        future = submit(batch)
        numbers[future.key] = batch
        running.add(future)
    for future in running:
        batch = numbers.pop(future.key)
        try:
            rows = future.result()
        except KilledWorker as error:
            rows = [failure(f"every worker that tried died: {error}")] * len(grid.cells_of(batch))
        future.release()
        for following in itertools.islice(waiting, 1):
            another = submit(following)
            numbers[another.key] = following
            running.add(another)
        yield batch, rows


@contextmanager
def local_workers(num_workers: int) -> Iterator[Any]:
    """A Dask client of worker processes on this machine, its processors shared among them.

    The environment variable NPROC, where it is set, is the number of threads of each instead.
    """
    with _needing_dask():
        from distributed import Client, LocalCluster
    threads = os.environ.get("NPROC") or max(1, (os.cpu_count() or 1) // num_workers)
    with (
        LocalCluster(
            n_workers=num_workers,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,  # pyright: ignore[reportArgumentType]
            env={"NPROC": str(threads)},  # the size of XLA's thread pool
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextmanager
def remote_workers(address: str) -> Iterator[Any]:
    """A Dask client of a scheduler that is running elsewhere.

    Raises:
        ValueError: none answers at that address.
    """
    with _needing_dask():
        from distributed import Client
    try:
        client = Client(address)
    except (OSError, ValueError, TimeoutError) as error:
        raise Refusal(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        yield client


@contextmanager
def _needing_dask() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise Refusal(
            "workers need Dask: install the extra `sweep` (uv sync --extra sweep, or "
            "pip install 'probrev[sweep]')"
        ) from error


def _work(grid: Grid, batch: int, x64: bool) -> list[Row]:
    """A batch in a worker, which is set up as the process that asks for it."""
    jax.config.update("jax_enable_x64", x64)
    return compute_batch(grid, batch)
