import pathlib

import pytest

import probrev as pr

MODEL = pathlib.Path(__file__).with_name("model.py")


@pytest.fixture
def make_grid():
    """A grid over the small model, a few settings changed."""

    def make(**changes):
        settings = {
            "model": str(MODEL),
            "axes": {"noise_std": (0.5, 1.0, 2.0), "values": ("one", "two")},
            "inverses": ("universal", "calibrated"),
            "num_seeds": 2,
            "num_obs": 5,
            "batch_size": 5,
        }
        return pr.Grid(**{**settings, **changes})

    return make
