"""Standard output that takes no more."""

import io
import os
import sys


def is_unwritable() -> bool:
    """Whether not even a line end can be written, as on a full disk; asked after an error."""
    try:
        os.write(sys.stdout.fileno(), b"\n")
    except io.UnsupportedOperation:  # it is no file
        return False
    except OSError:
        return True
    return False


def abandon() -> None:
    """Drops what stdout holds, so that Python does not try it once more on its way out."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
