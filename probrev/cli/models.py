"""`probrev models`: what can be compared, and what can be set."""

from rich.table import Table

from probrev.cli.console import Console
from probrev.runs import registry


def models() -> None:
    """Lists the named models and the parameters that --set can change."""
    console = Console(highlight=False)
    for name in registry.available():
        info = registry.describe(name)
        console.print(f"[bold]{name}[/bold]  {info.summary}", soft_wrap=True)
        console.print(_parameters(info))


def _parameters(info: registry.ModelInfo) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for parameter in info.parameters:
        default = "required" if parameter.default is None else f"= {parameter.default}"
        table.add_row(parameter.name, default, parameter.meaning)
    return table
