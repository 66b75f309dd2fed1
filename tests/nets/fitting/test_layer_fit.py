from dataclasses import replace

import numpy as np
import pytest

import probrev as pr
from probrev.nets.fitting.checks import Check

from . import pairs
from .test_maximum import drawn

NUM_TRAIN, NUM_NEW = 200, 200
GATES = 5


def halves(x, h):
    """As `fit_layer` takes them."""
    return {"x": x[:NUM_TRAIN], "h": h[:NUM_TRAIN], "held_out": (x[NUM_TRAIN:], h[NUM_TRAIN:])}


@pytest.fixture(scope="module")
def case():
    truth = pairs.random_truth(np.random.default_rng(0), 16, 4)
    return truth, *drawn(truth, NUM_TRAIN + NUM_NEW, seed=1)


@pytest.fixture(scope="module")
def fitted(case):
    truth, x, h = case
    return pr.fit_layer(truth.weights, **halves(x, h))


def failing(fit):
    return [check.name for check in fit.checks if not check.holds]


def test_right_layer_passes(case, fitted):
    truth, x, h = case
    layer, fit = fitted
    assert fit.passes
    assert fit.layer is layer
    assert fit.num_pairs == NUM_TRAIN
    for name in ("keep_prob", "noise_std", "gain"):
        error = getattr(fit.std_errors, name)
        assert abs(float(getattr(layer, name)) - getattr(truth, name)) < 3.5 * error
    gap = (np.asarray(layer.bias) - truth.bias) / fit.std_errors.bias
    assert np.abs(gap).max() < 3.5
    assert 0.6 < (gap**2).mean() < 1.7
    new = halves(x, h)["held_out"]
    expected = layer.log_likelihood(*map(pr.Observations(*new).__getattribute__, ("h", "x")))
    np.testing.assert_allclose(fit.log_likelihood["model"], expected, rtol=1e-10)
    z = h[:NUM_TRAIN] @ truth.weights.T + np.asarray(layer.bias)
    assert fit.relative_noise == pytest.approx(float(layer.noise_std) / np.sqrt(np.mean(z**2)))
    assert fit.per_row("null") == pytest.approx(fit.log_likelihood["null"].mean() / 16)
    assert fit.zeros[1] == (new[0] == 0).mean()
    # h of other observations and weights of no use are both below rows of their own law, or near.
    for rival in ("null", "gaussian", "shuffled"):
        assert fit.per_row("model") > fit.per_row(rival) + 0.1
    assert fit.tied_share == pytest.approx(1, abs=0.1)


def test_summary_and_repr(fitted):
    _, fit = fitted
    table = fit.summary()
    assert list(table.columns) == ["check", *Check._fields[1:]]
    assert len(table) == len(fit.checks)
    assert table["wanted"].astype(bool).sum() == GATES
    assert {*table.loc[table["wanted"] == "", "holds"]} == {""}
    assert repr(fit) == f"{fit.about}; every check holds"
    text = str(fit)
    assert text.startswith("LayerFit of 16 x 4, 200 pairs: keep_prob 0.")
    assert text.endswith("\nEvery check holds.")
    failed = fit.checks[0]._replace(holds=False, sentence="No.")
    worse = replace(fit, checks=(failed, *fit.checks[1:]))
    assert str(worse).endswith("\nNo.")
    assert repr(worse).endswith(f"; what does not hold: {failed.name}")


def test_what_is_held_stays(case):
    truth, x, h = case
    layer, fit = pr.fit_layer(
        truth.weights, **halves(x, h), keep_prob=0.8, noise_std=0.9, gain=0.4, bias=False
    )
    for name in ("keep_prob", "noise_std", "gain"):
        assert float(getattr(layer, name)) == pytest.approx(getattr(truth, name), rel=1e-12)
        assert getattr(fit.std_errors, name) == 0
    assert not np.asarray(layer.bias).any()
    assert not fit.std_errors.bias.any()
    assert "keep_prob" not in [check.name for check in fit.checks]


PLANTS = {
    "wrong W": {"above null", "above gaussian"},
    "Gaussian W": {"above null", "above gaussian"},
    "a noise per row": {"above null", "zeros"},
    "other noise": {"residual spread", "zeros"},
    "levels": {"repeated values"},
    "masks": {"zeros"},
}


@pytest.mark.parametrize("plant", PLANTS)
def test_each_gate_fails_where_it_should(plant, case):
    truth, x, h = case
    rng = np.random.default_rng(3)
    weights, x = truth.weights, x.copy()
    if plant == "wrong W":
        weights = weights[::-1]
    elif plant == "Gaussian W":
        weights = rng.normal(weights.mean(), weights.std(), weights.shape)
    elif plant == "a noise per row":
        x = pairs.draw_x(rng, truth._replace(noise_std=np.geomspace(0.05, 8.0, 16)), h)
    elif plant == "other noise":
        x[NUM_TRAIN:] = pairs.draw_x(rng, truth._replace(noise_std=1.4), h[NUM_TRAIN:])
    elif plant == "levels":
        x = np.round(16 * x / x.max()) / 16
    elif plant == "masks":
        x[NUM_TRAIN:] *= rng.random((NUM_NEW, 16)) < 0.8
    _, fit = pr.fit_layer(weights, **halves(x, h))
    assert set(failing(fit)) >= PLANTS[plant]
    assert not fit.passes
    assert str(fit).count("\n") == len(failing(fit))


