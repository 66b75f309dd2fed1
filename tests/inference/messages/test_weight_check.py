"""Weights against iid ones: both figures against plain NumPy, and what is said of which weights."""

import re

import numpy as np
import pytest

from probrev.inference.messages import weight_check
from probrev.inference.messages.weight_check import check_weights

RNG = np.random.default_rng(7)


def plainly(weights):
    """Largest cosine and squared singular value, rows and columns scaled to one length."""
    scaled = weights / np.sqrt((weights**2).mean(1, keepdims=True))
    scaled = scaled / np.linalg.norm(scaled, axis=0)
    cosines = np.abs(scaled.T @ scaled) - np.eye(scaled.shape[1])
    return cosines.max(), np.linalg.norm(scaled, 2) ** 2


def test_figures_match_a_singular_value_decomposition():
    weights = RNG.normal(size=(70, 9)) + 1.5 * RNG.normal(size=(70, 1))
    cosine, largest = plainly(weights)
    found = check_weights(weights)
    assert found.cosine == pytest.approx(cosine, rel=1e-9)
    # 70 rows, 9 columns: (sqrt(69) + 3)^2 + 3.2724 (sqrt(69) + 3) (1 / sqrt(69) + 1 / 3)^(1/3)
    edge = (np.sqrt(69) + 3) ** 2
    edge += 3.2724 * (np.sqrt(69) + 3) * (1 / np.sqrt(69) + 1 / 3) ** (1 / 3)
    assert found.bulge == pytest.approx(largest * 70 / edge, rel=1e-3)


@pytest.mark.parametrize("shape", [(40, 7), (60, 10), (100, 30), (400, 24), (200, 60), (30, 90)])
@pytest.mark.parametrize(
    "law",
    [
        "signs",
        *(
            pytest.param(law, marks=pytest.mark.slow)
            for law in ("normal", "uniform", "sparse", "scaled")
        ),
    ],
)
def test_iid_weights_are_not_odd(shape, law):
    z = np.random.default_rng(sum(shape)).normal(size=shape)
    weights = {
        "normal": z,
        "uniform": np.clip(z, -0.7, 0.7),
        "signs": np.sign(z),
        "sparse": z * (np.random.default_rng(1).uniform(size=shape) < 0.5),
        "scaled": z * np.exp(RNG.normal(size=(shape[0], 1))) * np.arange(1, shape[1] + 1),
    }[law]
    assert not check_weights(weights).complaint


BULGE = "the largest singular value squared is .* times its edge"
ODD = {
    "common": (0.9 * RNG.normal(size=(60, 1)) + 0.44 * RNG.normal(size=(60, 10)), "cosine"),
    "positive": (RNG.uniform(size=(200, 60)), f"cosine .* and {BULGE}"),
    "shared mean": (0.3 + RNG.normal(size=(2000, 200)), BULGE),
    "low rank": (RNG.normal(size=(90, 3)) @ RNG.normal(size=(3, 20)), "cosine"),
    "repeated": (np.tile(RNG.normal(size=(90, 5)), 2), r"two columns have cosine 1\.00"),
}


@pytest.mark.parametrize("name", ODD)
def test_structure_is_told_in_figures(name):
    weights, complaint = ODD[name]
    found = check_weights(weights)
    assert re.search(complaint, found.complaint)
    assert found.is_hopeless == (name in ("low rank", "repeated"))


def test_cosines_over_part_of_the_rows(monkeypatch):
    """Of a very large matrix: 256 rows are enough to see two columns that are one."""
    monkeypatch.setattr(weight_check, "GRAM_ELEMENTS", 1)
    weights = np.random.default_rng(2).normal(size=(3000, 40))
    assert not check_weights(weights).complaint
    weights[:, 3] = weights[:, 30] + 0.1 * weights[:, 3]
    assert check_weights(weights).cosine == pytest.approx(1 / np.sqrt(1.01), abs=0.01)


def test_columns_and_rows_of_zeros_say_nothing():
    weights = np.random.default_rng(2).normal(size=(50, 8))
    weights[:, 2], weights[7] = 0.0, 0.0
    found = check_weights(weights)
    assert np.isfinite([found.cosine, found.bulge]).all()
    assert not found.complaint
