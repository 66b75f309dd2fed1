"""No noise: points by linear algebra or search, states by enumeration, held against plain NumPy."""

import itertools
import math

import jax
import numpy as np
import pytest
from numpyro.distributions import HalfNormal
from scipy import integrate
from scipy.stats import halfnorm, norm

import probrev as pr
from probrev.inference.exact.plan import exact_plan_of
from tests.inference import brute_force

RNG = np.random.default_rng(3)
WEIGHTS = RNG.normal(0.2, 1.1, (14, 6))
SPIKES = [0.3, 0.45, 0.2, 0.5, 0.35, 0.4]
SCALE = 0.8


def build(weights=WEIGHTS, keep_prob=0.6, max_active=2, gain=0.7, prior=None, noise_std=0.0):
    n_hidden = weights.shape[1]
    prior = prior or pr.SpikeAndSlab(n_hidden, SPIKES[:n_hidden], HalfNormal(SCALE), max_active)
    return pr.LayeredModel(prior, [pr.Layer(weights, keep_prob, noise_std, gain)])


def make_x(h, weights=WEIGHTS, gain=0.7, dropped=()):
    x = gain * np.maximum(weights @ np.asarray(h, float), 0)
    x[list(dropped)] = 0
    return x


def solve(model, *x, **settings):
    return pr.exact(model, pr.Observations(np.stack(x)), num_draws=8, **settings)


TRUTHS = np.array([[0.9, 0, 0, 1.7, 0, 0], [0, 0, 0.4, 0, 0, 0]])


