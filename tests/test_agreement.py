"""theory §11: a perfect sampler agrees; one that is a little wrong does not."""

from dataclasses import replace

import numpy as np
import pytest

import probrev as pr
from probrev.agreement import effective_size, measure_agreement
from probrev.posterior import from_draws
from tests import small_case
from tests.small_case import LAYER, MODEL, NUM_OBS

X = np.asarray(small_case.observe().x)


def resample(posterior, rng, num_draws=4000):
    """iid draws from the states that carry an exact posterior's mass, all of them kept here."""
    states = posterior.tree["exact/top_states"].transpose("obs", "state", "hidden").to_numpy()
    probs = np.exp(posterior.tree["exact/top_log_prob"].to_numpy())
    np.testing.assert_allclose(probs.sum(1), 1)
    picked = [
        s[rng.choice(len(s), num_draws, p=p / p.sum())] for s, p in zip(states, probs, strict=True)
    ]
    return np.stack(picked, axis=1).reshape(4, -1, NUM_OBS, 4)


@pytest.fixture(scope="module")
def exact():
    return small_case.exact()


def test_perfect_samplers_agree(exact):
    """12 perfect samplers, 6 observations each: theory allows at most .25 % to fail."""
    rng = np.random.default_rng(3)
    excess, beyond_floor = [], []
    for _ in range(12):
        found = measure_agreement(from_draws("iid", resample(exact, rng), X), exact)
        excess.append(found.inclusion_excess.to_numpy())
        beyond_floor.append((found.total_variation - found.total_variation_floor).to_numpy())
        np.testing.assert_array_equal(found.agrees, found.inclusion_excess <= 1)
    excess = np.asarray(excess)
    assert (excess <= 1).mean() >= 0.98
    # The tolerance is no blank cheque either: 4 standard errors are reached by a quarter at times.
    assert excess.max() > 0.4
    # Total variation lies where iid draws put it, above or below by chance.
    beyond_floor = np.asarray(beyond_floor)
    assert abs(beyond_floor.mean()) < 4.5 * beyond_floor.std() / np.sqrt(beyond_floor.size) + 0.002


def test_total_variation_is_that_of_the_supports():
    """Against counts in a dictionary, where both posteriors give all draws to the comparison."""
    shape = (4, 250, 1, 4)
    rng = np.random.default_rng(2)
    one = np.where(rng.uniform(size=shape) < 0.3, 1.0, 0.0)
    other = np.where(rng.uniform(size=shape) < [0.6, 0.3, 0.3, 0.0], 2.0, 0.0)
    first, second = (from_draws("s", draws, X[:1]) for draws in (one, other))
    found = measure_agreement(first, second)

    def law(draws):
        codes, counts = np.unique(draws.reshape(-1, 4) > 0, axis=0, return_counts=True)
        return {tuple(code): count / 1000 for code, count in zip(codes, counts, strict=True)}

    p, q = law(one), law(other)
    expected = sum(abs(p.get(key, 0) - q.get(key, 0)) for key in {*p, *q}) / 2
    # Half of the second posterior is kept for the floor, so this is a noisy version.
    assert float(found.total_variation[0]) == pytest.approx(expected, abs=0.08)
    assert float(found.total_variation_floor[0]) < 0.12
    assert not found.agrees.any()


def test_inclusion_tolerance_is_the_written_one(exact):
    """|p_mcmc - p| over 4 sqrt(p (1 - p) / ESS) + 2 / ESS, ESS the smallest over units."""
    draws = resample(exact, np.random.default_rng(7))
    posterior = from_draws("iid", draws, X)
    found = measure_agreement(posterior, exact)
    p = exact.inclusion_prob.to_numpy()
    size = posterior.tree["diagnostics/ess_active"].to_numpy()
    smallest = np.nanmin(size, axis=1, keepdims=True).clip(max=4000)
    tolerance = 4 * np.sqrt(p * (1 - p) / smallest) + 2 / smallest
    difference = np.abs((draws > 0).mean((0, 1)) - p)
    np.testing.assert_allclose(found.inclusion_excess, (difference / tolerance).max(1), rtol=1e-4)


