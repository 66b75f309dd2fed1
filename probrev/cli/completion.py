"""`probrev completion`: what lets a shell complete commands and options."""

from typing import Literal

from probrev.cli import app


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Prints a script that lets a shell complete probrev's commands and options.

    Args:
        shell: the shell. Put what is printed for bash in
            ~/.local/share/bash-completion/completions/probrev, for zsh in a file _probrev in a
            folder of $fpath, for fish in ~/.config/fish/completions/probrev.fish.
    """
    print(app.generate_completion(shell=shell))
