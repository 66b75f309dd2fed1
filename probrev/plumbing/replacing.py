"""Writing a file whole or not at all."""

import os
import platform
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a temporary name beside `path`, which takes its place only if the block succeeds.

    What processes that were killed have left of such names in the folder is removed.
    """
    path = Path(path)
    clear_leftovers(path.parent)
    partial = temporary_beside(path)
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """A name beside `path` that says whose it is: it is removed when that process is no more."""
    return path.with_name(f".{os.getpid()}{_here()}{path.name}")


def clear_leftovers(folder: Path) -> None:
    """Removes from a folder what processes of this machine that are no more have half-written."""
    ours = re.compile(rf"\.(\d+){re.escape(_here())}.")
    with suppress(OSError):
        for entry in os.scandir(folder):
            found = ours.match(entry.name)
            if found is None or _is_alive(int(found[1])):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink(missing_ok=True)


def _here() -> str:
    """The machine in a temporary name: another machine's processes cannot be looked for here."""
    return f"@{re.sub(r'[^A-Za-z0-9.]', '', platform.node())[:32]}-"


def _is_alive(pid: int) -> bool:
    if os.name == "nt":  # where a signal of number 0 would end it
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
