"""What the terminal shows: progress on stderr, results on stdout."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from probrev.cli.console import Console
from probrev.cli.output import REPORT, RUN
from probrev.cli.pace import Pace

if TYPE_CHECKING:
    from probrev import Comparison


class Stages:
    """What long work tells stderr: its stages, and lines between them.

    Args:
        bars: of a terminal.
        quiet: whether nothing is said.
    """

    def __init__(self, bars: Progress, quiet: bool):
        self._bars, self._quiet = bars, quiet

    def __call__(self, name: str) -> Callable[[int, int], None]:
        """Begins a stage by name; what it returns is told how far the stage is: done, in all."""
        if not self._bars.console.is_terminal:
            return Pace(name, self.say)
        for earlier in self._bars.task_ids:
            self._bars.update(earlier, total=1, completed=1)
        task = self._bars.add_task(name, total=None)
        return lambda done, total: self._bars.update(task, completed=done, total=total)

    def say(self, line: str) -> None:
        """A line of its own, terminal or not."""
        if not self._quiet:
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def stages(quiet: bool = False) -> Iterator[Stages]:
    """Shows each stage of long work with its rate and time left: bars on a terminal, else lines."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=hidden) as bars:
        yield Stages(bars, quiet)


def print_result(result: "Comparison", folder: Path, read: str | None = None) -> None:
    """Prints what was read, the answer, its verdicts, each posterior, and the files."""
    from probrev.comparison.verdict import count_decimals, format_prob
    from probrev.report.fit import fit_lines

    console = Console(highlight=False)
    if read is not None:
        console.print(read, soft_wrap=True, markup=False)
    console.print(result.headline, soft_wrap=True, markup=False)
    console.print()
    trusted = [verdict for verdict in result.verdicts if verdict.posterior == result.judge]
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("net")
    table.add_column("risk ratio", justify="right")
    table.add_column(f"{format_prob(trusted[0].interval_prob)} interval")
    table.add_column("verdict")
    for verdict in trusted:
        known = verdict.low <= verdict.high
        digits = count_decimals(verdict.low, verdict.high)
        interval = f"[{verdict.low:.{digits}f}, {verdict.high:.{digits}f}]" if known else "none"
        table.add_row(verdict.inverse, f"{verdict.ratio:.2f}", escape(interval), verdict.word)
    console.print(table)
    lines = [""]
    reasons = json.loads(result.tree.attrs.get("methods", "{}"))
    for name, posterior in result.posteriors.items():
        lines.append(f"{name}: {posterior.status}, {posterior.status_reason}")
        if name in reasons:
            lines.append(f"    chosen because {reasons[name]}")
    lines += [*_over_weights(result), *fit_lines(result)]
    # A doubt is the first line already, and the same for every inverse.
    if result.judge not in result.doubts:
        lines += ["", *(verdict.sentence for verdict in trusted)]
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


def print_json(result: "Comparison", folder: Path, read: str | None = None) -> None:
    """Prints one JSON object: verdicts, every metric (NaN as null), and the files."""
    import pandas as pd

    tables = {"verdicts": pd.DataFrame(result.verdicts), "metrics": result.table()}
    said = {
        **({} if read is None else {"read": read}),
        "headline": result.headline,
        "conclusive": result.conclusive,
        "run": str(folder / RUN),
        "report": str(folder / REPORT),
        **{
            name: json.loads(str(table.to_json(orient="records", double_precision=15)))
            for name, table in tables.items()
        },
    }
    print(json.dumps(said, indent=2))
