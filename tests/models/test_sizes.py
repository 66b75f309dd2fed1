import inspect

import pytest

from probrev.runs import registry

SIZES = [
    (name, size)
    for name in ("one_layer", "layered", "baby_linear", "rbm", "dbm")
    for size in inspect.signature(registry.load(name)).parameters
    if size.startswith("n_") and size != "n_active"
]


@pytest.mark.parametrize(("name", "size"), SIZES)
def test_a_size_below_1_is_named(name, size):
    with pytest.raises(ValueError, match=f"^{size} must be at least 1; got -1$"):
        registry.load(name)(**{size: -1})