def test_a_posterior_at_more_noise_does_not_agree(exact):
    noisier = pr.LayeredModel(MODEL.prior, [replace(LAYER, noise_std=1.3 * 0.9)])
    wrong = pr.exact(noisier, small_case.observe(), num_draws=4000)
    found = measure_agreement(from_draws("wrong", wrong.draws.to_numpy(), X), exact)
    assert not found.agrees.all()
    assert float(found.inclusion_excess.max()) > 1.5


def test_a_planted_shift_does_not_agree(exact):
    draws = small_case.sampler().draws.to_numpy().copy()
    unit = int(np.abs(exact.inclusion_prob.to_numpy()[2] - 0.5).argmin())
    rng = np.random.default_rng(0)
    off = (draws[:, :, 2, unit] == 0) & (rng.uniform(size=draws.shape[:2]) < 0.15)
    draws[:, :, 2, unit][off] = 0.6
    found = measure_agreement(from_draws("shifted", draws, X), exact)
    np.testing.assert_array_equal(found.agrees, np.arange(NUM_OBS) != 2)


def test_a_unit_that_is_never_visited(exact):
    """Right where its probability is next to 0, wrong where it is not."""
    draws = small_case.sampler().draws.to_numpy().copy()
    p = exact.inclusion_prob.to_numpy()
    draws[:, :, p < 2e-4] = 0.0
    silent = from_draws("silent", draws, X)
    assert measure_agreement(silent, exact).agrees.all()
    obs, unit = np.unravel_index(np.argmin(np.abs(p - 0.1)), p.shape)
    draws[:, :, obs, unit] = 0.0
    found = measure_agreement(from_draws("silent", draws, X), exact)
    assert not found.agrees[obs]


def test_units_that_never_flip_leave_the_number_of_draws():
    posterior = from_draws("still", np.zeros((4, 50, 2, 3)), X[:2])
    np.testing.assert_array_equal(effective_size(posterior), [200, 200])


def test_two_samplers_add_their_variances(exact):
    rng = np.random.default_rng(11)
    short, long = (from_draws("iid", resample(exact, rng, num), X) for num in (800, 4000))
    found = measure_agreement(short, long)
    assert found.agrees.all()
    p = (short.inclusion_prob + long.inclusion_prob).to_numpy() / 2
    sizes = [effective_size(one).to_numpy()[:, None] for one in (short, long)]
    tolerance = 4 * np.sqrt(sum(p * (1 - p) / size for size in sizes)) + sum(2 / s for s in sizes)
    difference = np.abs((short.inclusion_prob - long.inclusion_prob).to_numpy())
    np.testing.assert_allclose(found.inclusion_excess, (difference / tolerance).max(1), rtol=1e-4)


def test_only_common_observations_are_compared(exact):
    part = from_draws("part", small_case.sampler().draws.to_numpy()[:, :, :2], X[:2])
    assert measure_agreement(part, exact).agrees.sizes == {"obs": 2}
    tree = part.tree.copy()
    for group in ("posterior", "diagnostics"):
        tree[group] = tree[group].to_dataset().assign_coords(obs=[40, 41])
    with pytest.raises(ValueError, match="no observation in common"):
        measure_agreement(replace(part, tree=tree), exact)


@pytest.mark.slow
def test_an_approximation_is_no_reference(exact):
    rough = small_case.approximation()
    found = measure_agreement(rough, exact)
    gap = np.abs(rough.inclusion_prob - exact.inclusion_prob).max("hidden")
    np.testing.assert_allclose(found.inclusion_gap, gap, rtol=1e-12)
    assert not found.agrees.all()
    with pytest.raises(ValueError, match="message_passing is an approximation, which no posterior"):
        measure_agreement(exact, rough)
