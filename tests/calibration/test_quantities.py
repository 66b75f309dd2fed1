"""Every quantity by hand, and what a user's own may not be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import probrev as pr
from probrev.calibration.quantities import check_quantities, measure_quantities
from tests.calibration.plain import MODEL, infer
from tests.small_case import LAYER, SLAB

OBS = MODEL.simulate(jax.random.key(0), 3)
POSTERIOR = infer(jax.random.key(1), MODEL, OBS)
CENTERS = np.arange(6.0).reshape(3, 2)


def measure(**own):
    return {one.name: one for one in measure_quantities(MODEL, OBS, POSTERIOR, CENTERS, own)}


def draw_prior(model, obs):
    """Draws of all hidden vectors, of no posterior."""
    drawn = model.simulate(jax.random.key(5), 2 * 6 * obs.num_obs)
    fold = lambda h: np.asarray(h).reshape(2, 6, obs.num_obs, -1)  # noqa: E731
    below = [fold(h) for h in drawn.intermediates]
    return pr.from_draws("prior", fold(drawn.h), obs.x, intermediate_draws=below)


def test_quantities_of_the_truth_and_of_every_draw():
    found = measure()
    assert list(found) == [
        "sum of h", "norm of h", "number active", "log p(x|h)", "distance from a random draw",
        "distance from the mean", "h[0]", "h[1]", "shift",
    ]  # fmt: skip
    x = np.asarray(OBS.x)
    functions = {
        "sum of h": lambda h: h[..., 0] + h[..., 1],
        "norm of h": lambda h: np.sqrt(h[..., 0] ** 2 + h[..., 1] ** 2),
        "number active": lambda h: (h[..., 0] > 0) * 1.0 + (h[..., 1] > 0),
        "log p(x|h)": lambda h: (
            -((x - h) ** 2).sum(-1) / (2 * 0.8**2) - 2 * np.log(0.8 * np.sqrt(2 * np.pi))
        ),
        "distance from a random draw": lambda h: ((h - CENTERS) ** 2).sum(-1),
        "h[1]": lambda h: h[..., 1],
    }
    # Every second of 500 draws.
    draws = POSTERIOR.draws.to_numpy()[:, ::2]
    for name, function in functions.items():
        np.testing.assert_allclose(found[name].truth, function(np.asarray(OBS.h)), rtol=1e-12)
        np.testing.assert_allclose(found[name].values, function(draws), rtol=1e-12)
    np.testing.assert_array_equal(found["shift"].truth, OBS.sites["shift"])
    shift = POSTERIOR.tree["posterior/shift"].to_numpy()[:, ::2]
    np.testing.assert_array_equal(found["shift"].values, shift)


def test_the_mean_is_of_other_draws_than_those_that_are_ranked():
    one = measure()["distance from the mean"]
    draws = POSTERIOR.draws.to_numpy()[:, ::2]
    mean = draws[:, :125].mean((0, 1))
    np.testing.assert_allclose(one.values, ((draws[:, 125:] - mean) ** 2).sum(-1))
    np.testing.assert_allclose(one.truth, ((np.asarray(OBS.h) - mean) ** 2).sum(-1))


def test_own_quantities_of_h_x_and_sites():
    found = measure(
        product=lambda h, x: np.asarray(h[:, 0] * x[:, 1]),
        gap=lambda h, x, sites: h[:, 1] - sites["shift"],
    )
    draws = POSTERIOR.draws.to_numpy()[:, ::2]
    np.testing.assert_allclose(found["product"].values, draws[..., 0] * np.asarray(OBS.x)[:, 1])
    np.testing.assert_allclose(found["gap"].truth, OBS.h[:, 1] - OBS.sites["shift"])
    assert found["gap"].family == "own"


@pytest.mark.slow
def test_densities_where_the_model_has_them():
    model = pr.LayeredModel(pr.SpikeAndSlab(4, 0.3, SLAB), [LAYER])
    obs = model.simulate(jax.random.key(2), 2)
    posterior = draw_prior(model, obs)
    found = measure_quantities(model, obs, posterior, np.zeros((2, 4)), {})
    (joint,) = (one for one in found if one.name == "log p(h, x)")
    h = jnp.asarray(posterior.draws.to_numpy())
    np.testing.assert_allclose(joint.values, model.log_joint(h, obs.x[None, None]), rtol=1e-10)
    np.testing.assert_allclose(joint.truth, model.log_joint(obs.h, obs.x), rtol=1e-10)


@pytest.mark.slow
def test_layers_between_that_are_kept():
    above = pr.Layer(np.random.default_rng(1).normal(0.3, 1, (4, 2)), 0.7, 0.5, 1.6)
    model = pr.LayeredModel(pr.SpikeAndSlab(2, 0.4, SLAB), [LAYER, above])
    obs = model.simulate(jax.random.key(3), 2)
    posterior = draw_prior(model, obs)
    found = {
        one.name: one for one in measure_quantities(model, obs, posterior, np.zeros((2, 2)), {})
    }
    between = posterior.tree["posterior/h_1"].to_numpy()
    np.testing.assert_allclose(found["sum of h_1"].values, between.sum(-1))
    np.testing.assert_allclose(found["sum of h_1"].truth, obs.intermediates[0].sum(-1))
    expected = LAYER.log_likelihood(jnp.asarray(between), obs.x[None, None])
    np.testing.assert_allclose(found["log p(x|h_1)"].values, expected, rtol=1e-9)
    assert "log p(x|h)" not in found


def test_what_own_quantities_are_refused_for():
    for own, message in (
        ({"all": lambda h, x: h}, r"'all' must give a number for each h"),
        ({"nan": lambda h, x: h[:, 0] * np.nan}, "with NaN"),
        ({"h[0]": lambda h, x: h[:, 0]}, "is measured in any case: rename it"),
    ):
        with pytest.raises(ValueError, match=message):
            measure(**own)
    with pytest.raises(TypeError, match=r"quantities\['a'\] must be a function of \(h, x\)"):
        check_quantities({"a": 3})
