import jax
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

import probrev as pr
from probrev.comparison.metrics.case import Case
from probrev.comparison.metrics.reconstruction import reconstruction
from tests import plain_machine, small_case

WEIGHTS, BIASES = plain_machine.random_machine(0, (5, 4))
MACHINE = pr.BoltzmannMachine(WEIGHTS, BIASES)


def make_case(model, obs, posterior, estimate):
    return Case(
        posterior=posterior,
        estimates=xr.DataArray(np.asarray(estimate)[None], dims=("inverse", "obs", "hidden"))
        .assign_coords(inverse=["net"], obs=np.arange(obs.num_obs)),
        truth=None if obs.h is None else xr.DataArray(np.asarray(obs.h), dims=("obs", "hidden")),
        x=xr.DataArray(np.asarray(obs.x), dims=("obs", "visible")),
        model=model,
        seed=0,
    )  # fmt: skip


def values(case):
    return {(row.metric, row.subject): row.value for row in reconstruction(case).rows}


def test_errors_of_an_estimate_match_loops():
    obs = MACHINE.simulate(jax.random.key(0), 5)
    estimate = np.random.default_rng(1).uniform(size=(5, 4))
    found = values(make_case(MACHINE, obs, pr.exact(MACHINE, obs), estimate))
    error = risk = energy = signal = 0.0
    for g, h, x in zip(estimate, np.asarray(obs.h), np.asarray(obs.x), strict=True):
        for j in range(5):
            back = expit(BIASES[0][j] + WEIGHTS[0][j] @ g)
            mean = expit(BIASES[0][j] + WEIGHTS[0][j] @ h)
            error, energy = error + (back - x[j]) ** 2, energy + x[j] ** 2
            risk, signal = risk + (back - mean) ** 2, signal + mean**2
    assert found["reconstruction_error", "net"] == pytest.approx(error / energy)
    assert found["reconstruction_risk", "net"] == pytest.approx(risk / signal)


@pytest.mark.slow
def test_posteriors_own_is_the_bayes_limit():
    obs = MACHINE.simulate(jax.random.key(2), 2000)
    exact = pr.exact(MACHINE, obs, num_draws=400)
    limit = 0.0
    for x, h in zip(np.asarray(obs.x), np.asarray(obs.h), strict=True):
        states, prob, _ = plain_machine.posterior(WEIGHTS, BIASES, x)
        means = expit(BIASES[0] + states @ WEIGHTS[0].T)
        limit += ((prob @ means - expit(BIASES[0] + WEIGHTS[0] @ h)) ** 2).sum()
    energy = float((MACHINE.visible_mean(obs.h) ** 2).sum())
    found = values(make_case(MACHINE, obs, exact, exact.mean))
    assert found["reconstruction_risk", "posterior"] == pytest.approx(limit / energy, rel=0.01)
    assert found["reconstruction_risk", "posterior"] < found["reconstruction_risk", "net"]


@pytest.mark.slow
def test_layers_have_it_too_where_x_has_a_mean_in_closed_form():
    obs, exact = small_case.observe(), small_case.exact()
    net = pr.FeedforwardNet.from_model(jax.random.key(0), small_case.MODEL)(obs.x)
    found = values(make_case(small_case.MODEL, obs, exact, net))
    layer, h = small_case.LAYER, np.asarray(obs.h)[0]
    for j, found_mean in enumerate(np.asarray(small_case.MODEL.visible_mean(h))):
        law = norm(float(np.asarray(layer.weights)[j] @ h), float(layer.noise_std))
        rectified = quad(lambda z, law=law: z * law.pdf(z), 0, 20)[0]
        expected = float(layer.gain * layer.keep_prob) * rectified
        assert found_mean == pytest.approx(expected, rel=1e-6)
    assert 0 < found["reconstruction_risk", "posterior"] < found["reconstruction_risk", "net"]
    two = pr.LayeredModel(
        small_case.MODEL.prior,
        [pr.Layer(np.ones((3, 12)), noise_std=1.0), small_case.LAYER],
    )
    with pytest.raises(ValueError, match="no closed form"):
        two.visible_mean(np.zeros((1, 4)))
    assert reconstruction(make_case(two, obs, exact, net)).rows == []
