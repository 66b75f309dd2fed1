"""What a recipe refuses and what it counts."""

import pytest

import probrev as pr


def test_it_counts_whole_batches():
    recipe = pr.Recipe(num_epochs=3, batch_size=20)
    assert recipe.count_steps(59) == 6
    assert recipe.lengthen(2.5).num_epochs == 8
    assert recipe.lengthen(0).num_epochs == 1


def test_dropout_is_below_every_layer():
    recipe = pr.Recipe((30, 20), input_keep_prob=0.9, hidden_keep_prob=0.4)
    assert recipe.keep_probs == (0.9, 0.4, 0.4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_epochs": 0}, "num_epochs must be at least 1; got 0"),
        ({"batch_size": -5}, "batch_size must be at least 1; got -5"),
        ({"hidden": (3, 0)}, r"hidden\[1\] must be at least 1; got 0"),
        ({"input_keep_prob": 0.0}, r"input_keep_prob must lie in \(0, 1\]"),
        ({"hidden_keep_prob": 1.5}, r"hidden_keep_prob must lie in \(0, 1\].*got 1.5"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite; got 0.0"),
        ({"weight_decay": -1.0}, "weight_decay must be a finite number, at least 0; got -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        pr.Recipe(**settings)
