"""The wheel, in an empty environment, far from the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*words, cwd):
    leaks = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    kept = {name: value for name, value in os.environ.items() if name not in leaks}
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, env=kept, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder with the programs of a fresh environment that has the wheel and what it depends on."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.fail("this test needs uv: run it by `uv run pytest -m slow`")
    folder = tmp_path_factory.mktemp("wheel")
    python = folder / "venv" / "bin" / "python"

    def call_uv(*words):
        # In the checkout, since version managers choose the version of uv by folder.
        done = run(uv, *words, cwd=ROOT)
        assert done.returncode == 0, done.stderr

    call_uv("build", "--wheel", "--out-dir", folder, ROOT)
    call_uv("venv", "--python", sys.executable, folder / "venv")
    call_uv("pip", "install", "--python", python, *folder.glob("*.whl"))
    return python.parent


@pytest.mark.slow
def test_named_models_come_from_the_wheel(installed, tmp_path):
    done = run(installed / "probrev", "models", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for path in (ROOT / "models").glob("*.py"):
        assert path.stem in done.stdout
    script = (
        "import importlib.util, probrev.runs.registry as r;"
        "print(importlib.util.find_spec('models'), *r.available().values(), sep='\\n')"
    )
    first, *paths = run(installed / "python", "-c", script, cwd=tmp_path).stdout.splitlines()
    assert first == "None"
    assert paths
    assert all(Path(path).is_relative_to(installed.parent) for path in paths)


@pytest.mark.slow
def test_a_comparison_runs_from_the_wheel(installed, tmp_path):
    words = ["compare", "baby_linear", "--num-obs", "2", "--out", "run"]
    done = run(installed / "probrev", *words, cwd=tmp_path)
    assert done.returncode in (0, 3), done.stderr
    assert "run/report.html" in done.stdout
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["report.html", "run.nc"]
