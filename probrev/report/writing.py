"""Templates filled in: one self-contained HTML file, whole or not at all."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

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
    content = describe()
    # Text between the tags must be what the hash is of, to the letter.
    script = (files("probrev.report") / "templates" / "page.js").read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    templates.globals |= {
        "linked": content.get("linked", Markup.escape),
        "script": Markup(script),
        "script_hash": Markup(f"sha256-{digest}"),
    }
    html = templates.get_template(template).render(content)
    with replacing(path) as partial:
        partial.write_text(html, encoding="utf-8")
