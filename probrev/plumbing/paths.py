"""Paths as users give them: what no file system can hold is refused before anything else."""

import os
from pathlib import Path

from probrev.plumbing.refusal import Refusal, TypeRefusal


def check_path(name: str, value: object) -> None:
    """Raises ValueError for what cannot be a path: too long, with a NUL, a link to itself.

    Args:
        name: what it is, to begin the error.
        value: as given; a file need not be there.
    """
    if not isinstance(value, str | Path):
        raise TypeRefusal(f"{name} must be a path; got {type(value).__name__}")
    text = str(value)
    try:
        os.stat(text)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return  # who reads or writes there says so
    except (OSError, ValueError) as error:
        shown = text if len(text) <= 60 else f"{text[:40]}... of {len(text)} characters"
        raise Refusal(f"{name} {shown!r} cannot be a path: {error.args[-1]}") from None
