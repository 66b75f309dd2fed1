"""Whole checks of a model with exact draws: right and wrong ones, resumed, on workers, refused."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import jax
import pytest
import xarray as xr

import probrev as pr
from probrev.calibration.verdict import Word
from probrev.plumbing.netcdf import write_netcdf
from probrev.runs.checks import check as checks
from probrev.runs.checks.store import read_batch, unfinished
from tests.calibration.plain import MODEL, Shifted, draw, infer

KEY = jax.random.key(0)
check = partial(pr.check_calibration, KEY, MODEL)
SECONDS = ("run_seconds", "compile_seconds")


@pytest.fixture(scope="module")
def right():
    return check(
        infer, num_simulations=150, quantities={"gap": lambda h, x: h[:, 0] - h[:, 1]},
        random_inverses={"prior": prior_draws, "exact": exact_draws},
    )  # fmt: skip


class Wider:
    n_visible, n_hidden = 3, 2
    simulate = MODEL.simulate


def exact_draws(x, key):
    return draw(key, MODEL, x, 1)[0, :, 1:]


def prior_draws(x, key):
    return draw(key, MODEL, x, 1, ignores_x=True)[0, :, 1:]


@pytest.mark.slow
def test_exact_draws_are_calibrated(right):
    assert right.word is Word.CALIBRATED
    value, low, high = right.claimed_over_actual
    assert low < 1 < high
    assert 0.6 < low < value < high < 1.7
    table = right.table().set_index("quantity")
    assert set(table["family"]) == {"joint", "units", "sites", "own"}
    assert table["location"].abs().max() < 0.35
    assert right.simulations.sizes == {
        "simulation": 150, "quantity": 10, "inverse": 2, "reference": 2
    }  # fmt: skip
    assert right.provenance["quantities"] == ["gap"]


def test_a_random_inverse_that_ignores_x_is_seen_and_another_is_not(right):
    found = right.tree["inverses"].to_dataset().to_dataframe().set_index(["inverse", "family"])
    assert found["how"]["prior", "distance from the mean"]
    assert not found["how"]["exact", "distance from the mean"]
    assert not found["how"]["exact", "distance from a random draw"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"widened": 1.5}, "nearer to the posterior mean than posteriors say: they are too wide"),
        (
            {"widened": 1 / 1.5},
            "further from the posterior mean than posteriors say: they are too sure",
        ),
        ({"moved": 0.5}, "too high"),
        # The prior itself: only quantities that know x can see it.
        ({"ignores_x": True}, "log p(x|h)"),
    ],
)
def test_wrong_draws_are_convicted(fault, said):
    found = check(partial(infer, **fault), num_simulations=150)
    assert found.word is Word.MISCALIBRATED
    assert said in found.sentence


@pytest.mark.slow
def test_data_of_another_model_convict():
    other = Shifted(MODEL.noise_std, MODEL.offset + 1.0)
    found = check(infer, num_simulations=150, simulate_from=other)
    assert found.word is Word.MISCALIBRATED
    assert "the posterior of shift is too high" in found.sentence


def test_a_result_is_read_back_as_it_was(right, tmp_path):
    right.save(tmp_path / "run.nc")
    found = pr.load_calibration(tmp_path / "run.nc")
    assert found.sentence == right.sentence
    assert found.provenance == right.provenance
    xr.testing.assert_equal(found.simulations, right.simulations)
    with pytest.raises(FileNotFoundError, match=r"give the run\.nc of a saved check"):
        pr.load_calibration(tmp_path / "none.nc")
    xr.Dataset().to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match="it has no group 'simulations'"):
        pr.load_calibration(tmp_path / "other.nc")


def test_stopped_in_the_middle_it_goes_on(tmp_path):
    calls = []

    def breaks(key, model, obs):
        calls.append(obs.num_obs)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return infer(key, model, obs)

    run = partial(check, num_simulations=70, store=tmp_path / "check")
    with pytest.raises(KeyboardInterrupt):
        run(breaks)
    assert unfinished(tmp_path / "check", 4) == [2, 3]
    told = []
    found = run(breaks, progress=lambda *done: told.append(done))
    assert told == [(2, 4), (3, 4), (4, 4)]
    assert calls == [20, 20, 20, 20, 10]
    whole = check(infer, num_simulations=70)
    xr.testing.assert_equal(found.simulations, whole.simulations)
    assert found.sentence == whole.sentence
    # Nothing is left to do.
    assert run(breaks).sentence == whole.sentence
    assert len(calls) == 5
    with pytest.raises(ValueError, match=r"holds another check \(its num_simulations differs"):
        check(breaks, num_simulations=90, store=tmp_path / "check")
    other = Shifted(MODEL.noise_std, MODEL.offset + 1.0)
    with pytest.raises(ValueError, match=r"holds another check \(its model differs"):
        pr.check_calibration(KEY, other, breaks, num_simulations=70, store=tmp_path / "check")


def without(tree, group, name):
    tree[group] = xr.DataTree(tree[group].to_dataset().drop_vars(name))


@pytest.mark.parametrize(
    "change",
    [
        partial(without, group="simulations", name="rank"),
        partial(without, group="quantities", name="how"),
        partial(without, group="inverses", name="adjusted_p"),
        lambda tree: tree.attrs.update(claimed_over_actual_low="much"),
        lambda tree: tree.attrs.update(run_seconds="long"),
        lambda tree: tree.attrs.update(provenance="null"),
    ],
)
def test_a_saved_check_that_lacks_something_is_refused(right, tmp_path, change):
    tree = right.tree.copy()
    change(tree)
    write_netcdf(tree, tmp_path / "run.nc")
    with pytest.raises(ValueError, match=r"run\.nc is not a saved check, or another version wrote"):
        pr.load_calibration(tmp_path / "run.nc")


def test_a_broken_batch_is_told(tmp_path):
    check(infer, num_simulations=20, store=tmp_path)
    (tmp_path / "batch-0000.nc").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"batch-0000.nc is not a batch of a check.*: delete it"):
        read_batch(tmp_path, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "gibs"}, "unknown method 'gibs' .did you mean 'gibbs'"),
        ({"method": 3}, "method must be .*a function .key, model, obs. that returns a posterior"),
        ({"from_truth": "gibbs"}, "from_truth must be a function"),
        ({"num_simulations": 1}, "num_simulations must be at least 2; got 1"),
        ({"workers": 0}, "workers must be at least 1; got 0"),
        ({"quantities": {"a": 1}}, "must be a function of"),
        ({"method": lambda key, model, obs: obs.x}, "must return a probrev.Posterior"),
        ({"method": lambda key, model, obs: infer(key, model, obs[:1])}, "of all 20 observations"),
        ({"simulate_from": Wider()}, "has n_visible = 3, model 2"),
        ({"from_truth": lambda key, model, obs: 1}, "from_truth must return a probrev.Posterior"),
    ],
)
def test_what_is_refused(arguments, message):
    arguments = {"method": infer, "num_simulations": 20, **arguments}
    with pytest.raises((ValueError, TypeError), match=message):
        check(**arguments)


def test_the_method_does_not_see_what_made_x():
    def looks(key, model, obs):
        assert obs.h is None
        assert not obs.sites
        return infer(key, model, obs)

    assert check(looks, num_simulations=20).word is Word.UNDECIDED


SCRIPT = """
import sys
import jax
import numpyro
import probrev as pr
from tests.calibration.plain import MODEL, infer

if __name__ == "__main__":
    numpyro.enable_x64()
    key, workers = jax.random.key(0), int(sys.argv[2]) or None
    pr.check_calibration(key, MODEL, infer, num_simulations=400, store=sys.argv[1], workers=workers)
"""


def start(store, workers):
    command = [sys.executable, "-c", SCRIPT, str(store), str(workers)]
    return subprocess.Popen(command, start_new_session=True)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2])
def test_killed_and_resumed_it_gives_the_same_bits(tmp_path, workers):
    plain, broken = tmp_path / "plain", tmp_path / "broken"
    assert start(plain, workers).wait() == 0
    process = start(broken, workers)
    while process.poll() is None and not list(broken.glob("batch-*")):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(unfinished(broken, 8)) > 0
    assert start(broken, workers).wait() == 0
    for batch in range(8):
        one, other = (read_batch(store, batch) for store in (plain, broken))
        xr.testing.assert_equal(one, other)
    assert sorted(path.name for path in broken.iterdir()) == sorted(
        path.name for path in plain.iterdir()
    )


def test_a_method_by_name_has_settings_for_a_check():
    assert checks.named_method("hmc").keywords == {}
    assert checks.named_method("gibbs").keywords == {"keep_layers": True}
