"""Whether pairs of samples have the same law, all coordinates together: a permutation test."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.distance import cdist
from scipy.stats import hypergeom

NUM_PERMUTATIONS = 9999
# Permutations at least as extreme as what was observed, after which no more are drawn ...
ENOUGH = 50
# ... nor after so many of which none was.
NONE_OF = 1999
# So many permutations at first, and at a time: few enough for their arrays to stay in cache.
FIRST_ROUND, AT_A_TIME = 500, 500
# Statistics that differ by less than this part count as equal: sums of the same terms in another
# order are so up to rounding, in float32.
EQUAL = 1e-5
# A coordinate that varies by less than this part of its size is constant, up to rounding.
ROUNDING = 1e-6

Pair = tuple[Float[np.ndarray, "first coordinate"], Float[np.ndarray, "second coordinate"]]


class EnergyTest(NamedTuple):
    """What a permutation test of pairs of samples found.

    Attributes:
        p_value: of the hypothesis that the two samples of every pair have the same law.
        contribution: of each pair, its statistic above its mean over permutations, in standard
            deviations of the sum over pairs: they add up to a z-score.
    """

    p_value: float
    contribution: Float[np.ndarray, " pair"]


def energy_test(
    rng: np.random.Generator, pairs: Sequence[Pair], num_permutations: int = NUM_PERMUTATIONS
) -> EnergyTest:
    """Tests that both samples of every pair have the same law, once for all pairs.

    The statistic is the sum over pairs of n k / (n + k) (2 E|X - Y| - E|X - X'| - E|Y - Y'|), each
    coordinate in units of its pooled standard deviation, n and k the sizes of the pair's samples.
    Labels are permuted within each pair. The p-value of all permutations is (1 + number at least as
    large) / (1 + number of permutations). Drawing stops earlier once 50 were, after l, and then p
    is 50 / l; or when none of the first 1999 was, and then p is 1 / 2000: either way the
    probability, where the laws are the same, of what was found or more extreme. So p after all
    permutations is larger by what stopping at none has spent: 1e-3 takes 8 of 9999, not 9.

    Args:
        rng: of the permutations.
        pairs: two samples each, rows independent of one another, in as many coordinates.
        num_permutations: at most.

    Source: Székely and Rizzo 2004, Testing for equal distributions in high dimension; stopping
    early after Besag and Clifford 1991, Sequential Monte Carlo p-values. Stopping at none is ours.
    """
    sums = np.zeros(len(pairs))
    observed = np.array([_energies(form, form.labels[None])[0] for form in map(_form, pairs)])
    total, permuted = observed.sum(), np.empty(0)
    for end in (FIRST_ROUND, NONE_OF, num_permutations):
        size = min(end, num_permutations) - len(permuted)
        if size <= 0 or (permuted >= total).sum() >= ENOUGH or _is_clear(permuted >= total):
            break
        fresh = np.zeros(size)
        for index, pair in enumerate(pairs):
            found = _permuted_energies(rng, _form(pair), size)
            fresh += found
            sums[index] += found.sum()
        fresh[np.isclose(fresh, total, rtol=EQUAL, atol=EQUAL)] = total
        permuted = np.concatenate([permuted, fresh])
    spread = permuted.std()
    above = observed - sums / len(permuted)
    contribution = np.divide(above, spread, out=np.zeros_like(above), where=spread > 0)
    return EnergyTest(p_value(permuted >= total), contribution)


def _is_clear(extreme: Bool[np.ndarray, " permutation"]) -> bool:
    """Whether none was as extreme of so many that no more are drawn."""
    return len(extreme) >= NONE_OF and not extreme[:NONE_OF].any()


def p_value(extreme: Bool[np.ndarray, " permutation"]) -> float:
    """From which permutations were at least as extreme, in the order in which they were drawn."""
    number, where = len(extreme), np.flatnonzero(extreme)
    if len(where) >= ENOUGH:
        return ENOUGH / float(where[ENOUGH - 1] + 1)
    if _is_clear(extreme):
        return 1 / (1 + NONE_OF)
    p = (1 + len(where)) / (1 + number)
    if number > NONE_OF:
        # As few of them in all, or none of the first; of j in all none is with this probability.
        none_first = hypergeom.pmf(0, number, np.arange(1 + len(where)), NONE_OF)
        p += 1 / (1 + NONE_OF) - none_first.sum() / (1 + number)
    return float(p)


class _Form(NamedTuple):
    """A pair's statistic as a quadratic form in its labels.

    Equal rows are one state, on which only the number of either label matters.

    Attributes:
        labels: of the pooled rows in the order of their states, whether of the first sample.
        starts: row with which each state begins.
        distances: between states, less their means over pooled rows, in float32 for speed.
    """

    labels: Bool[np.ndarray, " row"]
    starts: Int[np.ndarray, " state"]
    distances: Float[np.ndarray, "state state"]


def _form(pair: Pair) -> _Form:
    """States of the pooled rows, and their distances in pooled standard deviations."""
    pooled = np.concatenate(pair).astype(float)
    scale = pooled.std(axis=0)
    pooled = pooled / np.where(scale > ROUNDING * np.abs(pooled).max(axis=0), scale, np.inf)
    states, code, counts = np.unique(pooled, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(code.reshape(-1), kind="stable")
    distances = cdist(states, states)
    mean = distances @ counts / len(pooled)
    distances -= mean[:, None] + mean[None] - mean @ counts / len(pooled)
    starts = np.cumsum(counts) - counts
    return _Form(order < len(pair[0]), starts, distances.astype(np.float32))


def _energies(
    form: _Form, labels: Bool[np.ndarray, "labelling row"]
) -> Float[np.ndarray, " labelling"]:
    """The statistic under labellings.

    It is -w'Dw n k / (n + k), D the distances, w_i = 1 / n or -1 / k by a row's label; with D
    centred -a'Da (n + k) / (n k), a the number of each state's rows that are labelled first.
    """
    first, total = int(form.labels.sum()), len(form.labels)
    number = np.add.reduceat(labels.view(np.int8), form.starts, axis=1, dtype=np.float32)
    value = np.einsum("ls,ls->l", number @ form.distances, number, dtype=float)
    return -value * total / (first * (total - first))


def _permuted_energies(
    rng: np.random.Generator, form: _Form, size: int
) -> Float[np.ndarray, " labelling"]:
    """The statistic under random labellings."""
    first, total = int(form.labels.sum()), len(form.labels)
    found = []
    for start in range(0, size, AT_A_TIME):
        # The rows with the smallest keys are labelled first. Keys are equal once in 2^32.
        shape = min(AT_A_TIME, size - start), total
        keys = rng.integers(2**32, size=shape, dtype=np.uint32)
        last = np.partition(keys, first - 1, axis=1)[:, first - 1 : first]
        found.append(_energies(form, keys <= last))
    return np.concatenate(found)
