import contextlib
import json
import shlex
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import probrev as pr
from probrev.cli import compare, run
from probrev.cli.output import RUN
from probrev.inverses.ladder.layered import RUNGS
from probrev.model import layer
from probrev.plumbing import netcdf
from probrev.plumbing.replacing import replacing
from probrev.report import writing
from probrev.runs import registry

SMALL = ("--set", "n_visible=40", "--set", "n_hidden=6", "--set", "max_active=2", "--num-obs", "3")

USER_MODEL = '''"""A model of the user's own."""
import numpy as np
import probrev as pr

def build(noise_std: float = 1.2, keep_prob: float = 0.7):
    """Builds it."""
    weights = np.random.default_rng(5).normal(size=(30, 4))
    slab = pr.FiniteSlab(np.array([0.5, 1.5]), np.array([0.3, 0.7]))
    prior = pr.SpikeAndSlab(4, 0.25, slab)
    return pr.LayeredModel(prior, [pr.Layer(weights, keep_prob, noise_std)])
'''


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def metrics(folder):
    table = pr.load(folder / RUN).table()
    return table.loc[~table["metric"].str.contains("second")].reset_index(drop=True)


def test_a_run_says_its_verdict_and_where_its_files_are(small_run):
    folder, done = small_run
    assert done.status == 0
    assert done.err == "3 observations, about 1 min\n"
    assert done.out.splitlines()[0].startswith("Unjudged: exact covers 3 observations, wanted")
    assert done.out.splitlines()[-2:] == ["first/run.nc", "first/report.html"]
    assert "universal" in done.out
    assert files(folder / "first") == ["report.html", "run.nc"]


@pytest.mark.slow
def test_dropout_is_beside_the_ladder(probrev, tmp_path):
    probrev("compare", "one_layer", *SMALL, "--posterior", "exact", "--out", "o")
    result = pr.load(tmp_path / "o" / RUN)
    assert result.random_inverses == ["dropout"]
    rows = result.table().query("metric == 'spread_ratio'")
    assert list(rows["subject"]) == ["dropout", "posterior"]


@pytest.mark.slow
def test_a_run_can_be_repeated_from_its_record(small_run, tmp_path, probrev):
    folder, _ = small_run
    with xr.open_datatree(folder / "first" / RUN, engine="h5netcdf") as tree:
        attrs = dict(tree.attrs)
    words = shlex.split(json.loads(attrs["command"]))
    assert words[:3] == ["probrev", "compare", "one_layer"]
    assert json.loads(attrs["parameters"])["n_visible"] == 40
    assert json.loads(attrs["parameters"])["keep_prob"] == 0.5
    assert json.loads(attrs["model_source"]) == registry.describe("one_layer").source
    assert probrev(*words[1:], "--out", "second").status == 0
    pd.testing.assert_frame_equal(metrics(folder / "first"), metrics(tmp_path / "second"))


def test_json_is_all_that_stdout_holds(small_run, probrev, tmp_path, monkeypatch, read_json):
    result = pr.load(small_run[0] / "first" / RUN)
    monkeypatch.setattr(run, "run", lambda *_: result)
    done = probrev("compare", "one_layer", "--json")
    said = read_json("compare", done.out)
    assert (done.status, done.err, said["conclusive"]) == (0, "", True)
    assert said["metrics"]
    assert files(tmp_path / "runs") == sorted(
        path.removeprefix("runs/") for path in (said["run"], said["report"])
    )


def test_a_report_can_be_written_again(small_run, tmp_path, probrev):
    folder, _ = small_run
    shutil.copy(folder / "first" / RUN, tmp_path / RUN)
    done = probrev("report", RUN, "--out", "again.html")
    assert (done.status, done.out.strip(), done.err) == (0, "again.html", "")
    assert (tmp_path / "again.html").read_bytes() == (folder / "first" / "report.html").read_bytes()


@pytest.mark.slow
def test_a_chosen_inverse_and_posteriors(probrev, tmp_path):
    done = probrev(
        "compare",
        "baby_linear",
        "--num-obs",
        2,
        "--inverse",
        "calibrated",
        "--inverse",
        "universal",
    )
    assert done.status in (0, 3)
    assert "calibrated" in done.out
    assert "theory" not in done.out
    (folder,) = (tmp_path / "runs").iterdir()
    assert pr.load(folder / RUN).random_inverses == []


