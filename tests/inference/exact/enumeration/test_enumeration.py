"""Enumeration against plain loops, on one device and on several, and what it refuses."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probrev as pr
from probrev.inference.exact.enumeration import enumeration, joint_table
from tests.inference import brute_force

ROOT = Path(__file__).parents[4]


def build(case: brute_force.Case) -> tuple[pr.LayeredModel, pr.Observations]:
    slab = pr.FiniteSlab(case.values, case.probs)
    n_hidden = case.weights.shape[1]
    prior = pr.SpikeAndSlab(n_hidden, case.inclusion_prob, slab, int(case.max_active))
    layer = pr.Layer(case.weights, case.keep_prob, case.noise_std, case.gain)
    return pr.LayeredModel(prior, [layer]), pr.Observations(case.x)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 24))]
)
def test_agrees_with_brute_force(seed):
    case = brute_force.random_case(seed)
    model, obs = build(case)
    posterior = pr.exact(model, obs, num_draws=8)
    for index, x in enumerate(case.x):
        truth = brute_force.posterior(case, x)
        for name, expected in truth._asdict().items():
            found = posterior.tree[f"exact/{name}"].sel(obs=index).to_numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10, err_msg=name)
    assert posterior.status == "ok"
    assert posterior.tree["exact/unvisited_mass"].max() == 0


@pytest.mark.slow
def test_blocks_make_no_difference(monkeypatch):
    model, obs = build(brute_force.random_case(5))
    whole = pr.exact(model, obs, num_draws=8)
    monkeypatch.setattr(enumeration, "BLOCK_ELEMENTS", 42)
    cut = pr.exact(model, obs, num_draws=8)
    for name in ("mean", "var", "inclusion_prob", "log_evidence", "top_log_prob"):
        np.testing.assert_allclose(
            cut.tree[f"exact/{name}"], whole.tree[f"exact/{name}"], rtol=1e-12, atol=1e-14
        )


@pytest.mark.slow
def test_shared_and_separate_rows_make_no_difference(monkeypatch):
    model, obs = build(brute_force.random_case(2))
    assert obs.num_obs > joint_table.MAX_SEPARATE
    shared = pr.exact(model, obs, num_draws=8)
    monkeypatch.setattr(joint_table, "MAX_SEPARATE", obs.num_obs)
    separate = pr.exact(model, obs, num_draws=8)
    for name in ("mean", "var", "inclusion_prob", "log_evidence", "top_log_prob"):
        np.testing.assert_allclose(
            separate.tree[f"exact/{name}"], shared.tree[f"exact/{name}"], rtol=1e-11, atol=1e-13
        )


@pytest.mark.slow
@pytest.mark.parametrize("block_elements", [pytest.param(2**21, marks=pytest.mark.slow), 60])
def test_draws_are_from_the_posterior(monkeypatch, block_elements):
    monkeypatch.setattr(enumeration, "BLOCK_ELEMENTS", block_elements)
    model, obs = build(brute_force.random_case(11))
    posterior = pr.exact(model, obs, num_draws=40_000, num_top=10_000)
    for index in range(obs.num_obs):
        exact = posterior.tree["exact"].sel(obs=index)
        draws = posterior.draws.sel(obs=index).to_numpy().reshape(-1, model.n_hidden)
        assert_drawn(draws, exact.top_states.to_numpy(), exact.top_log_prob.to_numpy())


def assert_drawn(draws, states, log_prob):
    """Every state must be seen as often as it should be; the states must be all of them."""
    probs = np.exp(log_prob)
    np.testing.assert_allclose(probs.sum(), 1, rtol=1e-10)
    seen = (draws[:, None, :] == states[None]).all(-1).mean(0)
    assert np.all(np.abs(seen - probs) <= 4.5 * np.sqrt(probs * (1 - probs) / len(draws)) + 1e-4)


# 33 states on eight devices: six take 5, one 3 and one none, in blocks of 2 and calls of 4.
SHARDED = """
import sys
import jax, numpy as np, numpyro
numpyro.enable_x64()
import probrev as pr
from probrev.inference.exact.enumeration import enumeration
from tests.inference import brute_force
from tests.inference.exact.enumeration.test_enumeration import build
assert enumeration.list_devices() == jax.devices() and jax.device_count() == 8
with jax.default_device(jax.devices()[2]):
    assert enumeration.list_devices() == [jax.devices()[2]]
