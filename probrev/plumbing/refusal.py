"""Refusals: what a user asked for and cannot have, said in words, is told from a defect of ours.

Each is a built-in exception too, and caught as one. The command line says a refusal in a line, with
exit status 2; any other error is a defect of ours, and keeps its traceback.
"""


class Refusal(ValueError):  # noqa: N818
    """Input that is refused: the message names it, what was expected, what came and what to do."""


class TypeRefusal(TypeError):  # noqa: N818
    """Input of another type than was expected."""


class MissingFileRefusal(FileNotFoundError):  # noqa: N818
    """A file or folder that does not exist."""


class ExistingFileRefusal(FileExistsError):  # noqa: N818
    """A file that exists, and is not overwritten."""


REFUSALS = (Refusal, TypeRefusal, MissingFileRefusal, ExistingFileRefusal)
