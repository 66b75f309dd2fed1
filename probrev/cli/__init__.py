"""The command line. Commands are loaded when they run, so that help is quick."""

import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError

from probrev.plumbing.refusal import REFUSALS

BAD_INPUT = 2
INCONCLUSIVE = 3
INTERRUPTED = 130

app = App(
    name="probrev",
    help="How close is a feedforward ReLU net to Bayesian inference?",
    help_format="plaintext",
    version=lambda: version("probrev"),
    suppress_keyboard_interrupt=False,
)
app.command("probrev.cli.models:models", name="models", help="List the named models.")
app.command(
    "probrev.cli.compare:compare",
    name="compare",
    help="Compare nets with a model's posterior; write a run and a report.\n\n"
    "Exit status: 0 done, 3 inconclusive (a posterior is not to be trusted), 2 bad input.",
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


def main(tokens: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status.

    Args:
        tokens: the command's words; by default those of this process.

    Returns:
        0 done, 3 inconclusive, 2 bad input (said in one line on stderr), 130 interrupted. A defect
        of ours leaves as an exception, which Python turns into a traceback and status 1.
    """
    try:
        status = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
    except KeyboardInterrupt:
        return _complain("interrupted; no file was left half-written", INTERRUPTED)
    except CycloptsError as error:
        return _complain(f"{error} See probrev --help.", BAD_INPUT)
    except REFUSALS as error:
        return _complain(str(error), BAD_INPUT)
    return status or 0


def _complain(message: str, status: int) -> int:
    print("probrev:", " ".join(message.split()), file=sys.stderr)
    return status
