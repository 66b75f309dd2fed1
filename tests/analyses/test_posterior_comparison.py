"""The posterior comparison at a tiny size."""

import pytest

from analyses import posterior_comparison
from analyses.script import OtherRunError


@pytest.mark.slow
def test_posterior_comparison(tmp_path):
    tiny = {"num_obs": 6, "n_visible": 30, "n_hidden": 5, "max_active": 2}
    posterior_comparison.compute(tmp_path, keep_probs=(0.4, 1.0), **tiny)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "keep_prob-0.4.nc",
        "keep_prob-1.nc",
    ]
    assert posterior_comparison.plot(tmp_path).stat().st_size > 10_000
    posterior_comparison.compute(tmp_path, keep_probs=(0.4,), **tiny)  # is there already
    with pytest.raises(OtherRunError, match="holds another run"):
        posterior_comparison.compute(tmp_path, keep_probs=(0.7,), **tiny | {"num_obs": 7})
    with pytest.raises(FileNotFoundError, match="run `compute` first"):
        posterior_comparison.plot(tmp_path / "nothing")
