"""The permutation test against all relabellings, written out; its level; what it can see."""

import itertools

import numpy as np
import pytest

from probrev.posterior.energy_test import ENOUGH, NONE_OF, NUM_PERMUTATIONS, energy_test, p_value


def plain_energy(first, second):
    """N k / (n + k) (2 E|X - Y| - E|X - X'| - E|Y - Y'|), by loops."""

    def mean_distance(one, other):
        return sum(np.sqrt(((a - b) ** 2).sum()) for a in one for b in other) / (
            len(one) * len(other)
        )

    value = 2 * mean_distance(first, second)
    value -= mean_distance(first, first) + mean_distance(second, second)
    return value * len(first) * len(second) / (len(first) + len(second))


def all_relabelled(first, second):
    """The statistic under every choice of rows of the first sample, the observed one first."""
    pooled = np.concatenate([first, second])
    pooled = pooled / pooled.std(0)
    found = []
    for chosen in itertools.combinations(range(len(pooled)), len(first)):
        mask = np.isin(np.arange(len(pooled)), chosen)
        found.append(plain_energy(pooled[mask], pooled[~mask]))
    return np.array(found)


def small_pairs():
    """Two pairs of unequal sizes, with equal rows, coordinates of very different scale."""
    rng = np.random.default_rng(4)
    scale = np.array([1.0, 50.0, 0.02])
    first = rng.normal(size=(4, 3)) * scale, rng.normal(1.6, 1, size=(4, 3)) * scale
    second = rng.integers(0, 2, (2, 3)) * scale, rng.integers(0, 3, (6, 3)) * scale
    return [first, second]


def test_p_value_and_contributions_against_all_relabellings():
    pairs = small_pairs()
    single = [all_relabelled(*pair) for pair in pairs]
    sums = (single[0][:, None] + single[1][None]).ravel()
    p = (sums >= sums[0] - 1e-9).mean()
    assert 0.01 < p < 0.3
    # All permutations: fewer than 50 of so few are as extreme, so none is left out.
    found = np.array(
        [energy_test(np.random.default_rng(seed), pairs, 499).p_value for seed in range(60)]
    )
    error = np.sqrt(p * (1 - p) / 499 / 60)
    assert abs(found.mean() - p) < 4.5 * error + 1 / 499
    contributions = np.mean(
        [energy_test(np.random.default_rng(seed), pairs, 499).contribution for seed in range(60)],
        axis=0,
    )
    expected = [(one[0] - one.mean()) / sums.std() for one in single]
    np.testing.assert_allclose(contributions, expected, rtol=0.03, atol=0.02)


def test_level_with_early_stopping():
    """P(p <= a) is a, at most: small samples of one law, with ties."""
    rng = np.random.default_rng(5)
    found = np.array(
        [
            energy_test(rng, [(rng.integers(0, 3, (12, 2)), rng.integers(0, 3, (9, 2)))]).p_value
            for _ in range(400)
        ]
    )
    for level in (0.05, 0.2, 0.5):
        spread = np.sqrt(level * (1 - level) / len(found))
        assert abs((found <= level).mean() - level) < 4.5 * spread


def test_p_is_the_probability_of_what_was_found_or_less():
    """Where the laws are the same, in whichever way the drawing ends: by simulation of ranks."""
    rng, num, share = np.random.default_rng(9), 200_000, 0.02
    # Below the true rank lies a uniform share of permutations; of small ones only, weighed.
    rank = share * rng.uniform(size=num)
    first = rng.binomial(NONE_OF, rank)
    total = first + rng.binomial(NUM_PERMUTATIONS - NONE_OF, rank)
    stops = np.zeros(NUM_PERMUTATIONS, bool)
    at_end = np.full(ENOUGH, np.nan)
    for number in range(1, ENOUGH):
        late = np.copy(stops)
        late[NONE_OF - 1 : NONE_OF - 1 + number] = True
        at_end[number] = p_value(late)
    clear = p_value(stops[:NONE_OF])
    found = np.where(first == 0, clear, at_end[np.minimum(total, ENOUGH - 1)])
    found[(first > 0) & (total >= ENOUGH)] = 1.0
    for level in (clear, *at_end[1:]):
        expected, seen = level / share, (found <= level).mean()
        assert abs(seen - expected) < 4.5 * np.sqrt(expected * (1 - expected) / num)
    assert clear == 1 / (1 + NONE_OF)
    assert p_value(stops[:100]) == 1 / 101


def test_drawing_stops_only_where_all_permutations_would_not_flag():
    rng = np.random.default_rng(6)
    same = energy_test(rng, [(rng.normal(size=(60, 2)), rng.normal(size=(60, 2)))])
    assert same.p_value > 50 / 9999
    apart = energy_test(rng, [(rng.normal(size=(60, 2)), rng.normal(1, 1, size=(60, 2)))])
    assert apart.p_value == 1 / 2000


def test_sees_what_marginals_do_not_show():
    rng = np.random.default_rng(7)
    first = rng.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], 200)
    second = rng.normal(size=(200, 2))
    assert energy_test(rng, [(first, second)]).p_value <= 1e-3
    # It is found among pairs with nothing to show, and pointed at.
    dull = [(rng.normal(size=(70, 2)), rng.normal(size=(90, 2))) for _ in range(5)]
    found = energy_test(rng, [*dull, (first, second)])
    assert found.p_value <= 1e-3
    assert np.argmax(found.contribution) == 5


@pytest.mark.parametrize("value", [0.0, 0.6])
def test_rounding_of_a_constant_says_nothing(value):
    rng = np.random.default_rng(8)
    pair = rng.normal(size=(2, 100, 2))
    pair[..., 1] = value
    pair[1, :, 1] = np.float32(value)
    assert energy_test(rng, [tuple(pair)]).p_value > 0.01
    pair[..., 0] = 1.5
    found = energy_test(rng, [tuple(pair)])
    assert found.p_value > 0.9
    np.testing.assert_array_equal(found.contribution, 0)
