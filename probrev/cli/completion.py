"""`probrev completion`: what lets a shell complete commands and options."""

from typing import Literal

from probrev.cli import app


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Prints a script that lets a shell complete probrev's commands and options.

    Args:
        shell: the shell.
    """
    print(app.generate_completion(shell=shell))
