"""A run verifies as it was saved, and not if one number in it is another."""

import json
import shutil

import h5py
import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import probrev as pr
from probrev.cli import main
from probrev.posterior.posterior import from_draws
from probrev.runs.verification.agreed import hold
from tests import small_case
from tests.small_case import MODEL

TURNED = {
    "a number of the table": ("table/value", "table"),
    "a draw": ("posteriors/mine/posterior/h", "metrics of observations"),
    "a true h": ("truth/h", "metrics of observations"),
    "an estimate": ("inverses/h", "metrics of observations"),
    "a ratio of a verdict": ("verdicts/ratio", "verdicts"),
    "an ESS": ("posteriors/mine/diagnostics/ess_bulk", "diagnostics"),
    "an x of a posterior": ("posteriors/mine/observed_data/x", "x of the posteriors"),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run of a sampler that says little, from Python."""
    draws = np.random.default_rng(0).choice([0.0, 0.6], (2, 20, 6, 4))
    drawn = from_draws("mine", draws, small_case.observe().x, model=MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("probrev.comparison.compare.noise_curve", lambda key, model: None)
        run = pr.compare(
            MODEL, small_case.observe(), {"sum": lambda x: np.maximum(x[:, :4], 0)},
            {"mine": drawn}, seed=5, planned=["sum"],
        )  # fmt: skip
    path = tmp_path_factory.mktemp("saved") / "run.nc"
    run.save(path)
    return path


def changed(saved, folder, change):
    path = folder / "changed.nc"
    shutil.copy(saved, path)
    with h5py.File(path, "a") as file:
        change(file)
    return path


@pytest.mark.slow
def test_a_run_follows_from_what_it_holds(saved):
    found = pr.verify(saved)
    assert not found.convicted
    assert found.headline.startswith("Verified: ")
    table = found.table().set_index("what")
    assert table["relative"].max() < 1e-9
    assert table.loc["table", "number"] == 4 * len(pr.load(saved).table())
    assert "made from Python" in found.skipped["x, h and inverses"]
    assert found.skipped["draws of mine"] == "mine is not rerun"
    known = pr.load(saved).tree.attrs
    assert json.loads(known["comparison_seed"]) == 5
    assert "inverses: sum; posteriors: mine" in json.loads(known["call"])
    assert "keep_prob=0.6" in json.loads(known["model_in_words"])
    assert {"versions", "platform", "created", "process"} <= set(known)


@pytest.mark.slow
@pytest.mark.parametrize("what", TURNED)
def test_a_number_that_was_changed_is_found(saved, tmp_path, what):
    name, kind = TURNED[what]

    def turn(file):
        values = file[name][...]
        place = np.unravel_index(
            np.nanargmax(np.where(np.isfinite(values), values, -1)), values.shape
        )
        values[place] *= 1.001
        file[name][...] = values

    found = pr.verify(changed(saved, tmp_path, turn))
    assert found.convicted
    assert kind in [row.what for row in found.rows if not row.agrees]
    assert kind in found.headline


@pytest.mark.slow
def test_a_verdict_that_was_changed_is_found_on_the_command_line(saved, tmp_path, capsys):
    def turn(file):
        file["verdicts/word"][0] = "near"

    path = changed(saved, tmp_path, turn)
    assert main(["verify", str(path)]) == 3
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "Convicted: what the run says of its verdicts does not follow."
    assert "word of sum, mine is 'near' in the run, 'inconclusive' found again" in said[-2]
    assert main(["verify", str(saved)]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("wide", [True, False], ids=["64 bits", "32 bits"])
def test_a_run_is_verified_in_its_own_precision(tmp_path, wide):
    """Whatever JAX's numbers are by then: in others nothing would follow from the run."""
    with jax.enable_x64(wide):
        weights = np.random.default_rng(0).normal(size=(20, 4))
        layer = pr.Layer(weights, keep_prob=0.5, noise_std=0.5)
        model = pr.LayeredModel(pr.SpikeAndSlab(4, 0.4, dist.HalfNormal(1.0)), [layer])
        key = jax.random.key(0)
        obs = model.simulate(key, 16)
        net = pr.FeedforwardNet.from_model(key, model)
        gibbs = pr.gibbs(key, model, obs, num_warmup=100, num_samples=300)
        assert gibbs.draws.dtype == (np.float64 if wide else np.float32)
        pr.compare(model, obs, {"net": net}, {"gibbs": gibbs}).save(tmp_path / "run.nc")
    with jax.enable_x64(not wide):
        found = pr.verify(tmp_path / "run.nc")
    assert not found.convicted, found.headline
    assert set(found.skipped) == {"x, h and inverses", "draws of gibbs"}


@pytest.mark.slow
def test_a_run_without_its_seed_is_refused(saved, tmp_path):
    path = changed(saved, tmp_path, lambda file: file.attrs.__delitem__("comparison_seed"))
    with pytest.raises(ValueError, match="saved by an earlier probrev"):
        pr.verify(path)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (1.0, 1.0 + 1e-7, ""),
        (1.0, 1.00001, "a is 1 in the run, 1.00001 found again"),
        (0.0, 1e-16, ""),
        (np.nan, np.nan, ""),
        (np.inf, np.inf, ""),
        (np.nan, 1.0, "a is nan in the run, 1 found again"),
        ([1.0, 2.0], [1.0, -2.0], "a [1] is 2 in the run, -2 found again"),
        ([1.0], [1.0, 1.0], "a has shape (1,) in the run, (2,) found again"),
        ("far", "near", "a is 'far' in the run, 'near' found again"),
        (None, 1.0, "a is not in the run"),
        (1.0, None, "a does not follow from the run"),
    ],
)
def test_numbers_are_held_to_rounding_and_words_to_the_letter(one, other, said):
    found = hold("all", "by hand", [("a", one, other)])
    assert found.worst == said
    assert found.agrees == (not said)
