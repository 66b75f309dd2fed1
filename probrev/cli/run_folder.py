"""The folder of a run while it is computed: one process at a time, and what it has done so far."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from probrev.cli.output import check_folder
from probrev.plumbing.refusal import Refusal, taken_for
from probrev.plumbing.replacing import replacing

# Inside the run's folder: its checkpoints, the command that they are of, and the lock.
PROGRESS, COMMAND, LOCK = ".progress", "command.json", "lock"


class Claim(NamedTuple):
    """A folder that this process alone writes.

    Attributes:
        checkpoints: folder of checkpoints.
        num_resumed: how many times the command was interrupted before, with checkpoints left.
    """

    checkpoints: Path
    num_resumed: int


@contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """Keeps every other process from computing a run in a folder, and has a place for checkpoints.

    That is removed at the end if there are none, and so is what was made for it and is empty.

    Args:
        folder: where the run will be; made if it is not there.

    Raises:
        ValueError: the folder cannot be written, or another process is at it.
    """
    from filelock import FileLock, Timeout

    made = [path for path in (folder, *folder.parents) if not path.exists()]
    progress = folder / PROGRESS
    lock = FileLock(progress / LOCK)
    try:
        progress.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise Refusal(
            f"--out {folder}: another process is computing a run there: wait for it, or choose "
            "another folder"
        ) from None
    except OSError as error:
        raise _cannot_write(folder, error) from error
    try:
        yield progress
    finally:
        if progress.exists() and not _checkpoints(progress):
            shutil.rmtree(progress, ignore_errors=True)
            for path in made:
                with suppress(OSError):
                    path.rmdir()
        lock.release()


@contextmanager
def claim(folder: Path, command: Mapping[str, Any]) -> Iterator[Claim]:
    """A folder for one run: nobody else writes there meanwhile, and it goes on where it was left.

    What is done on the way is removed when the block succeeds. When it does not, it stays for the
    same command, if there is anything.

    Args:
        folder: where the run will be; made if it is not there.
        command: what the run depends on, JSON-able.

    Raises:
        ValueError: the folder holds a run or another command's checkpoints, cannot be written, or
            another process is at it.
    """
    check_folder(folder)
    with alone(folder) as progress:
        check_folder(folder)  # the other one may have ended just now
        try:
            yield Claim(progress, _begin(folder, progress, command))
            shutil.rmtree(progress, ignore_errors=True)
        except KeyboardInterrupt:
            if _checkpoints(progress):
                raise KeyboardInterrupt(
                    f"interrupted; the same command with --out {folder} goes on from its "
                    "checkpoints"
                ) from None
            raise


def _begin(folder: Path, progress: Path, command: Mapping[str, Any]) -> int:
    """Holds the command against that of the checkpoints, and counts its interruptions."""
    path, wanted = progress / COMMAND, json.loads(json.dumps(dict(command)))
    num_resumed = 0
    if _checkpoints(progress):
        with taken_for(path, "the record of a run", f"delete {progress}"):
            found = json.loads(path.read_text(encoding="utf-8"))
            num_resumed = int(found.pop("num_resumed")) + 1
        if found != wanted:
            raise Refusal(
                f"--out {folder}: it holds checkpoints of another command, {found.get('command')}: "
                f"give that one, delete {progress}, or choose another folder"
            )
    try:
        with replacing(path) as partial:
            text = json.dumps({**wanted, "num_resumed": num_resumed}, indent=2)
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return num_resumed


def _checkpoints(progress: Path) -> list[Path]:
    return [path for path in progress.glob("*.npz") if not path.name.startswith(".")]


def write_run(
    folder: Path, run: str, report: str, save: Callable[[Path], None], page: Callable[[Path], None]
) -> None:
    """Writes a run and its report, neither of them half; elsewhere, if the folder does not take it.

    Args:
        folder: where to.
        run: name of the run's file.
        report: name of its report.
        save: writes the run to a path.
        page: writes the report to a path.

    Raises:
        ValueError: the folder cannot be written; says where the run is.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save(folder / run)
    except OSError as error:
        raise _cannot_write(folder, error, _save_elsewhere(run, save)) from error
    try:
        page(folder / report)
    except OSError as error:
        note = f"the run is saved: make room, then `probrev report {folder / run}`"
        raise _cannot_write(folder, error, note) from error


def _save_elsewhere(run: str, save: Callable[[Path], None]) -> str:
    """Saves a run in a temporary folder, and says where it is, or why it is not."""
    other = None
    try:
        other = Path(tempfile.mkdtemp(prefix="probrev-"))
        save(other / run)
    except OSError as error:
        if other is not None:
            shutil.rmtree(other, ignore_errors=True)
        return f"nor could the run be saved in {tempfile.gettempdir()} ({_why(error)})"
    return f"the run was saved as {other / run}, and `probrev report` makes its report"


def _cannot_write(folder: Path, error: OSError, note: str = "") -> Refusal:
    said = f"--out {folder}: cannot write there: {_why(error)}"
    return Refusal(f"{said}; {note}" if note else said)


def _why(error: OSError) -> str:
    return error.strerror or (os.strerror(error.errno) if error.errno else str(error))
