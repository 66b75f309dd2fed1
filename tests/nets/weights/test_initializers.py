import numpy as np
import pytest

from probrev.nets.weights.initializers import INITIALIZERS, init_variance


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 2 / (30 + 70)),
        ("glorot_normal", 2 / (30 + 70)),
        ("he_uniform", 2 / 30),
        ("he_normal", 2 / 30),
        ("lecun_uniform", 1 / 30),
        ("lecun_normal", 1 / 30),
        ("torch", np.var(np.linspace(-1, 1, 100_001)) / 30),
    ],
)
def test_variances(name, variance):
    assert init_variance(name, 30, 70) == pytest.approx(variance, rel=1e-4)


def test_all_names_work_and_others_do_not():
    assert all(init_variance(name, 3, 4) > 0 for name in INITIALIZERS)
    with pytest.raises(ValueError, match=r"initializer must be one of .*; got 'zeros'"):
        init_variance("zeros", 3, 4)
