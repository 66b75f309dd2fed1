"""What README and the documentation tell a reader to type is right, and no public name is missing.

Their Python is in cells of `docs/`, which the build of the documentation (`.ci/run`) runs.
"""

import inspect
import re
import shlex
from pathlib import Path

import pytest

import probrev as pr
from probrev.cli import app

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TEXTS = [README, ROOT / "CONTRIBUTING.md", *PAGES]


def read_blocks(path, language):
    text = path.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def written_commands():
    blocks = "".join(block for path in TEXTS for block in read_blocks(path, "bash"))
    return sorted(set(re.findall(r"uv run(?: --extra \w+)? probrev (.*)", blocks)))


def test_readme_is_short():
    assert len(README.read_text().splitlines()) <= 150


def test_reference_has_every_public_name_once_and_as_what_it_is():
    pages = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    entries = re.findall(r"^\.\. auto(class|function):: (\w+)$", pages, re.MULTILINE)
    wanted = [("class" if inspect.isclass(getattr(pr, n)) else "function", n) for n in pr.__all__]
    assert sorted(entries) == sorted(wanted)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_python_of_a_page_is_in_cells_which_the_build_runs(path):
    assert not read_blocks(path, "python")


@pytest.mark.parametrize("command", written_commands())
def test_commands_are_ones_that_the_program_has(command):
    words = shlex.split(command, comments=True)
    app.parse_args(words, exit_on_error=False, print_error=False)


def test_python_of_readme_is_in_cells_of_guides_too():
    cells = [cell for path in PAGES for cell in read_blocks(path, r"\{code-cell\}")]
    blocks = read_blocks(README, "python")
    assert blocks
    assert not [block for block in blocks if block not in cells]
