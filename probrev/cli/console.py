"""The terminal."""

import rich.console


class Console(rich.console.Console):
    """rich's, but that it leaves a broken pipe to whoever runs the command."""

    def on_broken_pipe(self) -> None:
        """Raises what it was called for; rich would end the process with status 1."""
        raise
