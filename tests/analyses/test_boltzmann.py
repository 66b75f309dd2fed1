"""The analysis of machines that learned digits: at a tiny size, and its finding on other data."""

import re

import numpy as np
import pytest

from analyses import boltzmann


@pytest.mark.proof
def test_computed_and_plotted(tmp_path, capsys):
    boltzmann.compute(
        tmp_path, num_steps=150, num_obs=30, num_layered=3, widths={"RBM": (5,), "DBM": (5, 4)},
        top_couplings=(0.5, 3.0), num_samples=200,
    )  # fmt: skip
    assert boltzmann.plot(tmp_path).stat().st_size > 10_000
    told = capsys.readouterr().out
    assert "RBM: sigmoid 1.00 [1.00, 1.00]" in told
    assert re.search(r"layered ReLU: calibrated .*, as_trained ", told)
    assert "mean field's squared distance to the posterior mean grows throughout" in told
    learned = boltzmann.load(tmp_path, "learned")["log_prob"].mean("image")
    assert learned.sel(law="RBM") > learned.sel(law="independent") + 1
    gaps = boltzmann.load(tmp_path, "gaps").to_dataframe()
    # The finding is read off the data: a control that does not grow is said not to.
    controls = boltzmann.load(tmp_path, "controls").to_dataframe()
    shrunk = controls.assign(excess_risk=controls["excess_risk"].to_numpy()[::-1])
    found = boltzmann.find(boltzmann.load(tmp_path, "learned"), gaps, shrunk)
    assert "does not grow throughout" in found
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        boltzmann.plot(tmp_path / "nothing")


def test_independent_pixels_by_hand():
    train = np.array([[1.0, 0], [1, 1], [0, 0]])
    # On as often as (2.5, 1.5) / 4.
    found = boltzmann.log_prob_independent(train, np.array([[1.0, 0], [0, 1]]))
    np.testing.assert_allclose(found, np.log([2.5 / 4 * 2.5 / 4, 1.5 / 4 * 1.5 / 4]))
