"""theory §13: a perfect posterior agrees; a scaled, shifted, shuffled or slightly wrong one not."""

import math
from dataclasses import replace

import arviz as az
import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
import xarray as xr

import probrev as pr
from probrev.posterior.agreement import LEVEL, Outcome, measure_agreement
from probrev.posterior.posterior import from_draws
from probrev.posterior.thresholds import place_thresholds
from tests import small_case
from tests.small_case import LAYER, MODEL, NUM_OBS

X = np.asarray(small_case.observe().x)


@pytest.fixture(scope="module")
def exact():
    return small_case.exact()


def redraw(seed, num_draws=4000, model=MODEL):
    """Draws of the exact posterior from another seed, (chain, draw, obs, hidden)."""
    again = pr.exact(model, small_case.observe(), num_draws=num_draws, seed=seed)
    return again.draws.to_numpy()


def as_posterior(draws, sampling="mcmc"):
    return from_draws("elsewhere", draws, X[: draws.shape[2]], model=MODEL, sampling=sampling)


def shuffle_apart(draws, rng):
    """Every unit's draws in an order of its own: marginals are kept."""
    return rng.permuted(draws.reshape(-1, *draws.shape[2:]), axis=0).reshape(draws.shape)


# Perfect posteriors


@pytest.mark.slow
def test_perfect_posteriors_agree(exact):
    found = [measure_agreement(as_posterior(redraw(seed), "iid"), exact) for seed in range(20, 28)]
    found += [measure_agreement(as_posterior(redraw(seed)), exact) for seed in range(30, 34)]
    assert all(one.agrees for one in found), [one.reason for one in found]
    assert all(one.reason == "" for one in found)
    # The bound is no blank cheque: a perfect sampler comes within some factor of it.
    excess = np.array([float(one.threshold_excess.max()) for one in found])
    assert 0.15 < excess.max() < 1
    # Total variation lies where iid draws put it, above or below by chance.
    beyond = np.stack([one.total_variation - one.total_variation_floor for one in found])
    assert abs(beyond.mean()) < 4.5 * beyond.std() / np.sqrt(beyond.size) + 0.002


def test_exact_posteriors_agree_and_so_do_two_samplers(exact):
    again = pr.exact(MODEL, small_case.observe(), num_draws=4000, seed=8)
    assert measure_agreement(again, exact).agrees
    samplers = [as_posterior(redraw(seed)) for seed in (9, 10)]
    assert measure_agreement(*samplers).agrees
    assert measure_agreement(exact, samplers[0]).agrees


def sticky(draws, rng, stay):
    """A perfect but slow chain: each draw is kept with probability `stay`, else a fresh one."""
    index = np.arange(draws.shape[1])
    moves = rng.random((draws.shape[0], draws.shape[1], draws.shape[2])) >= stay
    moves[:, 0] = True
    last = np.maximum.accumulate(np.where(moves, index[None, :, None], 0), axis=1)
    return np.take_along_axis(draws, last[..., None], axis=1)


def test_correlated_perfect_chains_agree(exact):
    """Autocorrelations are those of an AR(1) at .8: N / ESS is 9."""
    rng = np.random.default_rng(4)
    for seed in range(40, 43):
        chain = as_posterior(sticky(redraw(seed), rng, 0.8))
        found = measure_agreement(chain, exact)
        assert found.agrees, found.reason
        assert found.joint_contribution.notnull().any()


@pytest.mark.slow
def test_chains_declared_independent_do_not_agree(exact):
    rng = np.random.default_rng(4)
    for seed in range(40, 43):
        chain = as_posterior(sticky(redraw(seed), rng, 0.9))
        found = measure_agreement(replace_sampling(chain), exact)
        assert found.outcome is Outcome.DISAGREES


def replace_sampling(posterior):
    tree = posterior.tree.copy()
    tree.attrs = {**tree.attrs, "sampling": "iid"}
    return replace(posterior, tree=tree)


# Wrong ones


