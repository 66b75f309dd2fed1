"""`probrev check`, as typed."""

import pytest

import probrev as pr

MODEL = """
from tests.calibration.plain import MODEL


def build():
    return MODEL
"""
SMALL = ("--set", "n_visible=40", "--set", "n_hidden=4", "--set", "max_active=2")


@pytest.fixture
def plain_gibbs(monkeypatch):
    """Gibbs replaced by exact draws that cost nothing; a fault by its width."""
    from tests.calibration.plain import infer

    width = {"widened": 1.0}

    def named(method):
        return lambda key, model, obs: infer(key, model, obs, **width)

    monkeypatch.setattr("probrev.cli.checking.named_method", named)
    monkeypatch.setattr("probrev.cli.checking.estimate_seconds", lambda method, model: 0.5)
    return width


@pytest.mark.slow
def test_a_right_method_is_calibrated(probrev, tmp_path, plain_gibbs):
    (tmp_path / "plain.py").write_text(MODEL)
    done = probrev("check", "plain.py", "--num-simulations", "120")
    assert done.status == 0
    assert done.err == "120 simulations, posteriors by gibbs, about 1 min\n"
    lines = done.out.splitlines()
    assert lines[0].startswith("Calibrated: nothing speaks against it; with 120 simulations")
    assert lines[2].split() == ["quantity", "p", "location", "spread"]
    assert lines[-2:] == ["runs/check-plain/run.nc", "runs/check-plain/report.html"]
    folder = tmp_path / "runs" / "check-plain"
    found = pr.load_calibration(folder / "run.nc")
    assert found.provenance["command"] == (
        "probrev check plain.py --method gibbs --num-simulations 120 --seed 0"
    )
    page = (folder / "report.html").read_text()
    # The same command goes on, and has nothing left to do.
    again = probrev("check", "plain.py", "--num-simulations", "120")
    assert again.out == done.out
    other = probrev("check", "plain.py", "--num-simulations", "140")
    assert other.status == 2
    assert "batches holds another check (its num_simulations differs)" in other.err
    (folder / "report.html").unlink()
    assert probrev("report", "runs/check-plain/run.nc").status == 0
    assert (folder / "report.html").read_text().count("<svg") == page.count("<svg")


def test_a_wrong_one_is_miscalibrated_with_exit_status_3(probrev, tmp_path, plain_gibbs, read_json):
    (tmp_path / "plain.py").write_text(MODEL)
    plain_gibbs["widened"] = 1.6
    done = probrev("check", "plain.py", "--num-simulations", "120", "--out", "wide", "--json")
    assert done.status == 3
    said = read_json("check", done.out)
    assert said["word"] == "miscalibrated"
    assert said["quantities"][0]["adjusted_p"] < 1e-3
    assert said["claimed_over_actual"][0]["low"] > 1.5
    assert said["run"] == "wide/run.nc"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("one_lay",), "unknown model 'one_lay' (did you mean 'one_layer'"),
        (("one_layer", "--method", "gibs"), "--method gibs: unknown (did you mean 'gibbs'"),
        (("one_layer", "--num-simulations", "1"), "num_simulations must be at least 2"),
        (("one_layer", "--set", "nvisible=3"), "has no parameter 'nvisible'"),
        (("one_layer", "--workers", "0"), "workers"),
        (("one_layer", "--out", "taken"), "taken is a file; choose a folder"),
    ],
)
def test_what_is_refused_in_one_line(probrev, tmp_path, words, message):
    (tmp_path / "taken").write_text("a file")
    done = probrev("check", *words)
    assert done.status == 2
    assert message in done.err
    assert len([line for line in done.err.splitlines() if "simulations, post" not in line]) == 1


@pytest.mark.slow
def test_a_named_model_by_gibbs(probrev, tmp_path):
    done = probrev("check", "one_layer", *SMALL, "--num-simulations", "100", "--out", "small")
    assert done.status == 0, done.out
    assert done.out.startswith("Calibrated")
    found = pr.load_calibration(tmp_path / "small" / "run.nc")
    assert list(found.simulations["inverse"].to_numpy()) == ["dropout"]
    assert "Random inverses" in (tmp_path / "small" / "report.html").read_text()
