"""The merge of two parts' running sums against sums over all their states at once."""

import jax
import numpy as np

from probrev.inference.state_sums import Sums, merge_sums

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
        top_log_joint=np.take_along_axis(log_joint, top, axis=1),
        top=numbers[top],
    )


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
