"""Whose fault an error is: the line of a model file that raised it, or called what did."""

import traceback
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def line_at_fault(error: Exception, path: Path) -> int | None:
    """The line of a model file that went wrong, or called what did; None if our code lies between.

    Args:
        error: as caught.
        path: the model file.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename) == path.absolute():
            return frame.lineno
        if _is_ours(frame):
            break
    return None


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return Path(frame.filename).is_relative_to(PACKAGE)
