"""Who computes batches of independent work: this process, or workers of Dask distributed."""

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax

from probrev.plumbing.refusal import Refusal

# Batches that wait at each worker, so that none is idle while results travel.
AHEAD = 2


class Work[T](NamedTuple):
    """Batches that do not depend on one another.

    Attributes:
        compute: number of a batch -> its results; workers get it pickled.
        lost: number of a batch and the reason -> what stands for its results where every worker
            that tried it died.
    """

    compute: Callable[[int], T]
    lost: Callable[[int, str], T]


@contextmanager
def results_of[T](
    work: Work[T], batches: Sequence[int], workers: int | None = None, scheduler: str | None = None
) -> Iterator[Iterator[tuple[int, T]]]:
    """Results of batches as they come, by this process, workers of its own, or a scheduler's.

    Args:
        work: what to compute.
        batches: numbers of the batches.
        workers: number of worker processes on this machine; None for this process.
        scheduler: address of a running Dask scheduler.
    """
    if workers is None and scheduler is None:
        yield ((batch, work.compute(batch)) for batch in batches)
        return
    clients = remote_workers(scheduler) if scheduler is not None else local_workers(workers or 1)
    with clients as client:
        yield compute_on_workers(work, batches, client)


def check_workers(workers: int | None, scheduler: str | None = None) -> None:
    """Raises ValueError for fewer than one worker, or where both are given."""
    if workers is not None and workers < 1:
        raise Refusal(f"workers must be at least 1; got {workers}")
    if workers is not None and scheduler is not None:
        raise Refusal("workers and scheduler are two ways to the same end: give one")


def compute_on_workers[T](
    work: Work[T], batches: Sequence[int], client: Any
) -> Iterator[tuple[int, T]]:
    """Computes batches on the workers of a Dask client, as they come.

    A batch whose worker dies goes to another one; one that has killed several is lost.

    Args:
        work: what to compute; what it reads from files workers find at the same place as here.
        batches: numbers of the batches.
        client: a `distributed.Client`.
    """
    from distributed import KilledWorker, as_completed

    x64 = bool(jax.config.jax_enable_x64)
    waiting = iter(batches)

    def submit(batch: int) -> Any:
        key = f"probrev-batch-{batch}"
        return client.submit(_work, work.compute, batch, x64, key=key, pure=False)

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
            results = future.result()
        except KilledWorker as error:
            results = work.lost(batch, f"every worker that tried died: {error}")
        future.release()
        for following in itertools.islice(waiting, 1):
            another = submit(following)
            numbers[another.key] = following
            running.add(another)
        yield batch, results


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


def _work[T](compute: Callable[[int], T], batch: int, x64: bool) -> T:
    """A batch in a worker, which is set up as the process that asks for it."""
    jax.config.update("jax_enable_x64", x64)
    return compute(batch)
