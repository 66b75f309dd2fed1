"""Whose fault an error is: a model file's code runs among ours, and what it raises has a line."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from probrev.plumbing.refusal import REFUSALS, Refusal

PACKAGE = Path(__file__).parents[1]
# Errors whose message says what they are; of others the type is said too.
SELF_EXPLAINING = (ValueError, TypeError, ImportError, OSError)
# No more of a message is repeated: compilers write pages.
LONGEST = 400


@contextmanager
def refusing(name: str, path: Path, about: str = "") -> Iterator[None]:
    """Turns whatever a model file raises, or has refused, into a refusal that names its line.

    An error that our code raises on the way is a defect of ours, and passes; so does an interrupt.

    Args:
        name: what the user calls the model.
        path: its file.
        about: what was asked of it, to begin the cause.

    Raises:
        ValueError: the file raised something, sys.exit included, or gave what is refused.
    """
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        line = line_at_fault(error, path)
        if line is None and not isinstance(error, REFUSALS):
            raise
        where = name if line is None else f"{name}, line {line}"
        raise Refusal(f"model {where}: {about}{cause(error)}") from error


@contextmanager
def refusing_late(name: str, path: Path) -> Iterator[None]:
    """The same for code of ours that calls the file's functions now and then: only what they raise.

    What our code refuses by itself is said as it is.
    """
    try:
        yield
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        if line_at_fault(error, path) is None:
            raise
        with refusing(name, path):
            raise


def line_at_fault(error: BaseException, path: Path) -> int | None:
    """The line of a model file that went wrong, or called what did.

    None if it has no part in it, or if our code lies between and did not refuse it in words.

    Args:
        error: as caught.
        path: the model file.
    """
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if Path(frame.filename) == path.absolute():
            return frame.lineno
        if _is_ours(frame) and not isinstance(error, REFUSALS):
            break
    return None


def cause(error: BaseException, typed: bool = False) -> str:
    """An error in one line: its message, and its type where that is not said by it, or asked."""
    try:
        said = " ".join(str(error).split())
    except Exception:  # a message that cannot even be written
        said = ""
    if typed or not said or not isinstance(error, SELF_EXPLAINING):
        said = f"{type(error).__name__}: {said}".removesuffix(": ")
    return said if len(said) <= LONGEST else f"{said[:LONGEST]} ..."


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return Path(frame.filename).is_relative_to(PACKAGE) and not Path(frame.filename).is_relative_to(
        PACKAGE / "models"
    )