@pytest.mark.slow
def test_a_model_of_the_users_own(probrev, tmp_path):
    (tmp_path / "my model.py").write_text(USER_MODEL)
    choice = (
        "--set",
        "keep_prob=0.6",
        "--num-obs",
        2,
        "--posterior",
        "exact",
        "--inverse",
        "theory",
    )
    done = probrev("compare", "my model.py", *choice, "--out", "o")
    assert done.status in (0, 3)
    with xr.open_datatree(tmp_path / "o" / RUN, engine="h5netcdf") as tree:
        assert json.loads(tree.attrs["model_source"]) == USER_MODEL
        assert shlex.split(json.loads(tree.attrs["command"]))[2] == "my model.py"


@pytest.mark.slow
def test_weights_of_ones_own(probrev, tmp_path):
    weights = np.random.default_rng(3).normal(size=(25, 5))
    np.save(tmp_path / "w.npy", weights)
    done = probrev("compare", "one_layer", "--set", "weights=w.npy", "--num-obs", 2, "--out", "o")
    assert done.status in (0, 3)
    with xr.open_datatree(tmp_path / "o" / RUN, engine="h5netcdf") as tree:
        assert json.loads(tree.attrs["parameters"])["weights"]["shape"] == [25, 5]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["one_layer", "--set", "keep_prob=1.5"], "keep_prob must lie in (0, 1]"),
        (["one_layer", "--set", "noise_std=-1"], "noise_std must be"),
        (["one_layer", "--set", "n_hidden=2"], "max_active"),
        (["one_layer", *SMALL, "--inverse", "universl"], "did you mean 'universal'?"),
        pytest.param(
            ["one_layer", "--set", "max_active=10", "--inverse", "theory"],
            "use gibbs",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_the_library_refuses_is_one_line(probrev, tmp_path, tokens, message):
    done = probrev("compare", *tokens, "--posterior", "exact")
    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert message in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import missing_package", ", line 4: No module named 'missing_package'"),
        ("return len(3)", ", line 4: object of type 'int' has no len()"),
        ("open('nothing.csv')", ", line 4: [Errno 2] No such file"),
    ],
)
def test_a_build_that_fails_names_file_line_and_cause(probrev, tmp_path, body, message):
    (tmp_path / "mine.py").write_text(f'"""Mine."""\n\ndef build():\n    {body}\n')
    done = probrev("compare", "mine.py")
    assert done.status == 2
    assert f"model mine.py{message}" in done.err


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("(key, model, num_obs, noise_std):\n    raise ValueError(f'no {noise_std}')", "no 1.3"),
        ("(key, model, num_obs, gain):\n    return None", "missing a required argument: 'gain'"),
        ("(key, model, num_obs):\n    return [1.0]", "observe must return probrev.Observations"),
        (
            "(key, model, num_obs):\n    return model.simulate(key, 1)\n\ndef inverses(model):\n"
            "    return {'own': abs, 'trained': abs}",
            "inverses has 'trained', which is a rung of the ladder: choose another name",
        ),
    ],
)
def test_an_observe_that_fails_is_one_line(probrev, tmp_path, body, message):
    (tmp_path / "mine.py").write_text(USER_MODEL + "\ndef observe" + body)
    done = probrev("compare", "mine.py", "--set", "noise_std=1.3")
    assert (done.status, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert done.err.startswith("probrev: model mine.py")
    assert message in done.err


def test_a_model_without_an_inverse_is_refused(probrev, tmp_path):
    (tmp_path / "mine.py").write_text(
        "class Widths:\n    n_visible = n_hidden = 1\n\ndef build():\n    return Widths()\n"
    )
    done = probrev("compare", "mine.py")
    assert (done.status, done.out) == (2, "")
    assert "model mine.py has no inverse to compare: add a function inverses(model)" in done.err


def test_a_folder_that_holds_a_run_is_refused_before_any_work(probrev, tmp_path, monkeypatch):
    monkeypatch.delattr(registry, "load")
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / RUN).write_text("precious")
    done = probrev("compare", "one_layer", "--out", "o")
    assert done.status == 2
    assert "o already holds run.nc, but no report: `probrev report o/run.nc` writes it" in done.err
    assert (tmp_path / "o" / RUN).read_text() == "precious"


@pytest.mark.parametrize("moment", ["save", "write_report"])
def test_interrupted_writing_leaves_no_half_written_file(
    small_run, probrev, tmp_path, monkeypatch, moment
):
    @contextlib.contextmanager
    def interrupted(path):
        with replacing(path) as partial:
            partial.write_bytes(b"half")
            yield partial
            raise KeyboardInterrupt

    result = pr.load(small_run[0] / "first" / RUN)
    monkeypatch.setattr(run, "run", lambda *_: result)
    module = netcdf if moment == "save" else writing
    monkeypatch.setattr(module, "replacing", interrupted)
    done = probrev("compare", "one_layer", "--out", "o")
    assert (done.status, done.out) == (130, "")
    assert files(tmp_path) == ([] if moment == "save" else ["o/run.nc"])


