"""Templates filled in: one self-contained HTML file, whole or not at all."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from probrev.plumbing.refusal import MissingFileRefusal
from probrev.plumbing.replacing import replacing


def write_page(template: str, describe: Callable[[], Mapping[str, Any]], path: str | Path) -> None:
    """Writes an HTML file that asks for no other.

    Args:
        template: its name.
        describe: makes what it needs, once it is certain that the file can be written.
        path: the file; replaced if it is there.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise MissingFileRefusal(f"{path.parent} does not exist: make the report's folder first")
    templates = Environment(
        loader=PackageLoader("probrev.report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    html = templates.get_template(template).render(describe())
    with replacing(path) as partial:
        partial.write_text(html, encoding="utf-8")
