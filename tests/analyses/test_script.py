"""The command line that all analyses share: what `--set` takes and refuses, and every `--help`."""

import ast
import re
import runpy
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import xarray as xr

from analyses import script

ANALYSES = Path(script.__file__).parent
SOURCES = {
    path.relative_to(ANALYSES).with_suffix(""): path.read_text()
    for path in sorted(ANALYSES.rglob("*.py"))
}
QUESTIONS = [
    ".".join(("analyses", *path.parts)).removesuffix(".__main__")
    for path, source in SOURCES.items()
    if 'if __name__ == "__main__":' in source
]
SIZES = {"quick": {"num_obs": 3, "ends": (1.0, 2.0)}, "full": {"num_obs": 30, "ends": (0.5, 2.0)}}
CALLS: list[dict[str, Any]] = []


def compute(
    out: Path,
    *,
    num_obs: int,
    ends: tuple[float, float],
    laws: tuple[Literal["normal", "uniform"], ...] = ("normal",),
    nets: dict[str, int] | None = None,
    folder: Path = Path("nets"),
    **parameters,
) -> None:
    """Writes what it was asked for.

    Args:
        out: folder.
        num_obs: observations, as many
            as are wanted.
        ends: of an interval.
        laws: of the noise.
        nets: not text.
        folder: of nets.
        **parameters: of the model.
    """
    settings = {"num_obs": num_obs, "ends": ends, "laws": laws, "nets": nets, "folder": folder}
    CALLS.append(settings | parameters)
    script.save(out, "data", xr.Dataset({"num_obs": num_obs}))


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Runs the command line; its exit status, and what it printed on both streams."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["toy", *words])
        status = 0
        try:
            script.run(
                "A toy.", compute, lambda out: out, SIZES, model="one_layer", without=["noise_std"]
            )
        except SystemExit as exit_:
            status = exit_.code
        return (status, *capsys.readouterr())

    monkeypatch.chdir(tmp_path)
    CALLS.clear()
    return call


def test_settings_change_a_size(call):
    assert call("compute", "out")[0] == 0
    assert CALLS[-1] == {
        "num_obs": 3, "ends": (1.0, 2.0), "laws": ("normal",), "nets": None, "folder": Path("nets"),
    }  # fmt: skip
    words = ("num_obs=7", "ends=0.1,3", "laws=uniform,normal", "folder=a/b", "n_hidden=9")
    words = [part for word in words for part in ("--set", word)]
    assert call("compute", "out", "--size", "full", *words)[0] == 0
    assert CALLS[-1] == {
        "num_obs": 7, "ends": (0.1, 3.0), "laws": ("uniform", "normal"), "nets": None,
        "folder": Path("a/b"), "n_hidden": 9,
    }  # fmt: skip
    command = script.load(Path("out"), "data").attrs["command"]
    assert command.startswith("toy compute out --size full --set num_obs=7")


def test_parameters_of_the_model_are_read_by_its_description(call):
    np.save("W.npy", np.ones((2, 3)))
    assert call("compute", "out", "--set", "keep_prob=1", "--set", "weights=W.npy")[0] == 0
    assert CALLS[-1]["keep_prob"] == 1.0
    assert CALLS[-1]["weights"].shape == (2, 3)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "num_ops=3",
            "nothing is called 'num_ops' (did you mean 'num_obs'?); what can be set: ",
        ),
        ("noise_std=1", "nothing is called 'noise_std'"),
        (
            "nets=a",
            "nets cannot be given as text; what can be set: num_obs, ends, laws, ",
        ),
        ("num_obs=2.5", "num_obs=2.5: expected int, got '2.5'"),
        ("n_hidden=many", "n_hidden=many: expected int, got 'many'"),
        ("ends=1,2,3", "ends=1,2,3: expected tuple[float, float], got '1,2,3'"),
        ("laws=cauchy", "laws=cauchy: expected tuple[Literal['normal', 'uniform'], ...]"),
        ("num_obs", "--set num_obs: expected name=value"),
    ],
)
def test_settings_that_are_refused(call, setting, message):
    status, _, told = call("compute", "out", "--set", setting)
    assert status == 2
    assert told.startswith("python -m ")
    assert message in told
    assert len(told.splitlines()) == 1
    assert not CALLS
    assert not Path("out").exists()


def test_settings_are_given_once_and_to_compute(call):
    assert "num_obs is set twice" in call("compute", "out", *2 * ("--set", "num_obs=3"))[2]
    status, _, told = call("plot", "out", "--set", "num_obs=3")
    assert (status, "--set is for compute" in told) == (2, True)


def test_help_has_the_values_of_every_size(call):
    status, told, _ = call("--help")
    assert status == 0
    assert "num_obs=3 (quick) or 30 (full)  observations, as many as are wanted." in told
    assert "ends=1,2 (quick) or 0.5,2 (full)  of an interval." in told
    assert "laws=normal  of the noise." in told
    assert "parameters of the model one_layer:\n  n_visible=400  width of x." in told
    assert "noise_std" not in told
    assert "not from the command line: nets" in told


def test_data_of_another_run_are_refused(tmp_path):
    assert script.find_saved(tmp_path, "data", "a") is None
    script.save(tmp_path, "data", xr.Dataset({"x": 3}, attrs={"plan": "a"}))
    saved = script.find_saved(tmp_path, "data", "a")
    assert saved is not None
    assert saved["x"] == 3
    with pytest.raises(script.OtherRunError, match="holds another run: a; this one is b"):
        script.find_saved(tmp_path, "data", "b")


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_analysis_helps(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    for loaded in (name, f"{name}.__main__"):
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith(f"usage: python -m {name} ")
    assert "what --set changes, with its values at the size" in told
    assert "=None (" not in told  # an argument that a size leaves out, and that has no default


def test_one_file_reads_the_command_line():
    readers = [
        str(path)
        for path, source in SOURCES.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        if "argparse" in {*(alias.name for alias in node.names), getattr(node, "module", "")}
    ]
    assert readers == ["script"]


def test_commands_that_are_written_down_are_there():
    root = ANALYSES.parent
    texts = [path.read_text() for path in (root / "README.md", *(root / "docs").rglob("*.md"))]
    written = re.findall(r"python -m (analyses[\w.]*\w)", "\n".join([*texts, *SOURCES.values()]))
    assert {*written} == {*QUESTIONS}
