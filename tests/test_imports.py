"""Imports go one way, down the house; and `import probrev` costs next to nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import probrev

ROOT = Path(probrev.__file__).parent

# From the ground up: a module may import those before it, never those after. A package is one
# place, and so is the public API as a whole.
PUBLIC = "public API"
ORDER = [
    "plumbing", "numerics", "model", "posterior", "boltzmann", "inference", "inverses",
    "theory", "nets", "comparison", "runs", "report", PUBLIC, "cli",
]  # fmt: skip
HEAVY = ("jax", "numpyro", "arviz", "matplotlib", "numpy", "optax", "scipy", "xarray", "pandas")


def house_of(path):
    """Which place of the order a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports_of(path):
    """Places that a file imports, at its top or inside functions, and under which names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = [node.module or ""]
            if node.module == "probrev":
                names = [f"probrev.{alias.name}" for alias in node.names]
        parts = [name.split(".") for name in names]
        found |= {
            part[1] if part[1:2] and part[1] in ORDER else PUBLIC
            for part in parts
            if part[0] == "probrev"
        }
    return found


FILES = sorted(
    path
    for path in ROOT.rglob("*.py")
    if path.parent != ROOT or path.stem not in ("__init__", "__main__")
    if "models" not in path.relative_to(ROOT).parts
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    place = house_of(path)
    assert place in ORDER, f"{place} has no place in the order: give it one"
    allowed = {*ORDER[: ORDER.index(place) + 1]}
    assert imports_of(path) <= allowed


def test_order_has_no_empty_places():
    assert {house_of(path) for path in FILES} == set(ORDER) - {PUBLIC}


@pytest.mark.parametrize("module", ["probrev", "probrev.cli"])
def test_importing_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert module in loaded
    assert not {name.split(".")[0] for name in loaded} & set(HEAVY)


def test_names_of_the_stub_exist():
    for name in probrev.__all__:
        assert getattr(probrev, name).__doc__


def test_no_name_of_the_stub_is_a_module():
    """Importing such a module would replace the name by the module."""
    assert not {house_of(path) for path in FILES} & set(probrev.__all__)
