"""The ladder's analysis at a tiny size, and its finding on data made by hand."""

import re

import numpy as np
import pytest
import xarray as xr

from analyses import ladder

RISKS = {"universal": 8.0, "calibrated": 5.0, "trained": 3.0, "scalar": 4.5, "converged": 2.0}


@pytest.mark.slow
def test_computed_and_plotted(tmp_path, capsys):
    tiny = {"num_obs": 20, "n_visible": 30, "n_hidden": 5, "max_active": 2}
    ladder.compute(tmp_path, noise_stds=(0.5, 1.5), **tiny)
    assert ladder.plot(tmp_path).stat().st_size > 10_000
    told = capsys.readouterr().out
    assert "The largest part of the gap is, at noise_std 0.5" in told
    for name in ("three_steps", "posterior", "iteration", "weights"):
        assert name in told
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        ladder.plot(tmp_path / "nothing")


def by_hand(**changes):
    """Errors of 50 observations at two noise levels; at the second all rungs but one are alike."""
    rng = np.random.default_rng(0)
    shared = rng.gamma(4.0, 1 / 4, size=50)
    first = {**RISKS, **changes}
    second = {name: 5.0 if name == "universal" else 4.0 for name in RISKS}
    error = [[risk * shared for risk in level.values()] for level in (first, second)]
    return xr.Dataset(
        {
            "squared_error": (("noise_std", "inverse", "obs"), np.array(error)),
            "bayes_squared_error": (("noise_std", "obs"), np.outer([1.0, 3.9], shared)),
            "energy": (("noise_std", "obs"), np.full((2, 50), 10.0)),
        },
        coords={"noise_std": [0.5, 2.0], "inverse": list(RISKS)},
    )


def find(data, folder, capsys):
    """The finding on some data."""
    ladder.save(folder, "ladder", data)
    capsys.readouterr()
    ladder.plot(folder)
    return capsys.readouterr().out


def test_the_finding_follows_the_data(tmp_path, capsys):
    told = find(by_hand(), tmp_path, capsys)
    # (8 - 5) / (8 - 1) and (5 - 4) / (5 - 3.9).
    assert "of Bayes) bias, 43% of it" in told
    assert "of Bayes) bias, 91%." in told
    assert "The posterior mean errs least at 2 of 2 noise levels; calibrated is nowhere" in told
    assert "out of order, beyond 95 %: scalar above trained (at 0.5)." in told
    told = find(by_hand(trained=6.0, converged=0.5), tmp_path, capsys)
    assert "errs least at 1 of 2 noise levels" in told
    assert "against expectation: trained above calibrated (at 0.5)" in told
    assert "silence + iteration, 57% of it" in told


def test_a_single_observation_has_no_intervals_and_is_drawn(tmp_path, capsys):
    told = find(by_hand().isel(obs=slice(1)), tmp_path, capsys)
    assert re.search(r"bias +\d\.\d+ ± nan", told)
