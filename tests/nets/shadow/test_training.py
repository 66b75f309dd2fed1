"""Training against the chain rule in NumPy, against itself interrupted, and against bad input."""

import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probrev as pr
from probrev.nets.shadow import training as module
from tests.nets.shadow.small_net import (
    LABELS,
    NET,
    WEIGHTS,
    X,
    cross_entropy,
    forward,
    relu,
    slopes,
)

KEY = jax.random.key(2)
CERTAIN = pr.Recipe((5, 4), 1, 7, input_keep_prob=1.0, hidden_keep_prob=1.0)
BATCH = module.Labelled(jnp.asarray(X), jnp.asarray(LABELS))
SMALL = pr.Recipe((6, 4), num_epochs=5, batch_size=16)


def make_data(num_images, seed=0):
    """Three classes that lie apart, and pixels that say nothing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=num_images)
    images = rng.gamma(2.0, 0.3, (num_images, 8))
    images[np.arange(num_images), labels] += 1.5
    return images.astype(np.float32), labels


IMAGES, TARGETS = make_data(100)
HELD_OUT = make_data(60, seed=1)


def train(key=KEY, recipe=SMALL, **settings):
    return pr.train_classifier(key, IMAGES, TARGETS, recipe, held_out=HELD_OUT, **settings)


def assert_same(found, expected):
    """Bit for bit."""
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def baseline():
    return train()


def check_slopes(found, weights, biases):
    for one, expected in zip((*found.weights, *found.biases), (*weights, *biases), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-9, atol=1e-12)


def test_loss_and_slope_against_the_chain_rule():
    (loss, real), found = jax.value_and_grad(module._loss, has_aux=True)(
        NET, KEY, BATCH, CERTAIN, None
    )
    np.testing.assert_allclose([loss, real], cross_entropy(X, LABELS), rtol=1e-12)
    check_slopes(found, *slopes(X, LABELS))


@pytest.mark.parametrize("mode", ["end_to_end", "per_layer"])
def test_with_shadow_the_slope_stops_at_what_is_drawn(mode):
    """The drawn inputs are constants to the chain rule in NumPy."""
    x, below, top, _ = forward(X)

    def down(layer, h, real):
        drawn = relu(h @ WEIGHTS[layer].T)
        return drawn * np.sqrt((real**2).sum() / (drawn**2).sum())

    if mode == "end_to_end":
        drawn = [(0, down(0, down(1, top, below), x))]
    else:
        drawn = [(0, down(0, below, x)), (1, down(1, top, below))]
    expected = cross_entropy(X, LABELS)
    parts = slopes(X, LABELS)
    weights, biases = parts
    for first, one in drawn:
        share = 0.7 / len(drawn)
        expected += share * cross_entropy(one, LABELS, first)
        more_weights, more_biases = slopes(one, LABELS, first)
        weights = [a + share * b for a, b in zip(weights, more_weights, strict=True)]
        biases = [a + share * b for a, b in zip(biases, more_biases, strict=True)]
    shadow = pr.Shadow(weight=0.7, mode=mode, keep_prob=1.0)
    (loss, real), found = jax.value_and_grad(module._loss, has_aux=True)(
        NET, KEY, BATCH, CERTAIN, shadow
    )
    np.testing.assert_allclose([loss, real], [expected, cross_entropy(X, LABELS)], rtol=1e-12)
    check_slopes(found, weights, biases)


@pytest.mark.slow
def test_one_step_of_adam_with_decay():
    """One batch of all images: w - rate * (g / |g| + decay w), where g is not tiny."""
    recipe = pr.Recipe((5, 4), 1, 100, 0.01, 0.3, 1.0, 1.0)
    images = IMAGES.astype(float)
    start = module._begin(KEY[None], (8, 5, 4, 3), jnp.dtype(float), recipe, jnp.arange(100)).net
    start = jax.tree.map(lambda leaf: leaf[0], start)
    batch = module.Labelled(jnp.asarray(images), jnp.asarray(TARGETS))
    slope, _ = jax.grad(module._loss, has_aux=True)(start, KEY, batch, recipe, None)
    trained = pr.train_classifier(KEY, images, TARGETS, recipe)
    for group, decay in (("weights", 0.3), ("biases", 0.0)):
        parts = (getattr(one, group) for one in (start, slope, trained.net))
        for before, g, after in zip(*parts, strict=True):
            expected = before - 0.01 * (g / (np.abs(g) + 1e-8) + decay * before)
            np.testing.assert_allclose(after, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_it_learns(baseline):
    assert baseline.finite
    assert baseline.curve.num_steps.tolist() == [6, 12, 18, 24, 30]
    longer = train(recipe=pr.Recipe((6, 4), 60, 16, learning_rate=0.01))
    assert longer.curve.error[-1] < 0.2 < longer.curve.error[0]
    error = (np.asarray(longer.net(HELD_OUT[0])) != HELD_OUT[1]).mean()
    assert longer.curve.error[-1] == pytest.approx(error)
    logits = longer.net.logits(HELD_OUT[0])
    expected = pr.expected_calibration_error(logits, HELD_OUT[1])
    assert longer.curve.calibration_error[-1] == pytest.approx(float(expected), abs=1e-6)
    assert longer.net.weights[0].dtype == np.float32


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["end_to_end", "per_layer"])
def test_shadow_of_weight_0_is_the_baseline_but_for_rounding(baseline, mode):
    """It is another program, in which the compiler may round otherwise."""
    weightless = train(shadow=pr.Shadow(0.0, mode))
    for name in ("weights", "biases"):
        pairs = zip(getattr(weightless.net, name), getattr(baseline.net, name), strict=True)
        for found, expected in pairs:
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    changed = train(shadow=pr.Shadow(0.5, mode))
    assert not np.array_equal(changed.net.weights[0], baseline.net.weights[0])


@pytest.mark.slow
def test_seeds_at_once_are_seeds_one_by_one(baseline):
    keys = jnp.stack([jax.random.key(9), KEY])
    together = train(keys)
    assert together.curve.error.shape == (5, 2)
    assert together.finite.shape == (2,)
    for name in ("weights", "biases"):
        pairs = zip(getattr(together.net, name), getattr(baseline.net, name), strict=True)
        for many, one in pairs:
            np.testing.assert_allclose(many[1], one, rtol=2e-4, atol=2e-5)


@pytest.mark.slow
def test_each_seed_is_trained_on_its_own_rows():
    """Images out of the subset have no part: NaN there would spread."""
    keys = jax.random.split(KEY, 2)
    rows = np.stack([np.arange(20, 60), np.arange(50, 90)])
    images = IMAGES.copy()
    expected = pr.train_classifier(keys, images, TARGETS, SMALL, subsets=rows)
    images[:20], images[90:] = 0.3, 7.0
    assert_same(pr.train_classifier(keys, images, TARGETS, SMALL, subsets=rows), expected)
    images[20:50] = 0.3
    changed = pr.train_classifier(keys, images, TARGETS, SMALL, subsets=rows)
    weights, before = changed.net.weights[0], expected.net.weights[0]
    np.testing.assert_array_equal(weights[1], before[1])
    assert not np.array_equal(weights[0], before[0])


@pytest.mark.slow
def test_divergence_is_told():
    diverged = train(recipe=pr.Recipe((6, 4), 5, 16, learning_rate=1e38))
    assert not diverged.finite
    assert diverged.curve.error.shape == (5,)


@pytest.mark.slow
def test_checks_change_nothing(baseline):
    once = train(num_checks=1)
    assert_same(once.net, baseline.net)
    assert once.curve.error == baseline.curve.error[-1]


class StopError(Exception):
    pass


def stop_after(num_steps):
    def stop(done, total):
        assert total == 30
        if done >= num_steps:
            raise StopError

    return stop


def test_interrupted_and_resumed_it_ends_with_the_same_numbers(tmp_path, baseline):
    path = tmp_path / "training.npz"
    with pytest.raises(StopError, match=r"^$"):
        train(checkpoint=path, progress=stop_after(18))
    told = []
    resumed = train(checkpoint=path, progress=lambda done, total: told.append((done, total)))
    assert told == [(24, 30), (30, 30)]
    assert_same(resumed, baseline)
    # Done already: read, not trained.
    assert_same(train(checkpoint=path, progress=stop_after(0)), baseline)
    with pytest.raises(ValueError, match="belongs to another run"):
        train(jax.random.key(8), checkpoint=path)
    with pytest.raises(ValueError, match="belongs to another run"):
        train(shadow=pr.Shadow(), checkpoint=path)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        train(checkpoint=path)


KILLED = """
import os, sys, jax, numpy as np
sys.path.insert(0, {root!r})
from tests.nets.shadow.test_training import *

