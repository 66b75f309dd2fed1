"""Runs a row as words of the command line, in a folder of files."""

import contextlib
import io
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

from probrev import cli
from tests.bad_input.files import write_files
from tests.bad_input.rows import Answer, Row, fault_of, report, summary
from tests.bad_input.words import ROWS


def listing(folder: Path) -> dict[str, int]:
    """Every file of a folder, with its size."""
    return {
        str(path.relative_to(folder)): path.lstat().st_size for path in sorted(folder.rglob("*"))
    }


def ask(row: Row, folder: Path) -> Answer:
    """What came of a row: exit status 2, one line on stderr, none on stdout, no file written."""
    before = listing(folder)
    out, err = io.StringIO(), io.StringIO()
    start = time.perf_counter()
    wrong, status = "", None
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            status = cli.main(shlex.split(row.typed))
        except SystemExit as error:
            wrong = f"sys.exit({error.code})"
        except Exception as error:
            wrong = f"{type(error).__name__}: {str(error)[:200]}"
    seconds = time.perf_counter() - start
    line = err.getvalue()
    if not wrong and status != cli.BAD_INPUT:
        wrong = f"exit status {status}"
    if not wrong and out.getvalue():
        wrong = "something on stdout"
    wrong = wrong or fault_of(line, row.names)
    if not wrong and not line.startswith("probrev: "):
        wrong = "does not begin with probrev:"
    after = listing(folder)
    if not wrong and after != before:
        wrong = f"wrote {', '.join(sorted(set(after) ^ set(before))) or 'over a file'}"
    return Answer(row, seconds, line, wrong)


def main() -> int:
    """Asks every row of `words`; 1 if one is not refused well, or something heavy was loaded."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder)
        os.environ["COLUMNS"] = "200"
        answers = [ask(row, folder) for row in ROWS]
    loaded = {"jax", "numpyro", "arviz", "xarray", "matplotlib", "zarr"} & {*sys.modules}
    slow = [answer for answer in answers if answer.seconds > 1]
    print(report(answers))
    print(summary(answers), "; loaded:", *sorted(loaded))
    return int(bool(report(answers) or loaded or slow))


if __name__ == "__main__":
    sys.exit(main())
