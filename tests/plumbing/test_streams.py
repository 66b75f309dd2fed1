"""Streams are told apart by their names alone."""

import jax
import numpy as np

from probrev.inference.methods import METHODS
from probrev.plumbing.streams import generator, stream


def bits(key):
    return tuple(jax.random.key_data(key).tolist())


def test_streams_depend_on_seed_and_name_alone():
    assert bits(stream(3, "gibbs")) == bits(stream(jax.random.key(3), "gibbs"))
    assert bits(stream(3, "gibbs")) != bits(stream(4, "gibbs"))
    assert generator(3, "ties").uniform() == generator(3, "ties").uniform()
    assert generator(3, "ties").uniform() != generator(3, "tie").uniform()


def test_no_two_streams_of_a_run_meet():
    """Nor do they meet keys that the seed itself gives by splitting or folding small numbers in."""
    uses = [
        "simulate", "ladder", "dropout", "curve", "samples/dropout", "predictive/x",
        "predictive/prior", *METHODS, *(f"{name}/{start}" for name in METHODS for start in (0, 32)),
    ]  # fmt: skip
    keys = [bits(stream(0, use)) for use in uses]
    root = jax.random.key(0)
    keys += [bits(root), *map(bits, jax.random.split(root, 8))]
    keys += [bits(jax.random.fold_in(root, index)) for index in range(100)]
    assert len(set(keys)) >= len(keys) - 8  # split and fold_in may share keys among themselves
    named, others = set(keys[: len(uses)]), set(keys[len(uses) :])
    assert len(named) == len(uses)
    assert not named & others


def test_generators_of_different_uses_are_independent():
    one, two = (generator(0, name).normal(size=20_000) for name in ("a/b", "a/c"))
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / np.sqrt(20_000)