def test_seed_decides_the_controls_and_nothing_else(case, fitted):
    truth, x, h = case
    layer, fit = pr.fit_layer(truth.weights, **halves(x, h), seed=1)
    assert float(layer.gain) == float(fitted[0].gain)
    for name in ("model", "null", "decoder"):
        np.testing.assert_array_equal(fit.log_likelihood[name], fitted[1].log_likelihood[name])
    for name in ("gaussian", "shuffled"):
        assert fit.per_row(name) != fitted[1].per_row(name)


def test_a_0_that_no_fitted_pair_has_is_a_value_like_any_other():
    truth = pairs.random_truth(np.random.default_rng(0), 6, 3, slope=1.0, keep_prob=1.0)
    x, h = drawn(truth, NUM_TRAIN + NUM_NEW, seed=1)
    x[-1, 2] = 0
    layer, fit = pr.fit_layer(truth.weights, **halves(x, h), activation="identity")
    assert layer.keep_prob == 1
    assert fit.passes
    near = x.copy()
    near[-1, 2] = 1e-9
    _, again = pr.fit_layer(truth.weights, **halves(near, h), activation="identity")
    for name in ("model", "gaussian", "shuffled", "decoder"):
        np.testing.assert_allclose(fit.log_likelihood[name], again.log_likelihood[name], rtol=1e-6)


X, H, W = np.ones((20, 3)) + np.arange(60).reshape(20, 3) / 60, np.ones((20, 2)), np.ones((3, 2))


def refused(weights=W, x=X, h=H, new=None, **settings):
    return lambda: pr.fit_layer(weights, x, h, held_out=new or (x, h), **settings)


def with_nan(values):
    values = values.copy()
    values[0, 0] = np.nan
    return values


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (refused(weights=W.T), r"got \(2, 3\), \(20, 3\) and \(20, 2\)"),
        (refused(h=H[:-1]), r"got \(3, 2\), \(20, 3\) and \(19, 2\)"),
        (refused(new=(X, H[:-1])), r"held-out h .* got \(3, 2\), \(20, 3\) and \(19, 2\)"),
        (refused(x=X[0]), r"x must have shape .*; got shape \(3,\)"),
        (refused(x=with_nan(X)), "x must be finite; got NaN or infinity"),
        (refused(h=with_nan(H)), "h must be finite; got NaN or infinity"),
        (refused(weights=with_nan(W)), "weights must be finite"),
        (refused(x=X + 1j), "x must be real numbers"),
        (refused(x=X - 2), 'smallest is -1; .* next to x activation="identity"'),
        (refused(new=(X - 2, H)), 'smallest is -1; .* next to x activation="identity"'),
        (refused(x=0 * X), "x is 0 throughout: no row fires"),
        (refused(new=(0 * X, H)), "held-out x is 0 throughout"),
        (refused(x=0 * X, activation="identity", keep_prob=1.0), "x is 0 throughout"),
        (refused(h=0 * H), "W h is 0 throughout"),
        (refused(x=X[:15], h=H[:15]), "at least 16 pairs; got 15"),
        (refused(new=(X[:3], H[:3])), "held-out x: a fit needs at least 16 pairs; got 3"),
        (refused(activation="tanh"), 'activation must be "relu"'),
        (refused(activation=pr.ClippedRelu(6.0)), "z above 0 and a multiple of z below"),
        (refused(keep_prob=0.0), r"keep_prob must lie in \(0, 1\], or be None .* got 0.0"),
        (refused(keep_prob=1.1), r"keep_prob must lie in \(0, 1\]"),
        (refused(keep_prob=np.nan), r"keep_prob must lie in \(0, 1\]"),
        (refused(noise_std=0.0), "noise_std must be positive and finite, or None"),
        (refused(noise_std=np.inf), "noise_std must be positive and finite"),
        (refused(gain=-1.0), "gain must be positive and finite, or None to be fitted; got -1.0"),
    ],
)  # fmt: skip
def test_refusals(call, message):
    with pytest.raises(pr.Refusal, match=message):
        call()


@pytest.mark.slow
def test_x_without_noise_is_refused():
    truth = pairs.random_truth(np.random.default_rng(0), 6, 3, noise_std=0.0)
    x, h = drawn(truth, NUM_TRAIN + NUM_NEW, seed=1)
    with pytest.raises(pr.Refusal, match="x is a function of h but for rounding"):
        pr.fit_layer(truth.weights, **halves(x, h))
