"""The curve over noise_std: what it measures, and where there is none."""

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import probrev as pr
from probrev.theory.curve import noise_curve
from probrev.theory.state_evolution import evolve_state

SLAB = pr.FiniteSlab([0.6, 1.7], [0.4, 0.6])
PRIOR = pr.SpikeAndSlab(5, 0.2, SLAB)
LAYER = pr.Layer(np.random.default_rng(0).normal(size=(40, 5)), 0.6, 0.9)
MODEL = pr.LayeredModel(PRIOR, [LAYER])


@pytest.fixture(scope="module")
def curve():
    return noise_curve(jax.random.key(0), MODEL)


@pytest.mark.slow
def test_curve_spans_the_models_own_noise(curve):
    np.testing.assert_allclose(curve["noise_std"], 0.9 * np.array([0.25, 0.5, 1, 2, 4]))
    assert list(curve["rule"].to_numpy()) == ["universal", "calibrated"]
    assert set(curve.data_vars) == {
        "net_risk",
        "net_risk_std_error",
        "bayes_risk",
        "bayes_risk_informed",
        "risk_ratio",
    }


@pytest.mark.slow
def test_risk_of_the_net_is_measured(curve):
    """At the model's own noise, against the universal net written out in NumPy on other draws."""
    obs = MODEL.simulate(jax.random.key(9), 4096)
    x, h, weights = np.asarray(obs.x), np.asarray(obs.h), np.asarray(LAYER.weights)
    norm = np.sqrt((weights**2).mean() * (x**2).sum(1, keepdims=True))
    net = np.maximum(x @ weights - np.sqrt(2 * np.log(5)) * norm, 0)
    energy = 5 * 0.2 * (0.4 * 0.6**2 + 0.6 * 1.7**2)
    errors = ((net - h) ** 2).sum(1) / energy
    found = curve.isel(noise_std=2).sel(rule="universal")
    error = np.hypot(errors.std() / 64, float(found["net_risk_std_error"]))
    assert abs(errors.mean() - float(found["net_risk"])) < 4.5 * error
    np.testing.assert_allclose(found["net_risk_std_error"], errors.std() / 64, rtol=0.25)


@pytest.mark.slow
def test_risk_of_bayes_is_state_evolutions(curve):
    energy = 5 * 0.2 * (0.4 * 0.6**2 + 0.6 * 1.7**2)
    layer = pr.Layer(LAYER.weights, 0.6, 1.8, LAYER.gain)
    expected = float(evolve_state(PRIOR, [layer]).bayes_risk) / energy
    np.testing.assert_allclose(curve["bayes_risk"][3], expected, rtol=1e-9)
    np.testing.assert_allclose(curve["risk_ratio"], curve["net_risk"] / curve["bayes_risk"])


@pytest.mark.slow
def test_noise_costs_everyone(curve):
    assert np.all(np.diff(curve["bayes_risk"]) > 0)
    assert np.all(np.diff(curve["net_risk"].sel(rule="calibrated")) > 0)
    assert np.all(curve["risk_ratio"].sel(rule="calibrated") > 1)
    calibrated, universal = (curve["net_risk"].sel(rule=r) for r in ("calibrated", "universal"))
    assert np.all(calibrated < universal)


def any_function():
    with numpyro.plate("hidden", 5):
        return numpyro.sample("h", dist.HalfNormal(1.0))


@pytest.mark.parametrize(
    "model",
    [
        pr.LayeredModel(any_function, [LAYER]),
        pr.LayeredModel(PRIOR, [pr.Layer(LAYER.weights, 0.6)]),
        pr.LayeredModel(PRIOR, [pr.Layer(np.ones((9, 40)), 0.5), LAYER]),
        pr.LayeredModel(
            PRIOR,
            [
                pr.Layer(np.ones((9, 40)), 0.5, 0.3),
                pr.Layer(LAYER.weights, 0.6, 0.9, None, "identity"),
            ],
        ),
        pr.LayeredModel(pr.SpikeAndSlab(5, 0.2, dist.HalfCauchy(1.0)), [LAYER]),
        object(),
    ],
    ids=["function", "no noise", "two layers, no noise", "linear", "no variance", "another model"],
)
def test_there_is_no_curve_where_state_evolution_does_not_apply(model):
    assert noise_curve(jax.random.key(0), model) is None


@pytest.mark.slow
def test_curve_of_two_layers():
    """Noise is scaled in both; at the model's own, Bayes is state evolution's."""
    lower = pr.Layer(np.random.default_rng(1).normal(size=(90, 40)), 0.5, 0.1)
    model = pr.LayeredModel(PRIOR, [lower, LAYER])
    curve = noise_curve(jax.random.key(0), model)
    assert curve is not None
    np.testing.assert_allclose(curve["noise_std"], 0.9 * np.array([0.25, 0.5, 1, 2, 4]))
    energy = 5 * 0.2 * (0.4 * 0.6**2 + 0.6 * 1.7**2)
    own = float(evolve_state(PRIOR, model.layers).bayes_risk) / energy
    np.testing.assert_allclose(curve["bayes_risk"][2], own, rtol=1e-9)
    assert np.all(np.diff(curve["bayes_risk"]) > 0)
    assert np.all(curve["risk_ratio"].sel(rule="calibrated") > 1)
    np.testing.assert_allclose(curve["bayes_risk_informed"], curve["bayes_risk"], rtol=1e-3)
