"""The command line. Commands are loaded when they run, so that help is quick."""

import errno
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError

from probrev.cli.console import Console
from probrev.plumbing import stdout
from probrev.plumbing.refusal import REFUSALS

BAD_INPUT = 2
INCONCLUSIVE = 3
INTERRUPTED = 130
# A disk that is full, has no quota or room for so large a file, or is read-only.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

app = App(
    name="probrev",
    help="How close is a feedforward ReLU net to Bayesian inference?",
    help_format="plaintext",
    version=lambda: version("probrev"),
    suppress_keyboard_interrupt=False,
    console=Console(),
)
app.command("probrev.cli.models:models", name="models", help="List the named models.")
app.command(
    "probrev.cli.compare:compare",
    name="compare",
    help="Compare nets with a model's posterior; write a run and a report.\n\n"
    "Exit status: 0 done, 3 inconclusive or misfit (no verdict stands), 2 bad input.",
)
app.command(
    "probrev.cli.check:check",
    name="check",
    help="Check that a method's posteriors are a model's; killed, the same command resumes.\n\n"
    "Exit status: 0 calibrated or undecided, 3 miscalibrated or inconclusive, 2 bad input.",
)
app.command(
    "probrev.cli.sweep:sweep",
    name="sweep",
    help="Compute a grid of comparisons; killed, the same command resumes.\n\n"
    "Exit status: 0 done, 3 some cells failed or are not to be trusted, 2 bad input.",
)
app.command(
    "probrev.cli.weights:weights",
    name="weights",
    help="Hold a net's trained weights against random ones; write a page.\n\n"
    "Exit status: 0 done, whatever the verdict, 2 bad input.",
)
app.command("probrev.cli.report:report", name="report", help="Write a saved run's report anew.")
app.command(
    "probrev.cli.verify:verify",
    name="verify",
    help="Compute a saved run's table and verdicts again, and compare.\n\n"
    "Exit status: 0 all agree, 3 convicted: a number does not follow from the run, 2 bad input.",
)
app.command(
    "probrev.cli.completion:completion",
    name="completion",
    help="Print a script that lets a shell complete commands and options.\n\n"
    "bash: > ~/.local/share/bash-completion/completions/probrev\n\n"
    "zsh: > _probrev, in a folder of $fpath\n\n"
    "fish: > ~/.config/fish/completions/probrev.fish",
)


def main(tokens: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status.

    Args:
        tokens: the command's words; by default those of this process.

    Returns:
        0 done, 3 inconclusive or misfit, 2 bad input or no room on a disk (said in one line on
        stderr), 130 interrupted. A defect of ours leaves as an exception, which Python turns into a
        traceback and status 1.
    """
    try:
        status = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _complain(f"{error} See probrev --help.", BAD_INPUT)
    except REFUSALS as error:
        return _complain(str(error), BAD_INPUT)
    except KeyboardInterrupt as error:
        said = str(error) or "interrupted; no file was left half-written"
        return _complain(said, INTERRUPTED)
    except OSError as error:
        if error.errno not in NO_ROOM or stdout.is_unwritable():
            raise
        what = error.filename or "a file"
        said = f"cannot write {what}: {error.strerror}; what is finished is kept"
        return _complain(said, BAD_INPUT)
    return status or 0


def _complain(message: str, status: int) -> int:
    print("probrev:", " ".join(message.split()), file=sys.stderr)
    return status
