"""A program's own sites: names of their dims, and densities against NumPyro's `log_density`."""

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer.util import log_density

import probrev as pr
from probrev.model.sites import log_densities, missing_sites, prior_program, site_dims

LAYER = pr.Layer(np.random.default_rng(2).normal(0.1, 1, (7, 3)), 0.7, 1.5, 0.4)


def hierarchy():
    rate = numpyro.sample("rate", dist.Beta(2.0, 3.0))
    with numpyro.plate("group", 2):
        scale = numpyro.sample("scale", dist.Gamma(2.0, 2.0))
        numpyro.deterministic("doubled", 2 * scale)
        numpyro.sample("factor", dist.Normal().expand([5]).to_event(1))
    with numpyro.plate("across", 4, dim=-2), numpyro.plate("hidden", 3):
        numpyro.sample("table", dist.Normal())
    with numpyro.plate("obs", 6):
        numpyro.sample("odd", dist.Normal())
    numpyro.deterministic("fixed", 3.0)
    return numpyro.sample("h", pr.SpikeAndSlab(3, rate, dist.HalfNormal(scale[1])))


def test_plates_are_dims():
    assert site_dims(hierarchy) == {
        "rate": (),
        "scale": ("group",),
        "doubled": ("group",),
        "factor": ("group", "factor_dim_1"),
        "table": ("across", "hidden"),
        "odd": ("odd_dim_0",),
        "fixed": (),
    }


def test_the_models_program_has_the_same_dims_for_them():
    model = pr.LayeredModel(hierarchy, [LAYER])
    assert site_dims(model.program, np.zeros(7)) == site_dims(hierarchy)
    plain = pr.LayeredModel(pr.SpikeAndSlab(3, 0.4, dist.HalfNormal()), [LAYER])
    assert site_dims(plain.program, np.zeros(7)) == site_dims(plain.prior) == {}


def test_a_plate_called_hidden_of_another_size_is_no_dim_of_h():
    def prior():
        with numpyro.plate("hidden", 2):
            numpyro.sample("two", dist.Normal())
        return jnp.zeros(3)

    assert site_dims(prior) == {"two": ("two_dim_0",)}


@pytest.mark.parametrize("name", ["obs", "chain", "h_1", "x", "mask_0", "hidden"])
def test_names_that_stand_for_something_else_are_refused(name):
    def prior():
        return jnp.ones(3) * numpyro.sample(name, dist.HalfNormal())

    with pytest.raises(ValueError, match=f"has a site '{name}', which is the name of something"):
        pr.LayeredModel(prior, [LAYER])


@pytest.mark.slow
def test_densities_of_sites_add_up_to_the_programs():
    model = pr.LayeredModel(hierarchy, [LAYER])
    rng = np.random.default_rng(5)
    shapes = {"factor": (2, 5), "table": (4, 3), "odd": (6,)}
    draw = {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}
    draw |= {"rate": jnp.array(0.3), "scale": jnp.array([0.7, 1.9]), "h": jnp.array([0, 2.0, 0.4])}
    found = log_densities(prior_program(model), draw)
    assert set(found) == {"rate", "scale", "factor", "table", "odd", "h"}
    assert found["scale"].shape == (2,)
    expected, _ = log_density(hierarchy, (), {}, draw)
    np.testing.assert_allclose(sum(map(jnp.sum, found.values())), expected, rtol=1e-12)


def test_a_prior_without_sites_has_the_density_of_h():
    model = pr.LayeredModel(pr.SpikeAndSlab(3, 0.4, dist.HalfNormal(0.7)), [LAYER])
    h = jnp.array([0.0, 0.3, 1.1])
    found = log_densities(prior_program(model), {"h": h})
    by_hand = np.log(0.6) + 2 * np.log(0.4) + dist.HalfNormal(0.7).log_prob(h[1:]).sum()
    np.testing.assert_allclose(found["h"], by_hand, rtol=1e-12)


def test_what_is_drawn_and_not_known():
    model = pr.LayeredModel(pr.SpikeAndSlab(3, 0.4, dist.HalfNormal(0.7)), [LAYER])
    h = jnp.zeros(3)
    assert missing_sites(prior_program(model), {"h": h}) == []
    known = {
        "h": h,
        "rate": jnp.array(0.5),
        "factor": jnp.zeros((2, 5)),
        "table": jnp.zeros((4, 3)),
    }
    assert missing_sites(hierarchy, known) == ["scale", "odd"]


def test_a_factor_is_no_density():
    def program():
        h = numpyro.sample("h", dist.Normal().expand([2]).to_event(1))
        numpyro.factor("weight", -h[0])
        return h

    with pytest.raises(ValueError, match="weighs by a factor, 'weight'"):
        log_densities(program, {"h": jnp.zeros(2)})
