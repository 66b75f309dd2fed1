"""The numbering of states against plain enumeration."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from probrev.model.states import FiniteStates

# n_hidden, num_values, fewest, most
CASES = [(4, 1, 0, 4), (4, 3, 0, 2), (5, 2, 2, 2), (3, 2, 1, 3), (1, 4, 0, 1)]
TAKE = jax.jit(lambda states, index: states[index])


def distinct_values(n_hidden, num_values):
    """Values that differ between units, so that a state tells which unit has which level."""
    return 1 + np.arange(n_hidden * num_values, dtype=float).reshape(n_hidden, num_values)


def enumerate_plainly(values, fewest, most):
    rows = [[0.0, *unit] for unit in values]
    vectors = itertools.product(*rows)
    return {h for h in vectors if fewest <= sum(one > 0 for one in h) <= most}


@pytest.mark.parametrize("case", CASES)
def test_numbering_is_a_bijection_onto_all_states(case):
    n_hidden, num_values, fewest, most = case
    values = distinct_values(n_hidden, num_values)
    states = FiniteStates(jnp.asarray(values), fewest, most)
    expected = enumerate_plainly(values, fewest, most)
    listed = [tuple(map(float, h)) for h in np.asarray(TAKE(states, np.arange(states.count)))]
    assert len(listed) == len(states) == states.count == len(expected)
    assert set(listed) == expected


def test_states_come_by_number_of_active_units_and_then_colexicographic_support():
    states = FiniteStates(jnp.asarray(distinct_values(4, 1)), 0, 3)
    active = np.asarray(TAKE(states, np.arange(states.count))) > 0
    assert np.all(np.diff(active.sum(1)) >= 0)
    pairs = [tuple(np.flatnonzero(row)) for row in active if row.sum() == 2]
    assert pairs == sorted(itertools.combinations(range(4), 2), key=lambda pair: pair[::-1])


def test_a_state_depends_on_its_number_alone():
    states = FiniteStates(jnp.asarray(distinct_values(5, 3)), 1, 4)
    index = jnp.asarray([0, 700, 14, 14, states.count - 1])
    whole = np.asarray(TAKE(states, np.arange(states.count)))
    np.testing.assert_array_equal(states[index], whole[np.asarray(index)])
    np.testing.assert_array_equal(TAKE(states, index), states[index])


def test_counts_of_huge_spaces_are_exact_integers():
    states = FiniteStates(jnp.ones((400, 7)), 0, 400)
    assert states.count == 8**400
    assert FiniteStates(jnp.ones((400, 7)), 90, 90).count == math.comb(400, 90) * 7**90


def test_huge_numbers_give_states_without_listing_any():
    """8 values, at most 6 of 120 units: about 1e15 states, and int64 arithmetic throughout."""
    values = distinct_values(120, 8)
    states = FiniteStates(jnp.asarray(values), 0, 6)
    assert 1e14 < states.count < 2**63
    first, last = np.asarray(TAKE(states, np.asarray([0, states.count - 1])))
    assert not first.any()
    np.testing.assert_array_equal(np.flatnonzero(last), range(114, 120))
    np.testing.assert_array_equal(last[114:], values[114:, -1])
