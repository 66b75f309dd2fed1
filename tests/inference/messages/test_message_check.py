"""What Gibbs sweeps make of beliefs: right ones stay, wrong ones are found; and what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probrev as pr
from probrev.inference.messages.message_check import check_messages, plan_check
from probrev.posterior.posterior import Moments
from tests.inference.plain_messages import one_layer

SLAB = pr.FiniteSlab([0.3, 0.9], [0.5, 0.5])


def correlated(kind, seed, shape=(60, 10)):
    """Weights whose columns have much in common, of one kind."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=shape)
    return {
        "common": 0.9 * rng.normal(size=(shape[0], 1)) + 0.44 * z,
        "positive": rng.uniform(size=shape),
        "repeated": np.tile(z[:, : shape[1] // 2], 2) + 0.05 * z,
        "low rank": z[:, :3] @ rng.normal(size=(3, shape[1])) / np.sqrt(3) + 0.2 * z,
        "shared mean": z + 1.0,
        "iid": z,
    }[kind]


def inferred(kind, seed):
    weights = correlated(kind, seed)
    model = pr.LayeredModel(pr.SpikeAndSlab(10, 0.25, SLAB), [pr.Layer(weights, 0.5, 0.7)])
    obs = model.simulate(jax.random.key(seed), 8)
    found = pr.message_passing(model, obs, num_draws=4)
    error = np.abs(found.inclusion_prob - pr.exact(model, obs, num_draws=4).inclusion_prob)
    return found, float(error.max())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["common", "positive", "repeated", "low rank", "shared mean"])
def test_no_large_error_is_ok(kind):
    """Against enumeration: errors of .2 to .6, and each is noticed, mostly after converging."""
    runs = [inferred(kind, seed) for seed in range(3)]
    assert max(error for _, error in runs) > 0.25
    for found, error in runs:
        assert found.status != "ok" or error < 0.2
    said = [found.status_reason for found, _ in runs if found.status == "unreliable"]
    assert said
    for reason in said:
        assert "approximation: converged in at most" in reason
        assert "weights of layer 1 are not iid: " in reason
        assert reason.endswith(": use gibbs")
    moved = "gibbs sweeps on 8 observations, started at its draws, "
    assert any(moved in reason for reason in said)


@pytest.mark.slow
def test_iid_weights_stay_ok():
    for seed in range(3):
        found, error = inferred("iid", seed)
        assert found.status == "ok"
        assert error < 0.2


@pytest.mark.slow
def test_a_check_is_the_same_each_time():
    first, second = (inferred("common", 0)[0] for _ in range(2))
    assert first.status_reason == second.status_reason


def exact_beliefs(model, obs):
    exact = pr.exact(model, obs, num_draws=256)
    moments = (exact.mean, exact.var, exact.inclusion_prob)
    belief = Moments(*(jnp.asarray(moment.to_numpy()) for moment in moments))
    return belief, jnp.asarray(exact.draws.to_numpy().reshape(256, obs.num_obs, -1)[:64])


@pytest.mark.slow
def test_right_beliefs_stay_and_wrong_ones_are_found():
    model = one_layer()
    obs = model.simulate(jax.random.key(1), 3)
    belief, h = exact_beliefs(model, obs)
    arguments = (jax.random.key(0), model, obs.x)
    (right,) = check_messages(*arguments, [belief], h, 64)
    assert right.gap < 0.03
    assert 0.7 < right.error_ratio < 1.1
    assert not right.complaint(strict=True)
    other = belief._replace(inclusion_prob=belief.inclusion_prob.at[1, 2].add(0.4))
    (wrong,) = check_messages(*arguments, [other], h, 64)
    assert wrong.gap == pytest.approx(0.4, abs=0.12)
    assert "move an inclusion probability by more than 0.3" in wrong.complaint()
    narrow = belief._replace(var=belief.var / 2)
    (wrong,) = check_messages(*arguments, [narrow], h, 64)
    assert wrong.error_ratio == pytest.approx(2, abs=0.5)
    assert "times the squared error that is claimed" in wrong.complaint()
    almost = belief._replace(var=belief.var / 1.35)
    (odd,) = check_messages(*arguments, [almost], h, 64)
    assert odd.complaint(strict=True) or odd.error_ratio < 1.2


@pytest.mark.slow
def test_every_layer_of_a_deep_model_is_looked_at():
    """Wrong beliefs about the vector between are found there, and not above it."""
    rng = np.random.default_rng(3)
    lower = pr.Layer(rng.normal(size=(160, 16)), 0.8, 0.5, 0.05)
    model = pr.LayeredModel(one_layer().prior, [lower, one_layer(n_visible=16).layers[0]])
    obs = model.simulate(jax.random.key(4), 4)
    gibbs = pr.gibbs(jax.random.key(5), model, obs, keep_layers=True)
    between = gibbs.tree["intermediates"].to_dataset()
    names = ("mean", "var", "inclusion_prob")
    below = Moments(*(jnp.asarray(between[f"h_1_{name}"].to_numpy()) for name in names))
    top = Moments(*(jnp.asarray(getattr(gibbs, name).to_numpy()) for name in names))
    h = jnp.asarray(gibbs.draws.to_numpy()[:, ::125].reshape(64, 4, -1))
    arguments = (jax.random.key(0), model, obs.x)
    assert [one.complaint() for one in check_messages(*arguments, [below, top], h, 64)] == ["", ""]
    planted = below._replace(var=below.var / 3)
    wrong, right = check_messages(*arguments, [planted, top], h, 64)
    assert "times the squared error" in wrong.complaint()
    assert not right.complaint()


def layer(n_visible, n_hidden):
    return pr.LayeredModel(
        pr.SpikeAndSlab(n_hidden, 0.1, SLAB), [pr.Layer(jnp.ones((n_visible, n_hidden)))]
    )


@pytest.mark.parametrize(
    ("shape", "num_obs", "sweeps", "chains", "rows"),
    [
        ((60, 10), 8, 256, 64, range(8)),
        ((100, 30), 1, 256, 64, [0]),
        ((200, 60), 15, 87, 64, range(0, 15, 2)),
        ((1000, 200), 9, 24, 64, [0]),
    ],
)
def test_a_check_fits_the_number_of_weights(shape, num_obs, sweeps, chains, rows):
    plan = plan_check(layer(*shape), num_obs)
    assert plan[:2] == (sweeps, chains)
    assert plan.is_thorough
    np.testing.assert_array_equal(plan.rows, rows)


@pytest.mark.slow
def test_of_very_many_weights_only_the_grossest_error_is_looked_for(monkeypatch):
    monkeypatch.setattr("probrev.inference.messages.message_check.MAX_WEIGHTS", 1)
    plan = plan_check(layer(60, 10), 8)
    assert plan[:2] == (2, 4)
    assert not plan.is_thorough
    assert inferred("iid", 0)[0].status == "ok"
    found, _ = inferred("shared mean", 1)
    assert found.status == "unreliable"
    assert "with so many weights its answer cannot be checked" in found.status_reason
