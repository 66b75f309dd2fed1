import subprocess
import sys

import pytest

from probrev import cli
from probrev.inference.methods import METHODS
from probrev.inverses.rung_names import RUNGS

HEAVY = ("jax", "numpyro", "arviz", "matplotlib", "xarray", "pandas", "scipy", "numpy")
IMPORTED = """
import sys
from probrev import cli
status = cli.main({tokens!r})
print("imported:", *[name for name in {heavy!r} if name in sys.modules])
sys.exit(status)
"""


@pytest.mark.parametrize(
    "tokens",
    [
        ["--help"],
        ["compare", "--help"],
        ["report", "--help"],
        ["verify", "--help"],
        ["weights", "--help"],
        ["check", "--help"],
        ["--version"],
        ["models"],
    ],
)
def test_help_imports_nothing_heavy(tokens):
    script = IMPORTED.format(tokens=tokens, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "imported:"


def test_the_package_is_the_command_too():
    run = [sys.executable, "-m", "probrev"]
    done = subprocess.run([*run, "compare", "no_such_model"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("probrev: unknown model 'no_such_model'; named models: ")
    assert len(done.stderr.splitlines()) == 1


def test_help_names_every_command(probrev):
    status, out, _ = probrev("--help")
    assert status == 0
    assert all(name in out for name in ("models", "compare", "weights", "report", "verify"))


def test_help_names_every_method_and_rung(probrev):
    status, out, _ = probrev("compare", "--help")
    words = set(out.replace(",", " ").replace(";", " ").split())
    assert status == 0
    assert {*METHODS, *RUNGS} <= words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_options(probrev, shell):
    done = probrev("completion", shell)
    assert (done.status, done.err) == (0, "")
    for word in ("compare", "sweep", "num-simulations", "quiet"):
        assert word in done.out


def test_models_lists_every_model_with_its_parameters(probrev):
    status, out, _ = probrev("models")
    assert status == 0
    assert "one_layer" in out
    assert "baby_linear" in out
    assert "keep_prob" in out


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["comapre"], 'Did you mean "compare"?'),
        (["compare"], "requires an argument"),
        (
            ["compare", "one_layer", "--num-obs", "many"],
            "--num-obs: expected a whole number; got 'many'.",
        ),
        (["compare", "one_layer", "--num-obs", "0"], "--num-obs"),
        (["compare", "one_layer", "--num-weights", "0"], "--num-weights"),
        (["compare", "one_layer", "--seed", "-1"], "--seed"),
        (["compare", "one_layer", "--sed", "1"], "--seed"),
        (["compare", "one_layr"], "did you mean 'one_layer'?"),
        (["compare", "nowhere.py"], "no model file nowhere.py"),
        (["compare", "one_layer", "--set", "keep_prb=0.3"], "did you mean 'keep_prob'?"),
        (["compare", "one_layer", "--set", "keep_prob=half"], "expected float, got 'half'"),
        (["compare", "one_layer", "--set", "keep_prob"], "expected name=value"),
        (["compare", "one_layer", "--posterior", "exat"], "did you mean 'exact'?"),
        (["report", "nothing.nc"], "no run nothing.nc"),
        (["verify", "nothing.nc"], "no run nothing.nc"),
    ],
)
def test_bad_input_is_one_line_and_status_2(probrev, tmp_path, tokens, message):
    status, out, err = probrev(*tokens)
    assert (status, out) == (2, "")
    assert err.startswith("probrev: ")
    assert err.count("\n") == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_run(probrev, tmp_path):
    (tmp_path / "run.nc").write_text("not a run")
    status, _, err = probrev("report", "run.nc")
    assert status == 2
    assert "run.nc is not a saved comparison" in err
    assert err.count("\n") == 1


def test_a_report_never_replaces_its_run(probrev, tmp_path):
    (tmp_path / "run.nc").write_text("precious")
    status, _, err = probrev("report", "run.nc", "--out", tmp_path / "run.nc")
    assert status == 2
    assert "expected an HTML file" in err
    assert (tmp_path / "run.nc").read_text() == "precious"


def test_interruption_is_one_line_and_status_130(probrev, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    status, out, err = probrev("compare", "one_layer")
    assert (status, out) == (130, "")
    assert err == "probrev: interrupted; no file was left half-written\n"


def test_a_defect_of_ours_keeps_its_traceback(probrev, monkeypatch):
    def defective(*_, **__):
        return int("three")

    monkeypatch.setattr(cli, "app", defective)
    with pytest.raises(ValueError, match="invalid literal"):
        probrev("models")
