"""One observation's row terms against the layer's own likelihood."""

import jax
import numpy as np
import pytest

import probrev as pr
from probrev.model.row_terms import MAX_FACTORS, RowTerms, gather_terms

RNG = np.random.default_rng(8)
WEIGHTS = RNG.normal(0.2, 1.1, (37, 4))
H = np.concatenate([np.zeros((1, 4)), RNG.uniform(0, 3, (9, 4)), RNG.uniform(20, 90, (3, 4))])
X = np.where(RNG.uniform(size=(3, 37)) < 0.6, 0.0, RNG.uniform(0, 3, (3, 37)))

of_terms, of_layer = jax.jit(RowTerms.log_likelihood), jax.jit(pr.Layer.log_likelihood)


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("keep_prob", [0.35, 1 - 1e-13, 1.0])
def test_is_the_likelihood_of_the_layer(keep_prob, activation):
    layer = pr.Layer(WEIGHTS, keep_prob, 0.7, 1.6, activation)
    for x in (*X, np.zeros(37), np.ones(37)):
        found = of_terms(gather_terms(layer, x), H)
        expected = of_layer(layer, H, np.broadcast_to(x, (len(H), 37)))
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_negative_x_is_impossible_for_a_rectifier():
    layer = pr.Layer(WEIGHTS, 0.5, 0.7)
    assert np.all(of_terms(gather_terms(layer, X[0] - 1.0), H) == -np.inf)


def test_without_dropout_nothing_is_multiplied_before_the_logarithm():
    x = np.zeros(37)
    assert gather_terms(pr.Layer(WEIGHTS, 1.0, 0.7), x).factors == 1
    assert gather_terms(pr.Layer(WEIGHTS, 0.999, 0.7), x).factors == MAX_FACTORS
