"""What SHADOW is tried on: data sets, numbers of labels, how each is trained, and the arms."""

from dataclasses import replace
from typing import Any, NamedTuple
from zlib import crc32

import jax
import numpy as np
from jaxtyping import Int, PRNGKeyArray

import probrev as pr
from analyses.datasets import Images, draw_subset

WHOLE = 0
BASELINE, LONG = "baseline", "baseline, 3× the steps"
MODES: dict[str, pr.Shadow] = {
    "SHADOW, end to end": pr.Shadow(mode="end_to_end"),
    "SHADOW, per layer": pr.Shadow(mode="per_layer"),
}
# Of the drawn inputs in the loss; the best on validation images is taken.
WEIGHTS = (0.1, 0.3, 1.0)
# SHADOW's step has at most three times the products of a plain one.
TIMES_LONGER = 3
VALIDATION_SHARE, MOST_VALIDATION = 0.2, 6000
# Children of a case's key: seeds of the choice of weights are not those that are judged.
CHOICE_STREAM, JUDGED_STREAM = 0, 1


class Case(NamedTuple):
    """A data set, a number of labels and a recipe.

    Attributes:
        images: name of the data set.
        size: number of labels, or WHOLE.
        recipe: of every arm.
        num_seeds: of every arm; each has its own labels, start, batches and dropout.
        num_choice_seeds: the same when the weight is chosen on this case.
        is_long: whether there is also an arm with more steps without SHADOW.
    """

    images: str
    size: int
    recipe: pr.Recipe
    num_seeds: int = 10
    num_choice_seeds: int = 5
    is_long: bool = True

    @property
    def name(self) -> str:
        """As files are named."""
        return f"{self.images}-{self.size or 'whole'}"

    @property
    def key(self) -> PRNGKeyArray:
        """Of the case, the same in every run."""
        return jax.random.key(crc32(self.name.encode()))

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, the baseline first."""
        return (BASELINE, *MODES, *([LONG] if self.is_long else []))


class Sample(NamedTuple):
    """What the seeds of a case are trained on.

    Attributes:
        keys: one for each seed.
        subsets: rows of the training images, (seed, subset), or (subset,) where all have the same.
    """

    keys: PRNGKeyArray
    subsets: Int[np.ndarray, "*seed subset"]


def draw_sample(case: Case, images: Images) -> Sample:
    """Labels and keys of the seeds that are judged: every arm has the same ones."""
    key = jax.random.fold_in(case.key, JUDGED_STREAM)
    rows = np.arange(len(images.train_labels))
    return _draw(key, images, rows, case.size, case.num_seeds)


def draw_choice(case: Case, images: Images) -> tuple[Sample, Int[np.ndarray, " validation"]]:
    """Labels and keys for choosing the weight, and rows of the images to choose it on.

    All are of the training images; the test images have no part in the choice.
    """
    key = jax.random.fold_in(case.key, CHOICE_STREAM)
    num_images = len(images.train_labels)
    num_validation = min(round(VALIDATION_SHARE * num_images), MOST_VALIDATION)
    order = draw_subset(_generator(key), images.train_labels, num_images)
    validation, pool = order[:num_validation], np.sort(order[num_validation:])
    return _draw(key, images, pool, case.size, case.num_choice_seeds), validation


def _draw(key: PRNGKeyArray, images: Images, pool: np.ndarray, size: int, num_seeds: int) -> Sample:
    keys = jax.random.split(key, num_seeds)
    if size == WHOLE:
        return Sample(keys, pool)
    labels = images.train_labels[pool]
    rows = [pool[draw_subset(_generator(one), labels, size)] for one in keys]
    return Sample(keys, np.stack(rows))


def _generator(key: PRNGKeyArray) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())


SMALL = pr.Recipe(num_epochs=200, batch_size=50, input_keep_prob=0.8)
MIDDLE = pr.Recipe(num_epochs=100, input_keep_prob=0.8)
# 8 x 8 pixels hold too little to drop many.
DIGITS = pr.Recipe(num_epochs=100, batch_size=50)
FASHION = pr.Recipe(num_epochs=10, batch_size=128, hidden_keep_prob=0.8)
SIZES: dict[str, dict[str, Any]] = {
    "quick": {
        "cases": (
            Case("digits", 100, replace(SMALL, input_keep_prob=0.9), 3, 2),
            Case("digits", WHOLE, replace(DIGITS, num_epochs=30), 3, 2),
        )
    },
    "full": {
        "cases": (
            Case("digits", 500, replace(MIDDLE, input_keep_prob=0.9)),
            Case("digits", 100, replace(SMALL, input_keep_prob=0.9)),
            Case("digits", WHOLE, DIGITS),
            Case("mnist", 500, MIDDLE),
            Case("fashion", 500, MIDDLE, is_long=False),
            Case("fashion", WHOLE, FASHION, 3, is_long=False),
            Case("mnist", 100, SMALL),
            Case("mnist", WHOLE, replace(MIDDLE, num_epochs=30), is_long=False),
            Case("mnist", 2000, replace(MIDDLE, num_epochs=40), is_long=False),
            Case("fashion", 100, SMALL, is_long=False),
            Case("fashion", 2000, replace(MIDDLE, num_epochs=40), is_long=False),
        )
    },
}
