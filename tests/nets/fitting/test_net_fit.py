"""A small net, fitted layer by layer: activations, names, priors, refusals."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import probrev as pr
from probrev.nets.fitting.hidden_layers import hidden_layers
from probrev.nets.fitting.net_fit import MOST_DENSITIES, FittedNet, fit_net

RNG = np.random.default_rng(0)
SHAPES = ((9, 7), (7, 5))
WEIGHTS = [RNG.normal(size=shape) / 2 for shape in SHAPES]
BIASES = [RNG.normal(0.2, 0.1, size=shape[1]) for shape in SHAPES]
NET = pr.FeedforwardNet.from_weights(WEIGHTS, BIASES)
X, HELD_OUT = RNG.normal(size=(120, 9)), RNG.normal(size=(40, 9))


@pytest.fixture(scope="module")
def fitted() -> FittedNet:
    return fit_net(NET, X, HELD_OUT)


def up(x):
    """By hand: activations of both layers."""
    first = np.maximum(x @ WEIGHTS[0] + BIASES[0], 0)
    return first, np.maximum(first @ WEIGHTS[1] + BIASES[1], 0)


@pytest.mark.slow
def test_activations_are_the_nets(fitted):
    low, high = fitted.levels
    for which, x in (("train", X), ("held_out", HELD_OUT)):
        first, second = up(x)
        assert_allclose(getattr(low, which).x, x)
        assert_allclose(getattr(low, which).h, first)
        assert_allclose(getattr(high, which).x, first)
        assert_allclose(getattr(high, which).h, second)
    assert [level.name for level in fitted.levels] == ["layer 1", "layer 2"]
    assert fitted["layer 2"] is high


@pytest.mark.slow
def test_inputs_that_may_be_negative_have_no_rectifier(fitted):
    low, high = (level.fit.layer.activation for level in fitted.levels)
    assert (str(low), str(high)) == ("identity", "relu")


@pytest.mark.slow
def test_inverses_are_the_net_as_trained(fitted):
    first, second = up(HELD_OUT)
    assert_allclose(fitted.inverses["as_trained"](HELD_OUT), second, rtol=1e-6)
    for level, (x, h) in zip(fitted.levels, ((HELD_OUT, first), (first, second)), strict=True):
        assert_allclose(level.inverses["as_trained"](x), h, rtol=1e-6)


@pytest.mark.slow
def test_observations_are_made_from_held_out_h(fitted):
    _, second = up(HELD_OUT)
    for one, width in ((fitted, 9), (fitted.levels[1], 7)):
        obs = one.observe(jax.random.key(0), 20)
        assert obs.x.shape == (20, width)
        assert obs.origin == "layers"
        found = (np.abs(np.asarray(obs.h)[:, None] - second[None]) < 1e-9).all(-1)
        assert (found.sum(1) >= 1).all()
        with pytest.raises(ValueError, match="at most 40, what was held out; got 41"):
            one.observe(jax.random.key(0), 41)
    assert [layer.n_visible for layer in fitted.model.layers] == [9, 7]


@pytest.mark.slow
def test_the_likelier_prior_is_chosen(fitted):
    for level in fitted.levels:
        means = {name: one.log_prob.mean() for name, one in level.priors.items()}
        assert level.chosen == max(means, key=means.get)
        assert {*means} == {"independent", "correlated"}
        assert level.model.prior is level.priors[level.chosen].prior
        own = level.priors["independent"]
        all_of_it = np.asarray(own.prior.log_prob(level.held_out.h))
        assert own.log_prob.shape == (MOST_DENSITIES,)
        assert np.isclose(own.log_prob[:, None], all_of_it[None]).any(1).all()
        assert not np.allclose(own.log_prob, all_of_it[:MOST_DENSITIES])


@pytest.mark.slow
def test_a_refit_is_of_the_same_pairs_drawn_again(fitted):
    level = fitted.levels[1]
    one, same, other = (level.refit(seed, "independent") for seed in (1, 1, 2))
    assert_allclose(one.layers[0].bias, same.layers[0].bias)
    assert not np.allclose(one.layers[0].bias, other.layers[0].bias)
    assert_allclose(one.layers[0].weights, WEIGHTS[1])
    ratio = np.asarray(one.layers[0].noise_std / level.fit.layer.noise_std)
    assert 0.8 < ratio < 1.25


@pytest.mark.slow
def test_the_summary_has_every_check_of_every_layer(fitted):
    table = fitted.summary()
    assert [*table["level"].unique()] == ["layer 1", "layer 2"]
    assert len(table) == sum(len(level.checks) for level in fitted.levels)
    assert table["sentence"].str.endswith(".").all()
    assert repr(fitted).startswith("FittedNet 9-7-5; layer 1: ")
    assert str(fitted).startswith("FittedNet 9-7-5\nlayer 1: LayerFit of 9 x 7")


@pytest.mark.slow
def test_one_layer_alone(fitted):
    alone = fit_net(NET, X, HELD_OUT, layer="layer 2")
    assert [level.name for level in alone.levels] == ["layer 2"]
    assert_allclose(alone.levels[0].fit.layer.bias, fitted.levels[1].fit.layer.bias)


def layer_of(shape, **about):
    weights = np.ones(shape)
    return pr.TrainedLayer("fc.weight", weights, np.zeros(shape[1]), **about)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([np.ones((9, 7))], "must be what pr.read_layers returns, or a FeedforwardNet"),
        ([layer_of((9, 7))], "the last layer is taken to be a net's output"),
        ([layer_of((9, 7)), layer_of((5, 3))], "reads 5 numbers, and fc.weight before it gives 7"),
        ([layer_of((9, 7), kind="convolution"), layer_of((7, 3))], "is of kind convolution"),
        ([layer_of((9, 7), activation="gelu"), layer_of((7, 3))], "has activation gelu"),
        (
            pr.TrainedLayers((layer_of((9, 7)), layer_of((7, 3))), doubts=("A norm is left.",)),
            "not known to be one net: A norm is left.",
        ),
    ],
)
def test_what_is_no_net_of_relu_layers(layers, message):
    with pytest.raises(ValueError, match=message):
        fit_net(layers, X, HELD_OUT)


@pytest.mark.parametrize(
    ("x", "held_out", "message"),
    [
        (X[:, :8], HELD_OUT, r"x must have 9 columns"),
        (X, HELD_OUT[:, :8], r"held_out must have 9 columns"),
        (np.full_like(X, np.nan), HELD_OUT, "x must be finite"),
        (X[:9], HELD_OUT, "at least 16 pairs; got 9"),
    ],
)
def test_inputs_that_cannot_be(x, held_out, message):
    with pytest.raises(ValueError, match=message):
        fit_net(NET, x, held_out)


def test_the_last_layer_of_a_file_is_its_output_unless_it_says_relu():
    below = layer_of((9, 7))
    for activation, count in (("", 1), ("softmax", 1), ("relu", 2)):
        top = layer_of((7, 3), activation=activation)
        assert len(hidden_layers([below, top])) == count
