"""`probrev report`: the HTML report of a run, made anew from its file alone."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import probrev as pr
from probrev.comparison.comparison import read
from probrev.plumbing.refusal import Refusal


def report(run: Path, /, *, out: Annotated[Path | None, Parameter(name="--out")] = None) -> None:
    """Writes the report of a saved run.

    Args:
        run: a file run.nc that `probrev compare` wrote.
        out: the HTML file; by default report.html beside the run. Replaced if it is there.
    """
    target = out or run.with_name("report.html")
    if not run.is_file():
        raise Refusal(f"no run {run}: give the run.nc that probrev compare wrote")
    if target.is_dir() or not target.parent.is_dir() or target.resolve() == run.resolve():
        raise Refusal(f"--out {target}: expected an HTML file in a folder that exists")
    try:
        result = read(run)
    except (OSError, ValueError, KeyError) as error:
        raise Refusal(f"{run} is not a run that probrev compare wrote: {error}") from error
    pr.write_report(result, target)
    print(target)
