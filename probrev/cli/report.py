"""`probrev report`: the HTML report of a run, made anew from its file alone."""

import shutil
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import probrev as pr
from probrev.cli.run_folder import PROGRESS
from probrev.plumbing.paths import check_path
from probrev.plumbing.refusal import Refusal, taken_for


def report(run: Path, /, *, out: Annotated[Path | None, Parameter(name="--out")] = None) -> None:
    """Writes the report of a saved run.

    Args:
        run: a file run.nc that `probrev compare` or `probrev check` wrote.
        out: the HTML file; by default report.html beside the run. Replaced if it is there.
    """
    check_path("run", run)
    if not run.is_file():
        raise Refusal(f"no run {run}: give the run.nc that probrev compare or check wrote")
    target = out or run.with_name("report.html")
    check_path("--out", target)
    if target.is_dir() or not target.parent.is_dir() or target.resolve() == run.resolve():
        raise Refusal(f"--out {target}: expected an HTML file in a folder that exists")
    from probrev.comparison.comparison import read  # loads JAX, which --help need not wait for

    try:
        check = pr.load_calibration(run)
    except ValueError:
        check = None
    with taken_for(run, "a run that probrev compare or check wrote"):
        try:
            if check is None:
                pr.write_report(read(run), target)
            else:
                pr.write_calibration_report(check, target)
        except OSError as error:
            raise Refusal(f"--out {target}: cannot write there: {error}") from error
    shutil.rmtree(run.with_name(PROGRESS), ignore_errors=True)  # of a run that was killed just here
    print(target)
