"""What is refused is a Refusal, and what built-in exception it is too."""

import ast
from pathlib import Path

import pytest

import probrev as pr
from probrev.plumbing import refusal

ROOT = Path(pr.__file__).parent
PLAIN = {"ValueError", "TypeError", "FileNotFoundError", "FileExistsError"}


def raised_plainly(source):
    """Lines that raise a built-in exception where a Refusal says more."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and node.exc.func.id in PLAIN
    ]


def test_nothing_is_refused_by_a_built_in_exception():
    files = {path: path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py")}
    found = {str(path): raised_plainly(source) for path, source in files.items()}
    assert {path: lines for path, lines in found.items() if lines} == {}
    assert raised_plainly("raise ValueError('no')") == [1]


@pytest.mark.parametrize(
    ("kind", "built_in"),
    [
        (refusal.Refusal, ValueError),
        (refusal.TypeRefusal, TypeError),
        (refusal.MissingFileRefusal, FileNotFoundError),
        (refusal.ExistingFileRefusal, FileExistsError),
    ],
)
def test_a_refusal_is_caught_as_what_it_is(kind, built_in):
    with pytest.raises(built_in, match="why"):
        raise kind("why")
    assert kind in refusal.REFUSALS


def test_values_and_types_are_refused_apart():
    """What asks a model and goes on where it says no must not take a wrong type for a no."""
    assert not issubclass(refusal.TypeRefusal, ValueError)
    with pytest.raises(refusal.TypeRefusal, match="slab must be a NumPyro distribution"):
        pr.SpikeAndSlab(3, 0.5, "half-normal")  # pyright: ignore[reportArgumentType]
    with pytest.raises(pr.Refusal, match="n_hidden must be at least 1; got 0"):
        pr.SpikeAndSlab(0, 0.5, pr.FiniteSlab([1.0], [1.0]))


@pytest.mark.parametrize("kind", refusal.REFUSALS)
def test_a_refusal_is_a_line_that_can_be_printed_whatever_it_names(kind):
    said = str(kind("no \x1b[2J tensor\n\ud800: " + 10_000 * "a" + " is wrong"))
    assert said.startswith(r"no \x1b[2J tensor \ud800: aaa")
    assert said.endswith("aaa is wrong")
    assert said.isprintable()
    assert len(said) <= refusal.LONGEST
