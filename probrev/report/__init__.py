"""Results as self-contained HTML pages: a saved comparison, a check, the weights of a net."""

from pathlib import Path

from probrev.comparison.comparison import Comparison
from probrev.plumbing import door
from probrev.report.calibration import write_calibration_report
from probrev.report.page import describe
from probrev.report.weights import write_weights_report
from probrev.report.writing import write_page

__all__ = ["write_calibration_report", "write_report", "write_weights_report"]


@door.guard(result=door.instance_of(Comparison, "what pr.compare returns"), path=door.path)
def write_report(result: Comparison, path: str | Path) -> None:
    """Writes a comparison's report: one HTML file that asks for no other, whole or not at all.

    Everything on the page comes from `result.tree`, so a loaded run gives the same report.

    Args:
        result: a comparison, fresh or loaded.
        path: the HTML file; replaced if it is there.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    write_page("report.html", lambda: describe(result), path)
