"""Moves of all coupled units together: draws stay draws, and most moves are taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probrev as pr
from probrev.inference.gibbs.hamiltonian import Metric, init_metric, learn, move_together

NUM_CASES, WIDTH = 30_000, 3


def drawn(activation, keep_prob=0.7):
    """A prior, a layer, and draws of v and of the x that it makes."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(WIDTH, WIDTH))
    prior = pr.RectifiedGaussian(0.4 * rng.normal(size=WIDTH), root @ root.T + 0.1 * np.eye(WIDTH))
    layer = pr.Layer(
        1.5 * rng.normal(size=(5, WIDTH)), keep_prob, 0.8, 1.3, activation, bias=rng.normal(size=5)
    )
    v = rng.multivariate_normal(np.asarray(prior.mean), np.asarray(prior.covariance), NUM_CASES)
    x, _ = layer.generate(jax.random.key(1), jnp.maximum(jnp.asarray(v), 0.0))
    return prior, layer, jnp.asarray(v), x


def start(prior, layer, log_step=0.0, num_cases=NUM_CASES):
    """A metric that is the same for all cases: it must not depend on v."""
    one = init_metric(prior, layer, jnp.full((1, 5), 0.8), jnp.full((1, WIDTH), 0.6))
    active, root = (jnp.repeat(leaf, num_cases, axis=0) for leaf in (one.active, one.root))
    return one._replace(active=active, root=root, log_step=jnp.full(num_cases, log_step))


@pytest.mark.parametrize(
    ("activation", "log_step"),  # most moves are taken, or half of them
    [
        ("relu", 0.0),
        pytest.param("relu", -1.2, marks=pytest.mark.slow),
        pytest.param("identity", -1.2, marks=pytest.mark.slow),
        pytest.param(pr.LeakyRelu(0.2), 0.0, marks=pytest.mark.slow),
    ],
)
def test_draws_stay_draws(activation, log_step):
    prior, layer, v, x = drawn(activation)
    metric = start(prior, layer, log_step)
    off = jnp.asarray(False)
    new, same = jax.jit(move_together)(
        jax.random.key(2), metric, prior, layer, v, x, jnp.asarray(0), off
    )
    np.testing.assert_array_equal(same.log_step, metric.log_step)
    moved = np.asarray(new != v).any(1).mean()
    assert moved > (0.8 if log_step < 0 else 0.3)
    found = []
    for one in (v, new):
        h = np.maximum(one, 0.0)
        law = np.asarray(layer.log_likelihood(jnp.asarray(h), x))[:, None]
        found.append(np.hstack([one, np.square(one), h * np.asarray(x)[:, :WIDTH], h > 0, law]))
    gap = found[1] - found[0]
    scores = gap.mean(0) / (gap.std(0) / np.sqrt(NUM_CASES))
    assert np.abs(scores).max() < 4


def test_the_metric_is_the_precision_of_linear_gaussian_units():
    prior, layer, *_ = drawn("identity", keep_prob=1.0)
    precision, active = np.array([[2.0, 1.0, 0.5, 3.0, 0.1]]), np.array([[1.0, 0.5, 0.0]])
    metric = init_metric(prior, layer, jnp.asarray(precision), jnp.asarray(active))
    columns = np.asarray(layer.weights) * active
    wanted = np.linalg.inv(np.asarray(prior.covariance)) + columns.T * precision @ columns
    root = np.asarray(metric.root[0], float)
    np.testing.assert_allclose(root @ root.T, np.linalg.inv(wanted), rtol=1e-5)


def test_warm_up_renews_the_metric_and_lets_the_step_settle():
    prior, layer, _, x = drawn("relu")
    metric: Metric = start(prior, layer, num_cases=4)
    h, row = jnp.ones((4, WIDTH)), jnp.full((4, 5), 1.5)
    renewed = []
    after = jax.jit(lambda one, step: learn(one, prior, layer, lambda: row, h, step, 64))
    for step in range(64):
        new = after(metric, step)
        if not np.array_equal(new.root, metric.root):
            renewed.append(step + 1)
        metric = new
    assert renewed == [8, 16, 32]
    np.testing.assert_allclose(metric.active, 1.0, atol=0.01)
    on = jnp.asarray(True)
    large = metric._replace(log_step=jnp.full(4, jnp.log(1e3)))
    _, learned = move_together(jax.random.key(0), large, prior, layer, h, x[:4], jnp.asarray(0), on)
    assert (learned.log_step < large.log_step).all()
