"""Imports go one way, down the house; and `import probrev` costs next to nothing."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import probrev

ROOT = Path(probrev.__file__).parent

# Rooms from the ground up: a file may import from its own room and from those before it, never
# from those after. The public API is a place like a room, and only the command line is above it.
PUBLIC = "public API"
ROOMS = (
    "plumbing", "numerics", "model", "posterior", "boltzmann", "inference", "inverses", "theory",
    "nets", "comparison", "calibration", "runs", "report", PUBLIC, "cli",
)  # fmt: skip
HEAVY = ("jax", "numpyro", "arviz", "matplotlib", "numpy", "optax", "scipy", "xarray", "pandas")


def name_of(path):
    """A file's module: "probrev.model.layer"."""
    parts = ("probrev", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    name_of(path): path
    for path in sorted(ROOT.rglob("*.py"))
    if path.parent != ROOT and "models" not in path.relative_to(ROOT).parts
}


def room_of(module):
    return module.split(".")[1] if module in FILES else PUBLIC


def imports_of(path):
    """Modules of the package that a file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in FILES else node.module for name in names}
    return {name for name in found if name.split(".")[0] == "probrev"}


@pytest.mark.parametrize("module", FILES)
def test_imports_go_down(module):
    room = room_of(module)
    assert room in ROOMS, f"{room} has no place in the house: give it one"
    used = {room_of(name) for name in imports_of(FILES[module])}
    assert used <= {*ROOMS[: ROOMS.index(room) + 1]}


def test_no_imports_go_in_a_circle():
    graph = {module: imports_of(path) - {module} for module, path in FILES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_house_has_no_empty_rooms_and_nothing_lies_outside():
    assert {room_of(module) for module in FILES} == set(ROOMS) - {PUBLIC}
    assert {path.name for path in ROOT.glob("*.py")} == {"__init__.py", "__main__.py"}


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
    assert not {room_of(module) for module in FILES} & set(probrev.__all__)
