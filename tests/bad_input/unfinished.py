"""Work that was interrupted, and whose files were cut or changed since: a row a change.

It goes on to the numbers that it would have had, or is refused in a line that names the file.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np
from numpyro.distributions import HalfNormal

import probrev as pr
from probrev.cli.run_folder import COMMAND, PROGRESS, claim
from probrev.inference.gibbs import chain
from probrev.runs.sweeps.cell import Row as Cell
from tests.bad_input.rows import Answer, Row, ask
from tests.calibration import plain

TEXTS = (b"", b"text", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\0" * 4096, b"\xff\xfe")
DOCUMENTS = (b"null", b"3", b"[]", b'"x"', b"{}", b'{"num_resumed": Infinity}', b"[" * 20_000)
RUN = {"command": "probrev compare one_layer"}


class KilledError(Exception):
    """Stands for a process that is killed."""


class Work(NamedTuple):
    """What is interrupted: how it is begun and gone on with, and which of its files are changed."""

    name: str
    begin: Callable[[Path], Any]
    go_on: Callable[[Path], Any]
    files: tuple[str, ...]
    flips: int


def _gibbs(path: Path, progress: Callable[[int, int], None] = lambda *_: None) -> Any:
    model = pr.LayeredModel(
        pr.SpikeAndSlab(2, 0.4, HalfNormal(1.0)), [pr.Layer(np.eye(3, 2), 0.7, 0.5)]
    )
    return pr.gibbs(
        jax.random.key(0), model, pr.Observations(np.ones((1, 3))), num_warmup=10, num_samples=40,
        num_chains=2, checkpoint=path / "gibbs.npz", progress=progress,
    ).draws  # fmt: skip


def _half(path: Path) -> None:
    def kill(done: int, total: int) -> None:
        if done > total // 2:
            raise KilledError

    with (
        mock.patch.multiple(chain, CHUNK_STEPS=7, SECONDS_BETWEEN_CHECKPOINTS=0.0),
        suppress(KilledError),
    ):
        _gibbs(path, kill)


def _check(path: Path) -> Any:
    found = pr.check_calibration(
        jax.random.key(0), plain.MODEL, plain.infer, num_simulations=20, store=path / "check"
    )
    return found.simulations["rank"].to_numpy()


def _grid() -> pr.Grid:
    model = Path(__file__).parents[1] / "runs" / "sweeps" / "model.py"
    return pr.Grid(
        model=str(model), axes={"noise_std": (0.5, 1.0)}, inverses=("universal",), num_obs=3
    )


def _cell(grid: pr.Grid, number: int) -> Cell:
    """A cell that costs nothing."""
    return {"status": "ok", "reason": "", "energy": float(number)}


def _sweep(path: Path) -> Any:
    with mock.patch("probrev.runs.sweeps.cell.compute_cell", _cell):
        return pr.sweep(_grid(), path / "s.zarr")["energy"].to_numpy()


def _run(path: Path) -> Any:
    with suppress(KilledError), claim(path / "run", RUN) as claimed:
        (claimed.checkpoints / "gibbs-0.npz").write_text("draws")
        raise KilledError
    return 0


ARRAYS = ("energy", "status", "done")
WORKS = (
    Work("gibbs", _half, _gibbs, ("gibbs.npz",), 40),
    Work("check", _check, _check, ("check/check.json", "check/batch-0000.nc"), 0),
    Work(
        "sweep", _sweep, _sweep,
        ("s.zarr/zarr.json", *(f"s.zarr/{name}/zarr.json" for name in ARRAYS)), 0,
    ),
    Work("run", _run, _run, (f"run/{PROGRESS}/{COMMAND}",), 0),
)  # fmt: skip


def _damages(work: Work, good: bytes) -> Iterator[tuple[str, bytes]]:
    for share in (0.1, 0.5, 0.9, 0.999):
        yield f"cut at {share}", good[: int(share * len(good))]
    for text in (*TEXTS, *DOCUMENTS):
        yield f"{text[:12]!r}", text
    for seed in range(work.flips):
        data, rng = bytearray(good), np.random.default_rng(seed)
        for place in rng.integers(len(data), size=1 + seed % 20):
            data[place] ^= rng.integers(1, 256)
        yield f"bytes flipped, {seed}", bytes(data)


def answers(folder: Path, every: int = 1) -> Iterator[Answer]:
    """What work says that goes on after each change of its files.

    Args:
        folder: made if it is not there.
        every: 3 for every third change.
    """
    for work in WORKS:
        begun, changed = folder / work.name, folder / "changed"
        begun.mkdir(parents=True)
        work.begin(begun)
        shutil.copytree(begun, folder / "whole")
        whole = work.go_on(folder / "whole")
        shutil.rmtree(folder / "whole")
        for file in work.files:
            for damage, content in islice(
                _damages(work, (begun / file).read_bytes()), 0, None, every
            ):
                shutil.copytree(begun, changed)
                (changed / file).write_bytes(content)
                yield _asked(f"{work.name}: {file}: {damage}", work, changed, whole)
                shutil.rmtree(changed)


def _asked(name: str, work: Work, folder: Path, whole: Any) -> Answer:
    start, found = time.perf_counter(), []
    answer = ask(Row(name, str(folder)), lambda _: found.append(work.go_on(folder)))
    if found:
        same = np.array_equal(found[0], whole, equal_nan=np.asarray(whole).dtype.kind == "f")
        answer = answer._replace(wrong="" if same else "other numbers")
    return answer._replace(seconds=time.perf_counter() - start)
