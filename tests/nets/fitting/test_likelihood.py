import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logit

import probrev as pr
from probrev.model.activations import as_activation
from probrev.nets.fitting.likelihood import (
    SHARED,
    Parameters,
    differentiate,
    differentiate_twice,
    log_likelihood,
    read_pairs,
)

from . import pairs

ACTIVATIONS = {"relu": 0.0, "identity": 1.0, "leaky": 0.2}
STEP = 1e-5


def parameters_of(truth):
    odds = np.inf if truth.keep_prob == 1 else logit(truth.keep_prob)
    scale = -np.log(truth.gain * truth.noise_std)
    return Parameters(scale, -np.log(truth.noise_std), odds, truth.bias / truth.noise_std)


def small_case(name, keep_prob, num_obs=9):
    """Pairs drawn under one layer, and the parameters of another."""
    rng = np.random.default_rng(3)
    slope = ACTIVATIONS[name]
    truth = pairs.random_truth(rng, 7, 3, keep_prob=keep_prob, slope=slope)
    h = pairs.draw_h(rng, num_obs, 3)
    x = pairs.draw_x(rng, truth, h)
    activation = pr.LeakyRelu(slope) if name == "leaky" else as_activation(name)
    elsewhere = truth._replace(
        keep_prob=1.0 if keep_prob == 1 else 0.63, noise_std=1.2, gain=0.55, bias=truth.bias + 0.2
    )
    data = read_pairs(activation, truth.weights, x, h, keep_prob)
    return activation, data, elsewhere, x, h


CASES = pytest.mark.parametrize("keep_prob", [0.8, 1.0])
NAMES = pytest.mark.parametrize("name", ACTIVATIONS)


@NAMES
@CASES
def test_log_likelihood_is_that_of_the_layer(name, keep_prob):
    activation, data, at, x, h = small_case(name, keep_prob)
    parameters = parameters_of(at)
    found = differentiate(data, parameters).log_likelihood
    layer = parameters.as_layer(at.weights, activation)
    np.testing.assert_allclose(found, layer.log_likelihood(jnp.asarray(h), jnp.asarray(x)), 1e-10)
    np.testing.assert_allclose(found, pairs.log_likelihood(at, x, h).sum(1), 1e-10)
    for field in ("keep_prob", "noise_std", "gain", "bias"):
        np.testing.assert_allclose(getattr(parameters, field), getattr(at, field), 1e-12)


def shift(at, index, step):
    if index < len(SHARED):
        return at._replace(**{SHARED[index]: at[index] + step})
    b = at.b.copy()
    b[index - len(SHARED)] += step
    return at._replace(b=b)


def by_difference(function, at):
    """Derivatives of a function by all parameters, those first that rows share."""
    size = len(SHARED) + at.b.size
    ends = [[function(shift(at, index, sign * STEP)) for sign in (1, -1)] for index in range(size)]
    return np.array([(high - low) / (2 * STEP) for high, low in ends])


def gradient(data, at):
    found = differentiate(data, at)
    return np.concatenate([found.shared.sum(0), found.own.sum(0)])


def dense(arrow):
    lower = np.hstack([arrow.mixed.T, np.diag(arrow.own)])
    return np.vstack([np.hstack([arrow.shared, arrow.mixed]), lower])


@NAMES
@CASES
def test_derivatives(name, keep_prob):
    _, data, at, *_ = small_case(name, keep_prob)
    at = parameters_of(at)
    found, hessian = differentiate_twice(data, at)
    by_obs = np.column_stack([found.shared, found.own])
    expected = by_difference(lambda at: differentiate(data, at).log_likelihood, at)
    free = np.isfinite(np.array([at.log_s, at.log_t, at.logit_keep, *at.b]))
    # At keep_prob = 1 a step of infinite log odds is none.
    np.testing.assert_allclose(by_obs.T[free], expected[free], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(by_obs.sum(0), gradient(data, at), 1e-12)
    numeric = by_difference(lambda at: gradient(data, at), at)
    np.testing.assert_allclose(dense(hessian), numeric, rtol=1e-6, atol=1e-6)


def test_far_below_0_nothing_overflows():
    """A silent row whose mass is too small for a number of its own, and one that is sure."""
    activation = as_activation("relu")
    weights, h = np.array([[60.0], [-60.0]]), np.array([[1.0]])
    data = read_pairs(activation, weights, np.zeros((1, 2)), h, 1.0)
    at = Parameters(0.0, 0.0, np.inf, np.zeros(2))
    found, hessian = differentiate_twice(data, at)
    # Phi(-60) = exp(-1800) / (60 sqrt(2 pi)), but for a share of 1 / 60^2.
    np.testing.assert_allclose(found.log_likelihood, -1800 - np.log(60 * np.sqrt(2 * np.pi)), 1e-6)
    np.testing.assert_allclose(found.own, [[-60.0, 0.0]], rtol=1e-3)
    np.testing.assert_allclose(hessian.own, [-1.0, 0.0], atol=1e-3)


def test_parts_of_the_data():
    _, data, at, *_ = small_case("leaky", 0.8)
    at = parameters_of(at)
    whole = log_likelihood(data, at)
    rows, chosen = np.array([4, 1]), np.array([2, 0, 2])
    some = log_likelihood(data.rows(rows), at._replace(b=at.b[rows]))
    np.testing.assert_array_equal(some, whole[:, rows])
    drawn = data.draw(chosen)
    np.testing.assert_array_equal(log_likelihood(drawn, at), whole[chosen])
    total = differentiate(data, at).log_likelihood
    np.testing.assert_array_equal(differentiate(drawn, at).log_likelihood, total[chosen])


def test_arrow_is_solved_as_a_dense_matrix_is():
    _, data, at, *_ = small_case("relu", 0.8)
    _, arrow = differentiate_twice(data, parameters_of(at))
    matrix = dense(arrow)
    rng = np.random.default_rng(0)
    for shape in ((10,), (10, 4)):
        right = rng.normal(size=shape)
        found = np.concatenate(arrow.solve(right[:3], right[3:]))
        np.testing.assert_allclose(found, np.linalg.solve(matrix, right), rtol=1e-9)


def test_what_no_layer_of_the_kind_can_give():
    x, h, weights = np.array([[-0.5, 1.0]]), np.ones((1, 1)), np.ones((2, 1))
    with pytest.raises(ValueError, match=r"smallest\s+is -0.5; .*activation=\"identity\""):
        read_pairs(as_activation("relu"), weights, x, h, None)
    for other in (as_activation("threshold"), pr.ClippedRelu(6.0)):
        with pytest.raises(ValueError, match="z above 0 and a multiple of z below"):
            read_pairs(other, weights, np.abs(x), h, None)
