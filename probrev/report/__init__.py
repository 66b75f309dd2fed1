"""A saved comparison as one self-contained HTML page."""

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from probrev.comparison import Comparison
from probrev.replacing import replacing
from probrev.report.page import describe

__all__ = ["write_report"]


def write_report(result: Comparison, path: str | Path) -> None:
    """Writes a comparison's report: one HTML file that asks for no other, whole or not at all.

    Everything on the page comes from `result.tree`, so a loaded run gives the same report.

    Args:
        result: a comparison, fresh or loaded.
        path: the HTML file; replaced if it is there.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent} does not exist: make the report's folder first")
    templates = Environment(
        loader=PackageLoader("probrev"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    html = templates.get_template("report.html").render(describe(result))
    with replacing(path) as partial:
        partial.write_text(html, encoding="utf-8")
