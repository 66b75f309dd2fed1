"""The analysis of reversal at a tiny size on the digits, and its finding on tables made by hand."""

import numpy as np
import pytest
import xarray as xr

from analyses.reversal import __main__ as reversal
from analyses.reversal import figure, images


@pytest.fixture
def own_nets(tmp_path):
    """A folder with a net of random weights, for want of a trained one."""
    rng = np.random.default_rng(0)
    tensors = {}
    for layer, shape in enumerate(((64, 14), (14, 8), (8, 10))):
        tensors[f"layers.{layer}.weights"] = rng.normal(size=shape) / np.sqrt(shape[0])
        tensors[f"layers.{layer}.bias"] = rng.normal(0.2, 0.1, size=shape[1])
    folder = tmp_path / "nets"
    folder.mkdir()
    np.savez(folder / "digits.npz", **tensors)
    return folder


@pytest.mark.slow
def test_computed_and_plotted(tmp_path, own_nets, capsys):
    tiny = {"num_obs": 3, "num_samples": 12, "num_evidence": 2}
    sizes = {"digits": tiny | {"num_chains": 8, "num_temperatures": 5}}
    reversal.compute(tmp_path, num_inputs=30, posteriors=sizes, own_nets=own_nets)
    written = (tmp_path / "profile-digits.nc").stat().st_mtime_ns
    reversal.compute(tmp_path, num_inputs=30, posteriors=sizes, own_nets=own_nets)
    assert (tmp_path / "profile-digits.nc").stat().st_mtime_ns == written
    assert "digits: done before" in capsys.readouterr().out
    assert reversal.plot(tmp_path).stat().st_size > 10_000
    assert (tmp_path / "images-digits.png").stat().st_size > 10_000
    told = capsys.readouterr().out
    for words in ("Cosine of h and ĥ", "live units are active", "Relative risk of", "Nats per"):
        assert words in told
    evidence = xr.load_dataset(tmp_path / "evidence-digits.nc")
    assert evidence["value"].shape == (3, 2)
    table = reversal.load(tmp_path, "reversal-digits").to_dataframe()
    assert {*table["weights"]} == {
        "trained", "pruned", "gaussian", "spectral", "pruned gaussian", "theory",
    }  # fmt: skip
    theory = table[table["weights"] == "theory"].set_index(["top", "keep_prob"])["cosine"]
    assert 0 < theory[(1, 0.5)] < theory[(1, 1.0)] < 1
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        reversal.plot(tmp_path / "nothing")


def reversal_rows(**cosines):
    """Rows of one layer, live units, a cosine for each net and kind of weights."""
    same = {"top": 1, "depth": 1, "compared": "h", "units": "live", "pairs": "matched"}
    return [
        same | {"keep_prob": 0.5, "net": net, "weights": weights}
        | {"cosine": cosine, "correlation": cosine**2}
        for net, pair in cosines.items()
        for weights, cosine in zip(("trained", "gaussian"), pair, strict=True)
    ]  # fmt: skip


def test_the_finding_follows_the_tables():
    told = figure.say_reversal(reversal_rows(good=(0.95, 0.9), bad=(0.3, 0.88)))
    assert "good 0.95 (0.90); bad 0.30 (0.88)." in told
    assert "in 1 of 2 layers by cosine, in 1 by centred correlation" in told
    values = [
        ("as_trained", "gibbs_fitted", 0.31), ("calibrated", "gibbs_fitted", 2.0),
        ("posterior", "gibbs_fitted", 0.25), ("posterior", "gibbs_exponential", 0.4),
    ]  # fmt: skip
    risk = [
        {"subject": subject, "posterior": posterior, "value": value, "status": "ok"}
        | {"metric": "relative_risk", "net": "good"}
        for subject, posterior, value in values
    ]
    assert "good 0.31, 2.00 and 0.25." in figure.say_risks(risk)
    risk[-1]["status"] = "not converged"
    assert "0.25 (not converged: gibbs exponential)." in figure.say_risks(risk)
    prior = [
        {"prior": "fitted", "net": "good", "evidence_loss": 0.0, "density_loss": 0.0},
        {"prior": "half-normal", "net": "good", "evidence_loss": 12.34, "density_loss": 56.78},
    ]
    assert "good: half-normal 12.3 and 56.8." in figure.say_priors(prior)


@pytest.mark.parametrize(
    ("top", "depth", "path"), [(1, 1, "1→0→1"), (2, 1, "2→1→2"), (3, 3, "3→2→1→0→1→2→3")]
)
def test_paths_in_words(top, depth, path):
    assert figure.say_path(top, depth) == path


def test_edited_h():
    h = np.array([[1.0, 0.0, 4.0], [3.0, 0.0, 2.0], [0.0, 5.0, 0.0]])
    np.testing.assert_allclose(images.edit_classes(h, np.array([7, 7, 9])), [[2, 0, 3], [0, 5, 0]])
    between = images.edit_between(h, np.array([0, 1, 2]))
    np.testing.assert_allclose(between, [h[0], (h[0] + h[2]) / 2, h[2]])
    alone = images.edit_units(h, 5)
    # Energies 10, 25, 20; a unit's value is between those that it has.
    assert [int(np.flatnonzero(row)[0]) for row in alone[:3]] == [1, 2, 0]
    assert not alone[3:].any()
    assert alone[1, 2] == pytest.approx(np.quantile([4, 2], 0.9))
