"""What users get: the wheel, built from the source distribution, in an empty environment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import probrev

ROOT = Path(__file__).parents[1]
TYPED = """
import probrev as pr

reveal_type(pr.exact)
wrong: int = pr.read_layers("net.npy")
"""


def run(*words, cwd):
    leaks = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_PYTHON")
    kept = {name: value for name, value in os.environ.items() if name not in leaks}
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, env=kept, capture_output=True, text=True
    )


def call_uv(*words):
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        pytest.fail("this test needs uv: run it by `uv run pytest -m slow`")
    # In the checkout, since version managers choose the version of uv by folder.
    return run(uv, *words, cwd=ROOT)


def find_python(minor):
    """An interpreter of that version: this one, one that uv finds, or one of pyenv's."""
    if minor == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = call_uv("python", "find", "--no-project", minor)
    if found.returncode == 0:
        return found.stdout.strip()
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return next(iter(pyenv.glob(f"versions/{minor}*/bin/python")), None)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    done = call_uv("build", "--out-dir", folder, ROOT)  # the wheel from the source distribution
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    assert path.name == f"probrev-{probrev.__version__}-py3-none-any.whl"
    assert (folder / f"probrev-{probrev.__version__}.tar.gz").is_file()
    return path


@pytest.fixture(scope="module", params=["3.12", "3.13"])
def installed(request, wheel, tmp_path_factory):
    """Folder with the programs of a fresh environment that has the wheel and what it depends on."""
    found = find_python(request.param)
    if found is None:
        pytest.skip(f"Python {request.param} is not on this machine")
    folder = tmp_path_factory.mktemp("environment")
    python = folder / "bin" / "python"
    for words in (
        ("venv", "--python", found, folder),
        ("pip", "install", "--python", python, wheel, "mypy"),
    ):
        done = call_uv(*words)
        assert done.returncode == 0, done.stderr
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
    words = ["compare", "one_layer", "--num-obs", "16", "--set", "n_visible=40", "--out", "run"]
    done = run(installed / "probrev", *words, cwd=tmp_path)
    assert done.returncode in (0, 3), done.stderr
    assert "run/report.html" in done.stdout
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["report.html", "run.nc"]


@pytest.mark.slow
def test_type_checkers_see_the_types_of_the_wheel(installed, tmp_path):
    script = tmp_path / "typed.py"
    script.write_text(TYPED)
    python = installed / "python"
    said = {
        "mypy": run(python, "-m", "mypy", script, cwd=tmp_path).stdout,
        "pyright": run("pyright", "--pythonpath", python, script, cwd=tmp_path).stdout,
    }
    for name, text in said.items():
        assert "Observations" in text, f"{name}: {text}"
        assert "-> probrev.posterior.posterior.Posterior" in text or "-> Posterior" in text, text
        # The second line is wrong, and no other is.
        assert text.count(" error: ") == 1, f"{name}: {text}"
        assert "TrainedLayer" in text
