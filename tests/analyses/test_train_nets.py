"""The project's own nets, at a tiny size."""

import numpy as np
import pytest

import probrev as pr
from analyses import train_nets


@pytest.mark.slow
def test_the_file_holds_the_net(tmp_path):
    accuracy = train_nets.train(
        tmp_path / "nets", "digits-1", pr.Recipe((20, 15), 40, 50, 0.01, hidden_keep_prob=1.0), 1
    )
    with np.load(tmp_path / "nets" / "digits-1.npz") as file:
        saved = dict(file)
    assert [saved[f"layers.{layer}.weights"].shape for layer in range(3)] == [
        (64, 20), (20, 15), (15, 10),
    ]  # fmt: skip
    images = train_nets.load_images("digits")
    h = images.test
    for layer in range(3):
        h = h @ saved[f"layers.{layer}.weights"] + saved[f"layers.{layer}.bias"]
        h = h if layer == 2 else np.maximum(h, 0)
    found = (h.argmax(1) == images.test_labels).mean()
    assert found == pytest.approx(accuracy, abs=1e-6)
    assert found == pytest.approx(float(saved["accuracy"]), abs=1e-6)
    assert found > 0.9


def test_every_net_has_the_images_of_its_name():
    assert {train_nets.find_images(name) for name in train_nets.NET_NAMES} == {
        "digits", "mnist", "fashion",
    }  # fmt: skip
    recipes = [train_nets.RECIPES[name] for name in ("digits", "digits-keep.8", "digits-keep.5")]
    assert [recipe.hidden_keep_prob for recipe in recipes] == [1.0, 0.8, 0.5]


@pytest.mark.slow
def test_a_net_that_diverged_is_not_written(tmp_path):
    recipe = pr.Recipe((4,), 1, 600, learning_rate=1e38)
    with pytest.raises(RuntimeError, match="training of digits-0 has diverged"):
        train_nets.train(tmp_path, "digits-0", recipe, 0)
    assert not list(tmp_path.iterdir())
