"""The net against loops over its units, and its dropout against moments of Bernoulli draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from probrev.nets.shadow.classifier import draw_mask, drop_units, start_classifier
from tests.nets.shadow.small_net import LABELS, NET, X, forward

KEY = jax.random.key(3)


def test_it_goes_up_layer_by_layer():
    *hidden, logits = forward(X)
    for found, expected in zip(NET.hidden(X), hidden, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(NET.logits(X), logits, rtol=1e-12)
    np.testing.assert_allclose(NET.logits(X[2]), logits[2], rtol=1e-12)
    np.testing.assert_array_equal(NET(X), logits.argmax(1))
    assert 0 < (np.asarray(NET(X)) == LABELS).mean() < 1


@pytest.mark.parametrize("first", [0, 1, 2])
def test_without_dropout_it_is_the_net_from_that_layer_up(first):
    h = forward(X)[first]
    found = NET.dropout_logits(KEY, jnp.asarray(h), (1.0, 1.0, 1.0), first)
    np.testing.assert_allclose(found, forward(X)[-1], rtol=1e-12)


def test_every_layer_has_the_keep_prob_of_its_input():
    """With almost everything dropped at one layer, what comes out is the rest's own bias."""
    silent = NET.dropout_logits(KEY, jnp.asarray(X), (1.0, 1.0, 1e-9))
    # 1/256 is the least: some units stay.
    assert (np.isclose(silent, NET.biases[-1]).all(1)).mean() > 0.5
    changed = NET.dropout_logits(KEY, jnp.asarray(X), (0.5, 1.0, 1.0))
    assert not np.allclose(changed, forward(X)[-1])


def test_dropout_leaves_the_mean():
    h = jnp.asarray([[0.7, 2.0, 0.0]]).repeat(40_000, 0)
    found = np.asarray(drop_units(KEY, h, 0.7))
    level = 179 / 256  # .7 rounded
    assert set(np.unique(found[:, 1]).round(9)) == {0.0, round(2 / level, 9)}
    kept = (found > 0).mean(0)
    error = np.sqrt(level * (1 - level) / 40_000)
    assert (np.abs(kept[:2] - level) < 4 * error).all()
    assert kept[2] == 0
    # Units are dropped independently of each other.
    assert abs(np.corrcoef((found[:, :2] > 0).T)[0, 1]) < 4 / np.sqrt(40_000)


@pytest.mark.parametrize("units", [1, 4, 7])
def test_masks_of_any_width(units):
    mask, kept = draw_mask(KEY, (5000, units), 0.25)
    assert kept == 0.25
    assert mask.shape == (5000, units)
    assert (np.abs(np.asarray(mask).mean(0) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 5000)).all()


def test_all_kept_is_no_mask():
    assert draw_mask(KEY, (3, 2), 1.0) == (None, 1.0)
    assert drop_units(KEY, jnp.asarray(X), 1.0) is not None


def test_the_start_keeps_the_scale_of_activations():
    net = start_classifier(KEY, (400, 300, 200, 7), np.float32)
    for weights, gain in zip(net.weights, (2, 2, 1), strict=True):
        assert weights.dtype == np.float32
        count, std = weights.size, np.sqrt(gain / weights.shape[0])
        assert abs(np.std(weights) / std - 1) < 4 / np.sqrt(2 * count)
        assert abs(np.mean(weights)) < 4 * std / np.sqrt(count)
    assert all((np.asarray(bias) == 0).all() for bias in net.biases)
