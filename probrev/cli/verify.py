"""`probrev verify`: a saved run's numbers computed again, and held against those that it has."""

from pathlib import Path

import probrev as pr
from probrev.cli import INCONCLUSIVE
from probrev.cli.console import Console
from probrev.plumbing.paths import check_path
from probrev.plumbing.refusal import Refusal


def verify(run: Path, /) -> int:
    """Computes a saved run's table and verdicts again, reruns what is cheap, and compares.

    A model file that the run names is run, if it has the text which the run has.

    Args:
        run: a file run.nc that `probrev compare` wrote, or `Comparison.save`.
    """
    check_path("run", run)
    if not run.is_file():
        raise Refusal(f"no run {run}: give the run.nc that probrev compare wrote")
    import numpyro  # loads JAX, which --help need not wait for
    from rich.table import Table

    from probrev.cli.programs import keep_programs

    numpyro.enable_x64()
    keep_programs()
    found = pr.verify(run)
    console = Console(highlight=False)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("what", "computed again"):
        table.add_column(name)
    for name in ("numbers", "largest", "relative"):
        table.add_column(name, justify="right")
    for row in found.rows:
        table.add_row(
            row.what, row.how, f"{row.number:,}", f"{row.absolute:.1g}", f"{row.relative:.1g}"
        )
    console.print(table)
    unverified: dict[str, list[str]] = {}
    for name, why in found.skipped.items():
        unverified.setdefault(why, []).append(name)
    lines = ["", *(f"not verified: {', '.join(one)}: {why}" for why, one in unverified.items())]
    differ = [f"differs: {row.what}: {row.worst}" for row in found.rows if not row.agrees]
    for line in (*lines, *differ, found.headline):
        console.print(line, soft_wrap=True, markup=False)
    return INCONCLUSIVE if found.convicted else 0
