"""Refusals: what a user asked for and cannot have, said in words, is told from a defect of ours.

Each is a built-in exception too, and caught as one. The command line says a refusal in a line, with
exit status 2; any other error is a defect of ours, and keeps its traceback. What they name may come
from a file: they are a line that can be printed, whatever that is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The longest line: who reads a terminal must find what to do. What is longer is cut in its middle.
LONGEST = 600
_HEAD, _TAIL = 440, 155
# No more of what a library says of a file is repeated.
_MOST_SAID = 300


class _Line(Exception):  # noqa: N818
    """An exception whose words are one line of text."""

    def __str__(self) -> str:
        return in_a_line(super().__str__())


def in_a_line(text: str) -> str:
    """A text as a line that is not too long, with what cannot be printed written out."""
    words = " ".join(text.split())
    line = "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in words
    )
    return line if len(line) <= LONGEST else f"{line[:_HEAD]} ... {line[-_TAIL:]}"


class Refusal(_Line, ValueError):  # noqa: N818
    """Input that is refused: the message names it, what was expected, what came and what to do."""


class TypeRefusal(_Line, TypeError):  # noqa: N818
    """Input of another type than was expected."""


class MissingFileRefusal(_Line, FileNotFoundError):  # noqa: N818
    """A file or folder that does not exist."""


class ExistingFileRefusal(_Line, FileExistsError):  # noqa: N818
    """A file that exists, and is not overwritten."""


REFUSALS = (Refusal, TypeRefusal, MissingFileRefusal, ExistingFileRefusal)


@contextmanager
def taken_for(path: str | Path, what: str, remedy: str = "") -> Iterator[None]:
    """Says whatever goes wrong with what a file holds in one line: it is not what it should be.

    Args:
        path: the file.
        what: what it should be.
        remedy: what to do, such as "delete it, and it is computed again"; "" for nothing.

    Raises:
        ValueError: anything but a refusal was raised.
    """
    try:
        yield
    except REFUSALS:
        raise
    except Exception as error:  # libraries raise what they like for what is broken
        said = " ".join(f"{type(error).__name__}: {error}".split())[:_MOST_SAID]
        to_do = f": {remedy}" if remedy else ""
        raise Refusal(
            f"{path} is not {what}, or another version wrote it ({said}){to_do}"
        ) from error
