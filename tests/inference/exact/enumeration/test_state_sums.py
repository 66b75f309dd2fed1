"""Sums over blocks of states, and merged ones, against plain sums over all states at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from probrev.inference.exact.enumeration import state_sums
from probrev.inference.exact.enumeration.state_sums import Sums, add_block, merge_sums, no_sums

NUM_DRAWS = 20_000
NUM_TOP = 4
NUM_LEFT = 5


def sum_states(rng, log_joint, h, numbers) -> Sums:
    """Plain sums over some states, (obs, state), and iid draws of them."""
    log_scale = log_joint.max(1)
    possible = np.isfinite(log_scale)
    weight = np.exp(log_joint - np.where(possible, log_scale, 0)[:, None])
    mass = weight.sum(1)
    probs = np.where(possible, weight.T / np.where(possible, mass, 1), 1 / len(numbers)).T
    top = np.argsort(-log_joint, axis=1, kind="stable")[:, :NUM_TOP]
    return Sums(
        log_scale=log_scale,
        mass=mass,
        first=weight @ h,
        second=weight @ h**2,
        active=weight @ (h > 0),
        draws=np.stack([rng.choice(numbers, NUM_DRAWS, p=row) for row in probs]),
        next_move=np.empty((len(mass), NUM_DRAWS)),
        top_log_joint=np.take_along_axis(log_joint, top, axis=1),
        top=numbers[top],
    )


def stream_states(log_joint, h, size, num_draws, rows=slice(None), sums=None):
    """The same sums block by block, over the states of some rows, added to others."""
    numbers = jnp.arange(len(h), dtype=float)
    # A state is told by its last column, which the table reads.
    states = jnp.column_stack([h, numbers])
    table, (first, end, _) = jnp.asarray(log_joint.T), rows.indices(len(h))

    @jax.jit
    def add(sums, start):
        return add_block(
            sums, jax.random.key(5), lambda h: table[h[:, -1].astype(int)], states, start,
            jnp.asarray(end), size,
        )  # fmt: skip

    if sums is None:
        sums = no_sums(len(log_joint), h.shape[1] + 1, num_draws, NUM_TOP)
    for start in range(first, end, size):
        sums = add(sums, jnp.asarray(start))
    return sums


def make_many():
    """200 states of six observations: rising, falling, level with ties, late, rare, impossible."""
    rng = np.random.default_rng(8)
    h = rng.uniform(0.5, 2, (200, 3)) * (rng.uniform(size=(200, 3)) < 0.6)
    log_joint = rng.normal(-700, 1, (6, 200))
    log_joint[0] += np.linspace(0, 900, 200)
    log_joint[1] -= np.linspace(0, 9, 200)
    log_joint[2] = np.round(log_joint[2])
    log_joint[3, :150] = -np.inf
    log_joint[4] = np.where(rng.uniform(size=200) < 0.95, -np.inf, log_joint[4])
    log_joint[5] = -np.inf
    return rng, log_joint, h


@pytest.mark.parametrize(
    ("size", "moved_at_once"),
    [
        (16, 7),
        *(
            pytest.param(*sizes, marks=pytest.mark.slow)
            for sizes in ((1, 2**13), (77, 2**13), (200, 7))
        ),
    ],
)
def test_blocks_are_the_whole(size, moved_at_once, monkeypatch):
    monkeypatch.setattr(state_sums, "MOVED_AT_ONCE", moved_at_once)
    rng, log_joint, h = make_many()
    whole = sum_states(rng, log_joint, h, np.arange(200))
    sums = stream_states(log_joint, h, size, num_draws=50)
    for name in ("log_scale", "mass", "top_log_joint"):
        np.testing.assert_allclose(getattr(sums, name), getattr(whole, name), rtol=1e-12)
    for name in ("first", "second", "active"):
        np.testing.assert_allclose(getattr(sums, name)[:, :-1], getattr(whole, name), rtol=1e-12)
    seen = np.isfinite(whole.top_log_joint)
    np.testing.assert_array_equal(np.asarray(sums.top)[seen], whole.top[seen])


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 16])
def test_draws_of_blocks_are_independent_draws(size):
    _, log_joint, h = make_many()
    check_draws(stream_states(log_joint, h, size, NUM_DRAWS).draws, log_joint)


@pytest.mark.slow
def test_merged_sums_go_on():
    _, log_joint, h = make_many()
    parts = [
        stream_states(log_joint, h, 16, NUM_DRAWS, rows) for rows in (slice(96), slice(96, 160))
    ]
    merged = merge_sums(jax.random.key(2), *parts)
    rest = stream_states(log_joint, h, 16, NUM_DRAWS, slice(160, 200), merged)
    check_draws(rest.draws, log_joint)


def check_draws(draws, log_joint):
    """Draws of 200 states, (obs, draw), as many of each as its mass says, and independent."""
    draws = np.asarray(draws)
    for drawn, row in zip(draws[:5], log_joint[:5], strict=True):
        probs = np.exp(row - row.max())
        probs /= probs.sum()
        frequency = np.bincount(drawn, minlength=200) / NUM_DRAWS
        std = np.sqrt(probs * (1 - probs) / NUM_DRAWS)
        # The normal law needs an expected count of some size; below that none may be far above.
        likely = probs * NUM_DRAWS > 10
        assert np.all(np.abs(frequency - probs)[likely] <= 4.5 * std[likely])
        assert np.all(frequency[~likely] <= 40 / NUM_DRAWS)
        assert np.all(frequency[probs == 0] == 0)
        # Neighbours are as independent as any two: draws must not move in company.
        above = (drawn >= np.median(drawn)) - np.mean(drawn >= np.median(drawn))
        for lag in (1, 2, 16):
            correlation = np.mean(above[lag:] * above[:-lag])
            assert abs(correlation) <= 4.5 * np.var(above) / np.sqrt(NUM_DRAWS)


def make_parts():
    """Twelve states of five observations: left heavier, right heavier, one side or both without."""
    rng = np.random.default_rng(3)
    h = rng.uniform(0.5, 2, (12, 3)) * (rng.uniform(size=(12, 3)) < 0.6)
    numbers = 40 + np.arange(12)
    log_joint = rng.normal(-700, 1, (5, 12))
    log_joint[0, :NUM_LEFT] += 1.3
    log_joint[1, NUM_LEFT:] += 0.8
    log_joint[2, :NUM_LEFT] = -np.inf
    log_joint[3, NUM_LEFT:] = -np.inf
    log_joint[4] = -np.inf
    left, right = slice(NUM_LEFT), slice(NUM_LEFT, None)
    parts = [sum_states(rng, log_joint[:, s], h[s], numbers[s]) for s in (left, right)]
    return parts, sum_states(rng, log_joint, h, numbers), log_joint, numbers


def test_merged_parts_are_the_whole():
    parts, whole, log_joint, numbers = make_parts()
    merged = merge_sums(jax.random.key(1), *parts)
    for name in ("log_scale", "mass", "first", "second", "active", "top_log_joint"):
        np.testing.assert_allclose(
            getattr(merged, name), getattr(whole, name), rtol=1e-12, err_msg=name
        )
    seen = np.isfinite(whole.top_log_joint)
    np.testing.assert_array_equal(np.asarray(merged.top)[seen], whole.top[seen])
    for draws, row in zip(np.asarray(merged.draws)[:4], log_joint[:4], strict=True):
        probs = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        frequency = (draws[:, None] == numbers).mean(0)
        std = np.sqrt(probs * (1 - probs) / NUM_DRAWS)
        assert np.all(np.abs(frequency - probs) <= 4.5 * std)


def test_draws_stay_or_move_in_their_places():
    """A draw is never swapped for another's: that would leave them identically distributed only."""
    parts, *_ = make_parts()
    left, right = parts
    draws = np.asarray(merge_sums(jax.random.key(1), left, right).draws)
    assert np.all((draws == left.draws) | (draws == right.draws))
    moved = np.mean(draws != left.draws, axis=1)
    assert 0 < moved[0] < 0.5 < moved[1] < 1
    assert moved[2] == 1
    assert moved[3] == 0