@pytest.mark.slow
def test_an_interrupted_computation_leaves_nothing(probrev, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "infer", interrupted)
    done = probrev("compare", "one_layer", *SMALL, "--posterior", "exact", "--out", "o")
    assert (done.status, done.out) == (130, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_spread_over_weights(probrev, tmp_path):
    wanted = ("--posterior", "exact", "--num-weights", 2, "--set", "weight_seed=5", "--out", "o")
    done = probrev("compare", "one_layer", *SMALL, *wanted)
    assert done.status == 0
    assert "over 2 draws of the weights" in done.out
    run = pr.load(tmp_path / "o" / RUN)
    assert tuple(run.inverses) == RUNGS
    ratio = run.tree["over_weights/ratio"]
    assert ratio["weight_seed"].to_numpy().tolist() == [5, 6]
    assert np.all(np.ptp(ratio.to_numpy(), axis=0) > 0)


def test_given_weights_have_no_spread(probrev, tmp_path):
    np.save(tmp_path / "w.npy", np.ones((3, 2)))
    done = probrev("compare", "one_layer", "--set", "weights=w.npy", "--num-weights", 2)
    assert done.status == 2
    assert "are not drawn from a parameter weight_seed; leave --num-weights out" in done.err


def test_a_defect_inside_build_keeps_its_traceback(probrev, monkeypatch):
    monkeypatch.setattr(layer, "_check", lambda weights, bias: weights())
    with pytest.raises(TypeError, match="not callable"):
        probrev("compare", "one_layer")


def test_an_untrusted_posterior_is_status_3(probrev, monkeypatch):
    class Result:
        conclusive = False

    monkeypatch.setattr(run, "run", lambda *_: Result())
    monkeypatch.setattr(compare, "write", lambda *_: None)
    monkeypatch.setattr(compare, "print_result", lambda result, folder, read: print("why"))
    done = probrev("compare", "one_layer")
    assert (done.status, done.out) == (3, "why\n")


@pytest.mark.slow
def test_without_noise_bayes_recovers_h(probrev, tmp_path):
    choice = ("--set", "noise_std=0", "--inverse", "calibrated", "--posterior", "exact")
    done = probrev("compare", "one_layer", *choice, "--num-obs", 16, "--out", "o")
    assert done.status == 0
    assert "calibrated is far from Bayesian inference" in done.out
    assert "exact recovers h at noise_std = 0: Bayes risk 0" in done.out
    ratio = pr.load(tmp_path / "o" / RUN).table().query("metric == 'risk_ratio'")["value"]
    assert np.isinf(ratio).all()
    assert "∞" in (tmp_path / "o" / "report.html").read_text()


WITH_A_PROGRAM = """
import numpy as np
import numpyro
import numpyro.distributions as dist

import probrev as pr


def prior():
    rate = numpyro.sample("rate", dist.Beta(2, 6))
    return numpyro.sample("h", pr.SpikeAndSlab(4, rate, dist.HalfNormal(1.0)))


def build():
    weights = np.random.default_rng(0).normal(size=(20, 4))
    return pr.LayeredModel(prior, [pr.Layer(weights, keep_prob=0.7, noise_std=1.0)])
"""


@pytest.mark.slow
def test_what_made_a_run_under_a_program_is_made_again(probrev, tmp_path):
    """The file makes another function each time that it is run, and the same model."""
    (tmp_path / "mine.py").write_text(WITH_A_PROGRAM)
    words = ("compare", "mine.py", "--num-obs", "3", "--inverse", "universal", "--out", "program")
    assert probrev(*words).status == 0
    done = probrev("verify", f"program/{RUN}")
    assert done.status == 0, done.out
    lines = [line.split("  ")[0] for line in done.out.splitlines()]
    assert {"x and h", "inverses"} <= set(lines)
    assert "not made again" not in done.out


@pytest.mark.slow
def test_what_made_a_run_is_made_again(probrev, monkeypatch):
    # Some observations only have samples, as of many.
    monkeypatch.setattr("probrev.comparison.compare.MOST_SAMPLED", 2)
    words = ("compare", "one_layer", *SMALL, "--posterior", "exact", "--out", "all")
    assert probrev(*words).status == 0
    done = probrev("verify", f"all/{RUN}")
    assert done.status == 0, done.out
    lines = [line.split("  ")[0] for line in done.out.splitlines()]
    assert {"x and h", "inverses", "random inverses", "posterior exact", "curve"} <= set(lines)
    assert lines[-1].startswith("Verified: ")
    assert "not verified" not in done.out
