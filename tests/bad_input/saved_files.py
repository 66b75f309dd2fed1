"""Saved runs, checks and stores that are cut, changed or were never ours: a row a change."""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

import probrev as pr
from tests import small_runs
from tests.bad_input.rows import Answer, Row, ask

ATTRIBUTES = (
    b"\xff\xfe",
    "",
    "{",
    "null",
    "3",
    "[" * 20_000,
    '{"a": NaN}',
    np.zeros(3),
    7,
    "x" * 60_000,
)
# What makes an object that is no part of a model: it must not be made.
GADGETS = (
    ("probrev.nets.weights.archive:ZipFile", {"file": "precious", "mode": "w"}),
    ("probrev.cli.run:Path", {}),
    ("numpyro.distributions.continuous:np.memmap", {"filename": "precious", "mode": "w+"}),
    ("os:system", {"command": "rm precious"}),
    ("probrev.__main__:main", {}),
)


class Change(NamedTuple):
    """What is done to a good file, and whether the change must be refused; else it may be read."""

    name: str
    apply: Callable[[Path], Any]
    is_fatal: bool = True


def save_run(path: Path, with_model: bool) -> None:
    """A small comparison, saved with its model; or one of each group and no model, read sooner."""
    run = small_runs.full()
    if not with_model:
        tree = small_runs.of_one().tree.copy()
        for name in ("curve", "over_weights"):
            tree[name] = run.tree[name].copy()
        run = pr.Comparison(tree)
    run.save(path)


def _in_file(edit: Callable[[h5py.File], Any]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            edit(file)

    return apply


def _cut(share: float) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def _flip(seed: int) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        data = bytearray(path.read_bytes())
        for place in np.random.default_rng(seed).integers(len(data), size=20):
            data[place] ^= 0xFF
        path.write_bytes(data)

    return apply


def _replace(name: str) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        del file[name]
        file[name] = np.zeros(2)

    return edit


def _other(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a"] = [1.0]


def _vast(file: h5py.File) -> None:
    del file["data/x"]
    file.create_dataset("data/x", (10**7, 10**7), "f8", chunks=(100, 100), compression="gzip")


def _gadget(path: str, fields: dict[str, Any]) -> Callable[[h5py.File], None]:
    def edit(file: h5py.File) -> None:
        records = json.loads(file["models"].attrs["records"])
        for record in records:
            record["structure"] = {"class": path, "fields": fields}
        file["models"].attrs["records"] = json.dumps(records)

    return edit


def changes(path: Path) -> Iterator[Change]:
    """Everything that is done to a saved run.

    Args:
        path: a good one.
    """
    for share in (0.0, 0.001, 0.1, 0.5, 0.9, 0.999):
        yield Change(f"cut at {share}", _cut(share))
    for text in (b"", b"text", b"\x89HDF\r\n\x1a\n", b"CDF\x01", b"PK\x03\x04", b"\0" * 4096):
        yield Change(f"{text[:8]!r}", lambda path, text=text: path.write_bytes(text))
    for seed in range(8):
        yield Change(f"bytes flipped, {seed}", _flip(seed), is_fatal=False)
    yield Change("other HDF5", _other)
    yield Change("vast", _in_file(_vast))
    with h5py.File(path) as file:
        names: list[str] = []
        file.visit(names.append)
        groups = [name for name in file if isinstance(file[name], h5py.Group)]
        variables = [name for name in names if isinstance(file[name], h5py.Dataset)]
    needed = ("data", "inverses", "metrics", "posteriors", "table", "verdicts", "glossary")
    for name in groups:
        yield Change(f"without {name}", _in_file(lambda f, n=name: f.pop(n)), name in needed)
        yield Change(f"{name} an array", _in_file(_replace(name)), name in needed)
    for name in variables[::9]:
        yield Change(f"without {name}", _in_file(lambda f, n=name: f.pop(n)), False)
    for name in ("verdicts/word", "table/value", "inverses/h", "glossary/sentence"):
        yield Change(f"without {name}", _in_file(lambda f, n=name: f.pop(n)))
    for value in ATTRIBUTES:
        for where, name in (("metrics/gibbs", "doubt"), ("/", "parameters")):
            yield Change(
                f"{where}@{name} = {str(value)[:9]!r}",
                _in_file(lambda f, w=where, n=name, v=value: f[w].attrs.__setitem__(n, v)),
                is_fatal=False,
            )


def changes_of_models() -> Iterator[Change]:
    """What is done to a saved run that has its model."""
    for value in ATTRIBUTES[2:8]:
        yield Change(
            f"models@records = {str(value)[:9]!r}",
            _in_file(lambda f, v=value: f["models"].attrs.__setitem__("records", v)),
        )
    for gadget, fields in GADGETS:
        yield Change(f"models: {gadget}", _in_file(_gadget(gadget, fields)), is_fatal=False)


def answers(good: Path, rows: Iterable[Change]) -> Iterator[Answer]:
    """What `pr.load` says to every change.

    Args:
        good: a saved run.
        rows: what is done to it.
    """
    folder = good.parent
    precious = folder / "precious"
    for number, change in enumerate(rows):
        path = folder / f"run{number}.nc"  # HDF5 may hold on to a broken one
        precious.write_text("precious")
        shutil.copy(good, path)
        change.apply(path)
        start = time.perf_counter()
        answer = ask(Row(change.name, path.name), lambda _, path=path: pr.load(path))
        if answer.wrong == "accepted" and not change.is_fatal:
            answer = answer._replace(wrong="")
        if precious.read_text() != "precious":
            answer = answer._replace(wrong="a file was emptied")
        yield answer._replace(seconds=time.perf_counter() - start)
