"""The figures of bad input: how many rows of each table, how many refused well, how quickly.

    uv run python -m tests.bad_input

Prints what was not refused well, a line for each table, and one for all; exits with 1 if anything
was not.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpyro

import probrev as pr
from tests.bad_input import (
    arguments,
    commands,
    grids,
    model_files,
    rows,
    saved_files,
    unfinished,
    weight_files,
)
from tests.bad_input.files import write_files
from tests.bad_input.rows import Answer, Row, report, summary
from tests.bad_input.words import ROWS


def of_arguments(folder: Path) -> Iterator[Answer]:
    """Arguments of the public functions and classes."""
    numpyro.enable_x64()
    with contextlib.chdir(folder):
        yield from [rows.ask(row, arguments.run) for row in arguments.ROWS]


def of_words(folder: Path) -> Iterator[Answer]:
    """Words of the command line."""
    yield from (commands.ask(row, folder) for row in ROWS)


def of_grids(folder: Path) -> Iterator[Answer]:
    """Grids of sweeps."""
    for row in grids.ROWS:
        (folder / "grid.toml").write_text(row.typed)
        answer = commands.ask(Row("sweep grid.toml", row.names), folder)
        yield answer._replace(row=row)


def of_model_files(folder: Path) -> Iterator[Answer]:
    """Files with a model."""
    yield from (model_files.ask(case, folder) for case in model_files.CASES)


def of_saved_files(folder: Path) -> Iterator[Answer]:
    """Saved runs."""
    good, whole = folder / "good.nc", folder / "whole.nc"
    saved_files.save_run(good, with_model=False)
    saved_files.save_run(whole, with_model=True)
    yield from saved_files.answers(good, saved_files.changes(good))
    yield from saved_files.answers(whole, saved_files.changes_of_models())


def of_unfinished(folder: Path) -> Iterator[Answer]:
    """Interrupted work that is gone on with."""
    yield from unfinished.answers(folder / "unfinished")


def of_weight_files(folder: Path) -> Iterator[Answer]:
    """Files of weights."""
    yield from weight_files.answers(folder, weight_files.files())


# Words first: in a process that has loaded nothing yet.
TABLES = (
    of_words,
    of_arguments,
    of_grids,
    of_model_files,
    of_weight_files,
    of_saved_files,
    of_unfinished,
)


def main() -> int:
    """Asks every row of every table; 1 if one is not refused well."""
    os.environ["COLUMNS"] = "200"
    every: list[Answer] = []
    for table in TABLES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_files(folder)
            answers = list(table(folder))
        every += answers
        _say(table.__name__.removeprefix("of_").replace("_", " "), answers)
    _say(f"probrev {pr.__version__}, all", every)
    return int(bool(report(every)))


def _say(name: str, answers: list[Answer]) -> None:
    if wrong := report(answers):
        print(wrong)
    well = sum(not answer.wrong for answer in answers)
    print(f"{name}: {well} of {len(answers)} well; {summary(answers)}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