def progress(done, total):
    print(done, flush=True)

trained = train(recipe=pr.Recipe((6, 4), 40, 16), shadow=pr.Shadow(0.5), num_checks=40,
                checkpoint={path!r}, progress=progress)
np.savez({out!r}, *jax.tree.leaves(trained))
"""


@pytest.mark.slow
def test_killed_and_run_again_it_ends_with_the_same_numbers(tmp_path):
    """By SIGKILL, in the middle of training, several times."""
    root = str(os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..")))

    def start(name):
        paths = {"path": str(tmp_path / f"{name}.npz"), "out": str(tmp_path / f"{name}-out.npz")}
        script = KILLED.format(root=root, **paths)
        return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)

    whole = start("whole")
    told, _ = whole.communicate(timeout=300)
    assert whole.returncode == 0
    assert told.split() == [str(6 * epoch) for epoch in range(1, 41)]
    for stop in (9, 20):
        process = start("killed")
        lines = [process.stdout.readline() for _ in range(stop)]
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
        process.stdout.close()
        assert all(lines)
        assert not (tmp_path / "killed-out.npz").exists()
        time.sleep(0.1)
    last = start("killed")
    told, _ = last.communicate(timeout=300)
    assert last.returncode == 0
    assert len(told.split()) <= 40 - 9 - 20 + 2
    with np.load(tmp_path / "whole-out.npz") as one, np.load(tmp_path / "killed-out.npz") as two:
        assert one.files == two.files
        for name in one.files:
            np.testing.assert_array_equal(two[name], one[name])


def refuse(message, images=IMAGES, labels=TARGETS, recipe=SMALL, error=ValueError, **settings):
    key = settings.pop("key", KEY)
    with pytest.raises(error, match=message):
        pr.train_classifier(key, images, labels, recipe, **settings)


def test_bad_input_is_refused():
    refuse("images must be an array of floats", images=IMAGES[0])
    refuse("images must be an array of floats", images=(IMAGES * 255).astype(np.uint8))
    refuse("images must be finite", images=np.where(IMAGES > 1, np.nan, IMAGES))
    refuse("labels must be 100 whole numbers", labels=TARGETS[:99])
    refuse("labels must be 100 whole numbers", labels=TARGETS.astype(float))
    refuse("labels must be at least 0; got -1", labels=TARGETS - 1)
    refuse("held_out must have images of 8 pixels", held_out=(IMAGES[:, :5], TARGETS))
    refuse("labels of at most 2; got 8 and 3", held_out=(IMAGES, TARGETS + 1))
    refuse("shadow draws from a hidden layer", recipe=pr.Recipe(()), shadow=pr.Shadow())
    refuse("images must be so too", images=IMAGES - 1, shadow=pr.Shadow())
    refuse("batch_size must be at most the 100 images", recipe=pr.Recipe(batch_size=101))
    refuse("subsets must have shape", subsets=np.zeros((2, 20), int))
    refuse("rows of the images, 0 to 99", subsets=np.arange(50, 101))
    refuse("num_checks must be at least 1", num_checks=0)
    refuse("key must be one of jax.random.key", key=jax.random.PRNGKey(0), error=TypeError)
    keys = jax.random.split(KEY, (2, 2))
    refuse("or a 1-D array of such keys", key=keys, error=TypeError)