@pytest.mark.parametrize(
    ("prior", "dropped"),
    [
        (pr.SpikeAndSlab(6, 0.1, HalfNormal(np.linspace(0.5, 2, 6)), 3), ()),
        (pr.SpikeAndSlab(6, 0.1, HalfNormal(np.linspace(0.5, 2, 6)), 3), range(11)),
        (pr.SpikeAndSlab(6, SPIKES, HalfNormal(SCALE)), range(10)),
    ],
)
def test_truth_is_recovered(prior, dropped):
    """By least squares where six rows or more are active, else by search."""
    weights = np.where(np.arange(14)[:, None] >= 2, np.abs(WEIGHTS), WEIGHTS)
    xs = [make_x(h, weights, dropped=dropped) for h in TRUTHS]
    posterior = solve(build(weights, prior=prior), *xs)
    np.testing.assert_allclose(posterior.mean, TRUTHS, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(posterior.mean.to_numpy() > 0, TRUTHS > 0)
    assert float(posterior.var.max()) < 1e-25
    np.testing.assert_array_equal(posterior.inclusion_prob, TRUTHS > 0)
    np.testing.assert_allclose(posterior.draws[0, 0], TRUTHS, rtol=1e-12)
    assert posterior.status == "ok"


def test_exactly_k_active_units():
    x = make_x(TRUTHS[0])
    posterior = solve(build(prior=pr.KSparse(6, 2, HalfNormal(SCALE))), x)
    np.testing.assert_allclose(posterior.mean[0], TRUTHS[0], rtol=1e-12, atol=1e-13)
    with pytest.raises(ValueError, match="observation 0 has probability zero"):
        solve(build(prior=pr.KSparse(6, 3, HalfNormal(SCALE))), x)


WHOLE = np.array([[1, 1, -3, 2], [2, 2, 1, -3], [1, -2, 2, -3], [-1, 3, 1, 2], [3, 3, -3, 2]])
VALUES, PROBS, SPIKE = [1, 2], [0.3, 0.7], 0.35
FINITE = pr.SpikeAndSlab(4, SPIKE, pr.FiniteSlab(VALUES, PROBS), 3)


def weigh_states(seen, keep_prob):
    """All states and p(h, x), equations and signs decided in integers; seen: W h of active rows."""
    states, weights, normaliser = [], [], 0.0
    for state in itertools.product([0, *VALUES], repeat=4):
        h = np.array(state)
        if (h > 0).sum() > 3:
            continue
        prior = math.prod(SPIKE * PROBS[v - 1] if v else 1 - SPIKE for v in state)
        normaliser += prior
        z = WHOLE @ h
        factor = np.where(seen > 0, keep_prob * (z == seen), 1 - keep_prob * (z > 0))
        states.append(h)
        weights.append(prior * factor.prod())
    return np.array(states), np.array(weights) / normaliser


@pytest.mark.parametrize("keep_prob", [pytest.param(0.6, marks=pytest.mark.slow), 1.0])
def test_finite_slab_agrees_with_integers(keep_prob):
    """Columns 0 and 1 tie on some rows, and some silent W_j h are 0 but for rounding."""
    truths = np.array([[1, 0, 0, 0], [0, 2, 0, 1], [2, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    rows = np.maximum(truths @ WHOLE.T, 0)
    if keep_prob < 1:
        rows[:3, [2, 3]] = 0
    posterior = solve(build(WHOLE / 10, keep_prob, prior=FINITE), *(0.7 * rows / 10))
    num_ties = 0
    for index, seen in enumerate(rows):
        states, weight = weigh_states(seen, keep_prob)
        prob = weight / weight.sum()
        num_ties += (prob > 0).sum() > 1
        mean = prob @ states
        found = posterior.tree["exact"].to_dataset().sel(obs=index)
        np.testing.assert_allclose(found["mean"], mean, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(found["var"], prob @ (states - mean) ** 2, atol=1e-12)
        np.testing.assert_allclose(found["inclusion_prob"], prob @ (states > 0), rtol=1e-12)
        np.testing.assert_allclose(found["log_evidence"], np.log(weight.sum()), rtol=1e-12)
    assert num_ties >= (2 if keep_prob < 1 else 0)


def test_finite_slab_is_the_limit_of_little_noise():
    """Columns 0 and 1 agree on the active rows and differ in the silent ones."""
    truths = np.array([[0, 2, 0, 0], [1, 0, 0, 0], [1, 0, 1, 0], [0, 1, 0, 2], [2, 0, 0, 1]])
    weights = np.random.default_rng(6).normal(0.4, 1, (5, 4))
    weights[:3, 1] = weights[:3, 0]
    x = np.stack([make_x(h, weights, dropped=[3, 4]) for h in truths])
    limit = solve(build(weights, prior=FINITE), *x)
    values, probs = np.array(VALUES, float), np.array(PROBS)
    noisy = brute_force.Case(weights, 0.6, 1e-4, 0.7, SPIKE, values, probs, 3, x)
    for index, row in enumerate(x):
        truth = brute_force.posterior(noisy, row)
        for name in ("mean", "var", "inclusion_prob"):
            found = limit.tree[f"exact/{name}"].sel(obs=index)
            np.testing.assert_allclose(found, getattr(truth, name), rtol=1e-9, atol=1e-12)
    assert ((limit.inclusion_prob > 0.1) & (limit.inclusion_prob < 0.9)).any("hidden").sum() >= 3


def test_no_state_explains_x():
    x = np.stack([0.07 * np.maximum(WHOLE[:, 0], 0)] * 5)
    x[3, 4] *= 1 + 1e-6
    with pytest.raises(ValueError, match="observation 3 has probability zero under the model"):
        solve(build(WHOLE / 10, prior=FINITE), *x)


TIED = np.array([[0.8, 0.8, 0.6], [0.5, 0.5, 1.2], [0.4, -0.7, 0.6], [-0.3, 0.6, 0.9]])


@pytest.mark.parametrize("num_active", [1, 2])
def test_one_unit_is_the_limit_of_quadrature(num_active):
    """Weights and evidence beside integrals over each unit at a noise_std of 1e-4."""
    model, noise_std, gain, keep_prob = build(TIED, max_active=1), 1e-4, 0.7, 0.6
    x = make_x([0, 1.1, 0], TIED, dropped=[1, 3][num_active - 1 :])
    x[3] = 0
    y, masses = x / gain, []
    spikes = np.array(SPIKES[:3])
    odds = spikes / (1 - spikes)
    for unit in range(3):
        column = TIED[:, unit]

        def density(h, column=column):
            z = column * h
            seen = keep_prob / gain * norm.pdf(y, z, noise_std)
            silent = 1 - keep_prob * norm.cdf(z / noise_std)
            return np.where(x > 0, seen, silent).prod() * halfnorm.pdf(h, scale=SCALE)

        center, width = y[0] / column[0], 12 * noise_std / column[0]
        low, high = center - width, center + width
        integral = integrate.quad(density, low, high, epsrel=1e-10, epsabs=0, points=[center])[0]
        masses.append(odds[unit] / (1 + odds.sum()) * integral)
    found = solve(model, x)
    np.testing.assert_allclose(found.inclusion_prob[0], masses / np.sum(masses), atol=1e-6)
    assert (found.inclusion_prob[0] > 0.02).sum() == (3 if num_active == 1 else 2)
    # With fewer units than equations the density peaks as noise^-1 along the equation left over.
    peak = (num_active - 1) * math.log(math.sqrt(2 * math.pi) * gain * noise_std)
    log_evidence = math.log(np.sum(masses)) + peak
    np.testing.assert_allclose(found.tree["exact/log_evidence"], log_evidence, atol=1e-5)


def test_as_many_units_as_equations_agree_with_rejection():
    """Simulated pairs whose x falls close to the one given, supports counted; x's density too."""
    weights = np.array([[1.1, 0.3, 0.6], [0.2, 0.9, 0.7], [0.5, -0.8, 0.4], [-0.9, 0.2, -0.2]])
    spikes, keep_prob, gain, width = [0.7, 0.6, 0.5], 0.6, 0.7, 0.06
    model = build(weights, prior=pr.SpikeAndSlab(3, spikes, HalfNormal(SCALE), 2))
    x = np.array([0.7 * 0.9, 0.7 * 0.8, 0, 0])
    rng, num = np.random.default_rng(8), 600_000
    on = rng.uniform(size=(num, 3)) < spikes
    on = on[on.sum(1) <= 2]
    h = on * np.abs(rng.normal(0, SCALE, on.shape))
    drawn = gain * np.maximum(h @ weights.T, 0) * (rng.uniform(size=(len(h), 4)) < keep_prob)
    near = (np.abs(drawn - x)[:, :2] < width).all(1) & (drawn[:, 2:] == 0).all(1)
    posterior = solve(model, x)
    off = 1 - posterior.inclusion_prob[0].to_numpy()
    assert np.sum(off > 0.02) >= 2
    count = near.sum()
    share = (h[near] == 0).mean(0)
    assert count > 700
    assert np.all(np.abs(share - off) < 4.5 * np.sqrt(off * (1 - off) / count) + 1e-12)
    density = count / len(h) / (2 * width) ** 2
    log_evidence = float(posterior.tree["exact/log_evidence"][0])
    assert abs(math.log(density) - log_evidence) < 4.5 / math.sqrt(count)
    mean_std = h[near].std(0) / math.sqrt(count)
    assert np.all(np.abs(h[near].mean(0) - posterior.mean[0].to_numpy()) < 4.5 * mean_std + 1e-12)


def test_points_are_kept_as_top_states_and_drawn():
    x, single = make_x([0, 1.1, 0], TIED, dropped=[1, 3]), make_x([0, 0, 0.8], TIED)
    model = build(TIED, max_active=1)
    posterior = pr.exact(model, pr.Observations([single, x]), num_draws=4000)
    exact = posterior.tree["exact"].to_dataset()
    top, prob = exact["top_states"].to_numpy(), np.exp(exact["top_log_prob"].to_numpy())
    assert top.shape == (3, 2, 3)
    np.testing.assert_allclose(prob.sum(1), 1)
    np.testing.assert_array_equal(prob[0], [1, 0, 0])
    np.testing.assert_allclose((prob.T[:, :, None] * top).sum(0), posterior.mean, rtol=1e-12)
    p = posterior.inclusion_prob.to_numpy()
    share = (posterior.draws > 0).mean(("chain", "draw")).to_numpy()
    assert np.all(np.abs(share - p) <= 4.5 * np.sqrt(p * (1 - p) / 4000))
    assert float(exact["unvisited_mass"].max()) == float(exact["integration_error"].max()) == 0


def test_silent_rows_choose_where_nothing_is_dropped():
    """Without dropout a point with W_j h > 0 in a silent row is no point."""
    lone = build(np.array([[0.8, 0.8], [0.4, -0.7]]), 1.0, 1)
    posterior = solve(lone, np.array([0.5, 0.0]))
    np.testing.assert_allclose(posterior.mean[0], [0, 0.5 / 0.7 / 0.8], rtol=1e-12)


def test_what_no_h_explains_has_probability_zero():
    x = make_x(TRUTHS[0])
    off = x.copy()
    off[np.argmax(x)] *= 1 + 1e-6
    wanted = "observation 1 has probability zero under the model"
    with pytest.raises(ValueError, match=wanted):
        solve(build(), x, off)
    three = make_x([0.5, 0.9, 0, 0, 0, 0.7])
    with pytest.raises(ValueError, match=wanted):
        solve(build(), x, three)
    with pytest.raises(ValueError, match=wanted):
        solve(build(keep_prob=1.0), x, make_x(TRUTHS[0], dropped=[np.argmax(x)]))
    # As many active rows as units, and x at right angles to the column.
    line = np.array([[1.0], [-1.0]])
    with pytest.raises(ValueError, match="observation 0 has probability zero under the model"):
        solve(build(line, max_active=1), np.array([1.0, 1.0]))


def test_negative_solutions_have_probability_zero():
    square = np.array([[1.0, 0.5], [0.2, 1.0]])
    with pytest.raises(ValueError, match="observation 0 has probability zero under the model"):
        solve(build(square), square @ [1.0, -0.1])


@pytest.mark.parametrize(
    ("weights", "max_active", "x", "match"),
    [
        (TIED, 2, np.zeros(4), "observation 0 has no active row"),
        (TIED, 2, [0.4, 0, 0, 0], "has 1 active rows, which fewer .* at most 1 active units"),
        (TIED, 3, [0.4, 0.25, 0, 0], "continuous posterior: on its 2 active rows some columns"),
        (np.ones((3, 40)), 9, [0.4, 0.5, 0.6], r"3 active rows, which fewer"),
        (np.ones((30, 40)), 9, np.ones(30), r"373,585,603 supports to try, of at most 131,072"),
    ],
)
def test_what_is_not_made_of_points_is_refused(weights, max_active, x, match):
    spikes = pr.SpikeAndSlab(weights.shape[1], 0.3, HalfNormal(1.0), max_active)
    with pytest.raises(ValueError, match=match):
        solve(build(weights, prior=spikes), np.asarray(x))


def test_columns_that_span_x_and_trade_off_are_refused():
    """Exactly two units, and columns 0 and 1 are one on the active rows: h_0 + h_1 is all known."""
    exactly = build(TIED, prior=pr.KSparse(3, 2, HalfNormal(SCALE)))
    with pytest.raises(ValueError, match="continuous posterior: on its 2 active rows"):
        solve(exactly, make_x([0.5, 0.6, 0], TIED, dropped=[2, 3]))


def test_nothing_active_allowed():
    posterior = solve(build(TIED, max_active=0), np.zeros(4))
    np.testing.assert_array_equal(posterior.mean[0], np.zeros(3))
    with pytest.raises(ValueError, match="observation 0 has probability zero"):
        solve(build(TIED, max_active=0), make_x([1, 0, 0], TIED))


def test_other_models_are_refused():
    obs = pr.Observations(np.ones((1, 14)))
    linear = pr.LayeredModel(build().prior, [pr.Layer(WEIGHTS, 0.5, activation="identity")])
    with pytest.raises(ValueError, match="only where its activation is relu; here it is identity"):
        pr.exact(linear, obs)
    plain = pr.LayeredModel(lambda: np.ones(6), [pr.Layer(WEIGHTS, 0.5)])
    with pytest.raises(ValueError, match="only under SpikeAndSlab or KSparse"):
        pr.exact(plain, obs)
    wide = pr.SpikeAndSlab(200, 0.3, pr.FiniteSlab([1.0], [1.0]))
    with pytest.raises(ValueError, match="states to enumerate, and enumeration stops at"):
        solve(build(np.ones((3, 200)), prior=wide), np.ones(3))


def test_plans():
    assert exact_plan_of(build())[:3] == ("noiseless", "max_supports", 21)
    finite = pr.SpikeAndSlab(6, 0.3, pr.FiniteSlab([1.0], [1.0]), 2)
    assert exact_plan_of(build(prior=finite))[:3] == ("noiseless_enumeration", "num_states", 22)
    uncapped = pr.SpikeAndSlab(6, 0.3, HalfNormal(1.0))
    assert exact_plan_of(build(prior=uncapped)).size == 63
    assert exact_plan_of(build(max_active=1, noise_std=0.1)).method == "integration"
    assert list(pr.choose_methods(build())) == ["exact"]


@pytest.mark.slow
def test_compare_leaves_out_what_needs_a_density():
    model = build(keep_prob=0.8)
    obs = pr.Observations([make_x(h) for h in TRUTHS], TRUTHS)
    posterior = pr.exact(model, obs, num_draws=8)
    net = pr.FeedforwardNet.from_model(jax.random.key(0), model, "universal")
    result = pr.compare(model, obs, {"net": net}, {"exact": posterior})
    table = result.table()
    assert not table["metric"].str.contains("likelihood").any()
    assert "curve" not in result.tree
    assert {"excess_risk", "risk_ratio", "support_f1"} <= set(table["metric"])
