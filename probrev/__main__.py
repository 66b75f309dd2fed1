"""The command line, from its first import on: `python -m probrev`, and the command `probrev`."""

import signal
import sys

from probrev.plumbing import stdout
from probrev.plumbing.interrupts import insisting

BAD_INPUT, INTERRUPTED, BROKEN_PIPE = 2, 130, 141


def start() -> int:
    """Runs the command of this process and returns its exit status.

    Ctrl-C ends it at any moment, in a line, and so does a stdout that takes no more; a reader of it
    that goes away needs no line. Shells expect 130 and 141 then.
    """
    with insisting() as asked:
        try:
            from probrev.cli import main
            from probrev.cli.surroundings import settle

            settle()
            status = main()
            sys.stdout.flush()
        except KeyboardInterrupt:
            status = _say("interrupted; no file was left half-written", INTERRUPTED)
        except BrokenPipeError:
            stdout.abandon()
            status = BROKEN_PIPE
        except OSError as error:
            if not stdout.is_unwritable():
                raise
            stdout.abandon()
            status = _say(f"cannot write to stdout: {error.strerror}", BAD_INPUT)
        if asked.is_set() and status == 0:
            status = _say("interrupted, when its work was done", INTERRUPTED)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left but Python's own way out
    return status


def _say(message: str, status: int) -> int:
    print("probrev:", message, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(start())