enumeration.BLOCK_ELEMENTS, enumeration.BLOCKS_PER_CALL = 12, 2
model, obs = build(brute_force.random_case(0))
done = []
posterior = pr.exact(
    model, obs, num_draws=20_000, progress=lambda *progress: done.append(progress)
)
exact = {name: leaf.to_numpy() for name, leaf in posterior.tree["exact"].data_vars.items()}
np.savez(sys.argv[1], done=done, draws=posterior.draws, **exact)
"""


@pytest.mark.slow
def test_several_devices_share_the_states(tmp_path):
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SHARDED, str(tmp_path / "found.npz")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npz")
    model, obs = build(brute_force.random_case(0))
    whole = pr.exact(model, obs, num_draws=8).tree["exact"]
    for name, leaf in whole.data_vars.items():
        np.testing.assert_allclose(found[name], leaf, rtol=1e-12, atol=1e-14, err_msg=str(name))
    for index in range(obs.num_obs):
        draws = found["draws"][:, :, index].reshape(-1, model.n_hidden)
        assert_drawn(draws, found["top_states"][:, index], found["top_log_prob"][index])
    assert found["done"].tolist() == [[27, 33], [33, 33]]


def test_exactly_k_active_units():
    case = brute_force.random_case(3)._replace(inclusion_prob=0.5, max_active=2)
    layer = pr.Layer(case.weights, case.keep_prob, case.noise_std, case.gain)
    slab = pr.FiniteSlab(case.values, case.probs)
    model = pr.LayeredModel(pr.KSparse(case.weights.shape[1], 2, slab), [layer])
    posterior = pr.exact(model, pr.Observations(case.x), num_draws=400)
    assert np.all((posterior.draws > 0).sum("hidden") == 2)
    terms = {}
    for row in np.asarray(model.states()[jnp.arange(model.states().count)]):
        level = np.prod([case.probs[case.values == value][0] for value in row[row > 0]])
        terms[tuple(row)] = np.log(level) + brute_force.log_likelihood(case, row, case.x[0])
    weights = np.exp(np.array(list(terms.values())) - max(terms.values()))
    mean = weights @ np.array(list(terms)) / weights.sum()
    np.testing.assert_allclose(posterior.mean.sel(obs=0), mean, rtol=1e-10)


class Coin(NamedTuple):
    """A user's own Model: h is a point in a list, x is h plus noise."""

    points: jax.Array
    n_visible: int = 2
    n_hidden: int = 2

    def check(self, obs):
        pass

    def states(self):
        return self.points

    def log_joint(self, h, x):
        return -2.0 * ((x - h) ** 2).sum(-1)


@pytest.mark.slow
def test_no_variance_is_negative_where_h_is_all_but_certain():
    slab = pr.FiniteSlab([0.3, 0.7, 1.3], [0.4, 0.4, 0.2])
    weights = np.random.default_rng(0).normal(size=(40, 5))
    model = pr.LayeredModel(pr.SpikeAndSlab(5, 0.4, slab, 3), [pr.Layer(weights, 0.7, 0.1)])
    exact = pr.exact(model, model.simulate(jax.random.key(1), 20), num_draws=4)
    var, inclusion_prob = exact.var.to_numpy(), exact.inclusion_prob.to_numpy()
    assert 0 <= var.min() < 1e-12 < var.max()
    assert 0.5 < inclusion_prob.max() <= 1


def test_any_model_with_states():
    points = jnp.asarray([[0.0, 1.0], [2.0, 0.5], [1.0, 0.0]])
    x = jnp.asarray([[0.3, 0.8], [1.7, 0.1]])
    posterior = pr.exact(Coin(points), pr.Observations(x))
    log_joint = -2.0 * ((x[:, None] - points[None]) ** 2).sum(-1)
    weights = jax.nn.softmax(log_joint, axis=1)
    np.testing.assert_allclose(posterior.mean, weights @ points, rtol=1e-12)


def test_a_model_that_is_no_pytree_is_refused():
    class Plain:
        n_visible = n_hidden = 2

    with pytest.raises(ValueError, match="Plain is no JAX pytree of arrays: make it a NamedTuple"):
        pr.exact(Plain(), pr.Observations([[0.0, 1.0]]))


def test_too_many_states_are_refused_at_once():
    prior = pr.SpikeAndSlab(200, 0.3, pr.FiniteSlab([1.0, 2.0], [0.5, 0.5]))
    model = pr.LayeredModel(prior, [pr.Layer(np.ones((3, 200)), noise_std=1.0)])
    with pytest.raises(ValueError, match=f"{3**200:,} states to enumerate, .* use gibbs"):
        pr.exact(model, pr.Observations(np.ones((1, 3))))


def test_impossible_x_is_refused():
    points = jnp.asarray([[0.0, 1.0], [2.0, 0.5]])

    class Impossible(Coin):
        def log_joint(self, h, x):
            return jnp.where(x.sum(-1) + 0 * h.sum(-1) > 10, -jnp.inf, 0.0)

    jax.tree_util.register_pytree_node(
        Impossible, lambda m: ((m.points,), None), lambda _, leaves: Impossible(*leaves)
    )
    with pytest.raises(ValueError, match="observation 1 has probability zero under the model"):
        pr.exact(Impossible(points), pr.Observations([[0.0, 1.0], [9.0, 9.0]]))