WRONG = {
    "scaled": lambda h, rng: np.where(h > 0, 3 * h + 1, 0),
    "scaled a little": lambda h, rng: 1.1 * h,
    "shifted": lambda h, rng: np.where(h > 0, h + 0.1, 0),
    "shuffled apart": shuffle_apart,
    "slightly wrong": lambda h, rng: redraw(
        7, model=pr.LayeredModel(MODEL.prior, [replace(LAYER, noise_std=1.3 * LAYER.noise_std)])
    ),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("reference", ["exact", pytest.param("sampler", marks=pytest.mark.slow)])
def test_wrong_posteriors_do_not_agree(name, reference):
    right = {"exact": small_case.exact, "sampler": small_case.sampler}[reference]()
    draws = WRONG[name](redraw(6), np.random.default_rng(1))
    found = measure_agreement(as_posterior(draws), right)
    assert found.outcome is Outcome.DISAGREES
    assert found.joint_p <= LEVEL
    assert "jointly p = 0.000" in found.reason


@pytest.mark.slow
def test_blind_spots_of_inclusion_alone():
    """A posterior scaled and shifted where it is not 0, and one whose units are shuffled apart."""
    layer = pr.Layer(np.random.default_rng(0).normal(size=(60, 8)), keep_prob=0.5, noise_std=0.7)
    slab = pr.FiniteSlab([0.5, 1.0], [0.5, 0.5])
    model = pr.LayeredModel(pr.SpikeAndSlab(8, 0.2, slab), [layer])
    obs = model.simulate(jax.random.key(0), 8)
    exact = pr.exact(model, obs)
    h = exact.draws.to_numpy()
    wrong = {
        "scaled": np.where(h > 0, 3 * h + 1, 0),
        "apart": shuffle_apart(h, np.random.default_rng(1)),
    }
    for draws in wrong.values():
        found = measure_agreement(from_draws("elsewhere", draws, obs.x, model=model), exact)
        assert not found.agrees
        assert found.inclusion_gap.max() < 0.03


def test_one_wrong_unit_is_named(exact):
    draws = redraw(5).copy()
    unit = int(np.abs(exact.inclusion_prob.to_numpy()[2] - 0.5).argmin())
    rng = np.random.default_rng(0)
    off = (draws[:, :, 2, unit] == 0) & (rng.uniform(size=draws.shape[:2]) < 0.15)
    draws[:, :, 2, unit][off] = 0.6
    found = measure_agreement(as_posterior(draws), exact)
    np.testing.assert_array_equal(found.threshold_excess <= 1, np.arange(NUM_OBS) != 2)
    assert found.worst_unit[2] == unit
    assert found.worst_threshold[2] == 0
    assert f"P(h_{unit} > 0) of observation 2 is off by " in found.reason
    assert "thresholds are on 1 of 6 observations" in found.reason


def test_a_unit_that_is_never_visited(exact):
    """Right where its probability is next to 0, wrong where it is not."""
    draws = redraw(5).copy()
    p = exact.inclusion_prob.to_numpy()
    draws[:, :, p < 2e-4] = 0.0
    assert measure_agreement(as_posterior(draws), exact).agrees
    obs, unit = np.unravel_index(np.argmin(np.abs(p - 0.1)), p.shape)
    draws[:, :, obs, unit] = 0.0
    found = measure_agreement(as_posterior(draws), exact)
    assert found.threshold_excess[obs] > 1
    assert found.worst_unit[obs] == unit


# Figures against loops


def plain_kl(q, p):
    terms = [(q, p), (1 - q, 1 - p)]
    return sum(one * math.log(one / other) for one, other in terms if one > 0)


def plain_excess(posterior, reference, sizes, known):
    """ESS KL(p' || p) over its bound, unit by unit and threshold by threshold."""
    found, count = [], 0
    for obs in range(len(posterior.obs)):
        own, other = (
            one.draws.to_numpy()[:, :, obs].reshape(-1, 4) for one in (posterior, reference)
        )
        largest = 0.0
        for unit, thresholds in enumerate(place_thresholds(other)):
            for index, threshold in enumerate(thresholds[~np.isnan(thresholds)]):
                count += 1
                p, q = (float((h[:, unit] > threshold).mean()) for h in (own, other))
                m, n = (size[obs, unit, index] for size in sizes)
                if known and index == 0:
                    value = m * plain_kl(p, float(reference.inclusion_prob[obs, unit]))
                else:
                    pooled = (m * p + n * q) / (m + n)
                    value = (m * plain_kl(p, pooled) + n * plain_kl(q, pooled)) / 2
                largest = max(largest, value)
        found.append(largest)
    return np.array(found) / math.log(2 * count / 0.001)


def test_excess_against_an_exact_posterior_is_the_written_one(exact):
    posterior = as_posterior(redraw(7), "iid")
    found = measure_agreement(posterior, exact)
    sizes = np.full((NUM_OBS, 4, 6), 4000.0)
    expected = plain_excess(posterior, exact, (sizes, sizes), known=True)
    np.testing.assert_allclose(found.threshold_excess, expected, rtol=1e-3)


def test_excess_of_two_samplers_is_the_written_one():
    """With the ESS of the slowest indicator, found one by one."""
    rng = np.random.default_rng(11)
    posteriors = [as_posterior(sticky(redraw(seed), rng, 0.6)) for seed in (11, 12)]
    found = measure_agreement(*posteriors)
    sizes = [plain_sizes(one, posteriors[1]) for one in posteriors]
    expected = plain_excess(*posteriors, sizes, known=False)
    np.testing.assert_allclose(found.threshold_excess, expected, rtol=1e-9)


def plain_sizes(posterior, reference):
    """ESS of every indicator, one by one, and at most that of the slowest which switches often."""
    found = np.full((NUM_OBS, 4, 6), np.inf)
    for obs in range(NUM_OBS):
        smallest = np.inf
        thresholds = place_thresholds(reference.draws.to_numpy()[:, :, obs].reshape(-1, 4))
        for unit, index in np.ndindex(4, 6):
            draws = posterior.draws.to_numpy()[:, :, obs, unit]
            above = (draws > thresholds[unit, index]).astype(int)
            if above.min() == above.max():
                continue
            size = float(az.ess(xr.DataArray(above, dims=("chain", "draw")), method="mean"))
            found[obs, unit, index] = size
            steps = np.diff(above, axis=1)
            if min((steps > 0).sum(), (steps < 0).sum()) >= 10:
                smallest = min(smallest, size)
        found[obs] = np.minimum(found[obs], smallest)
    return found


def test_total_variation_is_that_of_the_supports():
    """Against counts in a dictionary, where both posteriors give all draws to the comparison."""
    shape = (4, 250, 1, 4)
    rng = np.random.default_rng(2)
    one = np.where(rng.uniform(size=shape) < 0.3, 1.0, 0.0)
    other = np.where(rng.uniform(size=shape) < [0.6, 0.3, 0.3, 0.0], 2.0, 0.0)
    found = measure_agreement(as_posterior(one), as_posterior(other))

    def law(draws):
        codes, counts = np.unique(draws.reshape(-1, 4) > 0, axis=0, return_counts=True)
        return {tuple(code): count / 1000 for code, count in zip(codes, counts, strict=True)}

    p, q = law(one), law(other)
    expected = sum(abs(p.get(key, 0) - q.get(key, 0)) for key in {*p, *q}) / 2
    # Half of the second posterior is kept for the floor, so this is a noisy version.
    assert float(found.total_variation[0]) == pytest.approx(expected, abs=0.08)
    assert float(found.total_variation_floor[0]) < 0.12
    assert not found.agrees


# Priors without an atom


def half_normal():
    with numpyro.plate("hidden", 3):
        return numpyro.sample("value", dist.HalfNormal(1.0))


@pytest.mark.proof
def test_hmc_under_a_prior_without_an_atom():
    weights = np.random.default_rng(0).normal(1, 0.3, (20, 3))  # alike, so that units compete
    model = pr.LayeredModel(half_normal, [pr.Layer(weights, 0.8, 0.4, 0.5)])
    obs = model.simulate(jax.random.key(0), 2)
    first, second = (pr.hmc(jax.random.key(seed), model, obs, num_samples=2000) for seed in (1, 2))
    found = measure_agreement(first, second)
    assert found.agrees, found.reason
    h = first.draws.to_numpy()
    for draws in (1.3 * h, h + 0.2, shuffle_apart(h, np.random.default_rng(0))):
        assert not measure_agreement(from_draws("elsewhere", draws, obs.x), second).agrees


@pytest.mark.slow
def test_posteriors_without_an_atom():
    rng = np.random.default_rng(3)
    mixing = rng.uniform(0.1, 1, (4, 4))

    def draw():
        return rng.gamma(1.5, 1.0, (4, 300, NUM_OBS, 4)) @ mixing

    reference = as_posterior(draw())
    found = measure_agreement(as_posterior(draw()), reference)
    assert found.agrees, found.reason
    assert (found.worst_threshold > 0).all()
    h = draw()
    for name in ("scaled a little", "shuffled apart"):
        assert not measure_agreement(as_posterior(WRONG[name](h, rng)), reference).agrees
    assert not measure_agreement(as_posterior(h + 0.2), reference).agrees


# What cannot be checked


def test_still_chains_are_unchecked(exact):
    found = measure_agreement(as_posterior(np.zeros((4, 500, NUM_OBS, 4))), exact)
    assert found.outcome is Outcome.UNCHECKED
    assert not found.agrees
    assert not found.checked.any()
    assert found.threshold_excess.isnull().all()
    assert np.isnan(found.joint_p)
    assert (found.worst_unit == -1).all()
    assert found.reason == (
        "too few switches to check any threshold on 6 of 6 observations; "
        "fewer than 100 independent draws for the joint test on 6 of 6 observations"
    )


def test_a_still_observation_is_told_of(exact):
    draws = redraw(3).copy()
    draws[:, :, 1] = 0.0
    found = measure_agreement(as_posterior(draws), exact)
    np.testing.assert_array_equal(found.checked, np.arange(NUM_OBS) != 1)
    assert found.outcome is Outcome.AGREES
    assert "threshold on 1 of 6 observations; fewer than 100" in found.reason


def test_draws_that_stand_still_but_are_independent_can_be_checked(exact):
    found = measure_agreement(as_posterior(np.zeros((4, 500, NUM_OBS, 4)), "iid"), exact)
    assert found.outcome is Outcome.DISAGREES


@pytest.mark.slow
def test_too_few_draws_for_the_joint_test_are_not_agreement(exact):
    """Thresholds alone see no dependence between units, so they cannot say that two agree."""
    short = as_posterior(redraw(3, 240))
    found = measure_agreement(short, exact)
    assert found.outcome is Outcome.UNCHECKED
    assert found.threshold_excess.notnull().any()
    assert "joint test on 6 of 6 observations" in found.reason


# What is compared


def test_only_common_observations_are_compared(exact):
    part = as_posterior(redraw(5)[:, :, :2])
    assert measure_agreement(part, exact).threshold_excess.sizes == {"obs": 2}
    tree = part.tree.copy()
    for group in ("posterior", "diagnostics"):
        tree[group] = tree[group].to_dataset().assign_coords(obs=[40, 41])
    with pytest.raises(ValueError, match="no observation in common"):
        measure_agreement(replace(part, tree=tree), exact)


def test_the_seed_is_all_that_is_random(exact):
    sampler = small_case.sampler()
    first, again, other = (measure_agreement(sampler, exact, seed=seed) for seed in (1, 1, 2))
    assert first.joint_p == again.joint_p
    assert first.joint_p != other.joint_p
    xr.testing.assert_identical(first.threshold_excess, other.threshold_excess)


@pytest.mark.slow
def test_an_approximation_is_no_reference_and_has_an_error(exact):
    rough = small_case.approximation()
    found = measure_agreement(rough, exact)
    gap = np.abs(rough.inclusion_prob - exact.inclusion_prob).max("hidden")
    np.testing.assert_allclose(found.inclusion_gap, gap, rtol=1e-12)
    assert found.outcome is Outcome.UNCHECKED
    assert found.reason == "message_passing is an approximation, which has an error instead"
    with pytest.raises(ValueError, match="message_passing is an approximation, which no posterior"):
        measure_agreement(exact, rough)
