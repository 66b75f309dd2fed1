"""What the terminal shows: progress on stderr, results on stdout."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from probrev.cli.output import REPORT, RUN

if TYPE_CHECKING:
    from probrev import Comparison

# Begins a stage of the work by name; what it returns is told how far the stage is: done, in all.
Stages = Callable[[str], Callable[[int, int], None]]


@contextmanager
def stages() -> Iterator[Stages]:
    """Shows each stage of long work with its rate and time left, if stderr is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def stage(name: str) -> Callable[[int, int], None]:
            for earlier in bars.task_ids:
                bars.update(earlier, total=1, completed=1)
            task = bars.add_task(name, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield stage


def print_result(result: "Comparison", folder: Path) -> None:
    """Prints the verdicts against the most trusted posterior, each posterior, and the files."""
    console = Console(highlight=False)
    trusted = [v for v in result.verdicts if v.posterior == result.verdicts[0].posterior]
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("net")
    table.add_column("risk ratio", justify="right")
    table.add_column("95 % interval")
    table.add_column("verdict")
    for verdict in trusted:
        interval = f"[{verdict.low:.2f}, {verdict.high:.2f}]"
        table.add_row(verdict.inverse, f"{verdict.ratio:.2f}", escape(interval), verdict.word)
    console.print(table)
    lines = [""]
    reasons = json.loads(result.tree.attrs.get("methods", "{}"))
    for name, posterior in result.posteriors.items():
        lines.append(f"{name}: {posterior.status}, {posterior.status_reason}")
        if name in reasons:
            lines.append(f"    chosen because {reasons[name]}")
    lines += [*_over_weights(result), "", *(verdict.sentence for verdict in trusted)]
    for line in (*lines, "", folder / RUN, folder / REPORT):
        console.print(str(line), soft_wrap=True, markup=False)


def _over_weights(result: "Comparison") -> Iterator[str]:
    """The spread of the risk ratio over draws of the weights, a line per inverse."""
    if "over_weights" in result.tree:
        ratios = result.tree["over_weights"].to_dataset()["ratio"]
        for name in result.inverses:
            ratio = ratios.sel(inverse=name)
            yield (
                f"{name}: risk ratio {float(ratio.min()):.2f} to {float(ratio.max()):.2f} "
                f"over {ratio.size} draws of the weights"
            )


def print_json(result: "Comparison", folder: Path) -> None:
    """Prints one JSON object: verdicts, every metric (NaN as null), and the files."""
    import pandas as pd

    tables = {"verdicts": pd.DataFrame(result.verdicts), "metrics": result.table()}
    said = {
        "conclusive": result.conclusive,
        "run": str(folder / RUN),
        "report": str(folder / REPORT),
        **{
            name: json.loads(str(table.to_json(orient="records", double_precision=15)))
            for name, table in tables.items()
        },
    }
    print(json.dumps(said, indent=2))
