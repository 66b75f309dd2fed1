import numpy as np
import pytest
import xarray as xr

from analyses import dropout_sampler


@pytest.mark.slow
def test_dropout_sampler(tmp_path, capsys):
    tiny = {"n_visible": 40, "n_hidden": 5, "max_active": 2, "num_obs": 4}
    dropout_sampler.compute(tmp_path, noise_stds=(0.7, 1.4), keep_probs=(0.5, 0.9), **tiny)
    data = xr.load_dataset(tmp_path / "dropout_sampler.nc")
    assert dict(data.sizes) == {"noise_std": 2, "sampler": 3}
    np.testing.assert_array_equal(data["keep_prob"], [0.5, 0.9, np.nan])
    assert (data["spread_ratio"] > 0).all()
    assert (abs(data["spread_ratio"][:, 2] - 1) < 0.15).all()
    assert dropout_sampler.plot(tmp_path).stat().st_size > 10_000
    assert capsys.readouterr().out.splitlines()[-1].startswith("Dropout ")
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        dropout_sampler.plot(tmp_path / "nothing")


def test_the_finding_is_read_off_the_data():
    energy = np.array([[0.5, 0.2, 0.1], [0.6, 0.4, 0.1]])
    data = xr.Dataset(
        {
            "energy_distance": (("noise_std", "sampler"), energy),
            "energy_distance_low": (("noise_std", "sampler"), energy - 0.02),
            "energy_distance_high": (("noise_std", "sampler"), energy + 0.02),
            "spread_ratio": (("noise_std", "sampler"), [[1.5, 0.8, 1.0], [3.0, 0.4, 1.0]]),
        },
        {"noise_std": [0.7, 1.4], "keep_prob": ("sampler", [0.5, 0.9, np.nan])},
        {"num_samples": 70},
    )
    said = dropout_sampler.finding(data)
    assert said.startswith("Dropout is not a posterior sampler")
    assert "at 4 of 4 settings; closest is q = 0.9 at noise_std = 0.7" in said
    assert (
        "2.0 times that of two halves of the posterior (70 samples each) and 0.80 times its" in said
    )
    assert "0.40 to 3.00 times the posterior's" in said
    data["energy_distance_low"][1, 1] = 0.1
    assert "cannot always be told from a posterior sampler" in dropout_sampler.finding(data)
