"""Groups on request: densities against the model's own, and ArviZ's functions on the tree."""

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from matplotlib import pyplot as plt
from numpyro.infer.util import log_density

import probrev as pr
from probrev.posterior.posterior import from_draws
from probrev.posterior.ties import untie, untie_rows
from tests.model.test_sites import LAYER, hierarchy
from tests.small_case import MODEL, NUM_OBS

KEY = jax.random.key(0)
EVERY = ["log_likelihood", "log_prior", "posterior_predictive", "prior"]


# Any draws and any x do: what is made of them is not asked how they came about.
DRAWS = np.random.default_rng(1).choice([0.0, 0.6, 1.7], (2, 200, NUM_OBS, 4), p=[0.7, 0.1, 0.2])
DRAWS[np.cumsum(DRAWS > 0, axis=-1) > 2] = 0.0  # no more than two are active
X = np.maximum(np.random.default_rng(2).normal(size=(NUM_OBS, 12)), 0)


@pytest.fixture(scope="module")
def whole():
    return from_draws("mine", DRAWS, X, model=MODEL).with_groups(KEY, EVERY)


def test_groups_and_their_dims(whole):
    tree = whole.tree
    row = ("chain", "draw", "obs", "visible")
    assert tree["log_likelihood/x"].dims == tree["posterior_predictive/x"].dims == row
    assert tree["log_prior/h"].dims == ("chain", "draw", "obs")
    assert tree["prior/h"].dims == ("chain", "draw", "hidden")
    assert tree["posterior_predictive/x"].shape == (2, 200, NUM_OBS, 12)
    np.testing.assert_array_equal(tree["log_likelihood/obs"], np.arange(NUM_OBS))


@pytest.mark.slow
def test_densities_are_the_models(whole):
    h = whole.draws.to_numpy()
    given = whole.tree["log_likelihood/x"].sum("visible")
    np.testing.assert_allclose(given, MODEL.log_likelihood(h, X[None, None]), atol=1e-8)
    np.testing.assert_allclose(whole.tree["log_prior/h"], MODEL.prior.log_prob(h), atol=1e-8)


def test_predictions_are_the_models(whole):
    drawn = whole.tree["posterior_predictive/x"].mean(("chain", "draw"))
    expected = np.asarray(MODEL.visible_mean(whole.draws.to_numpy())).mean((0, 1))
    spread = whole.tree["posterior_predictive/x"].std(("chain", "draw")) / np.sqrt(400)
    assert np.all(np.abs(drawn - expected) < 5 * spread + 1e-9)
    active = (whole.tree["prior/h"] > 0).mean(("chain", "draw"))
    prob = np.asarray(MODEL.prior.marginal_inclusion_prob)
    assert np.all(np.abs(active - prob) < 5 * np.sqrt(prob * (1 - prob) / 4096))


@pytest.mark.slow
def test_sites_have_densities_of_their_own():
    model = pr.LayeredModel(hierarchy, [LAYER])
    obs = model.simulate(KEY, 40)
    # The prior's draws, of two observations as it were: what they are drawn from is not looked at.
    values = {
        name: np.asarray(one).reshape(2, 10, 2, *one.shape[1:])
        for name, one in {"h": obs.h, **obs.sites}.items()
    }
    posterior = from_draws(
        "mine", values.pop("h"), obs.x[:2], model=model, sites=values,
        site_dims={"factor": ("group", "factor_dim_1")},
    ).with_groups(KEY, ["log_prior", "log_likelihood", "prior"])  # fmt: skip
    found = posterior.tree["log_prior"].to_dataset()
    assert set(found) == {"rate", "scale", "factor", "table", "odd", "h"}
    draw = {name: jnp.asarray(found_at(posterior, name)) for name in found}
    expected, _ = log_density(hierarchy, (), {}, draw)
    total = sum(float(one[1, 3, 0]) for one in found.values())
    assert total == pytest.approx(float(expected), abs=1e-8)
    assert posterior.tree["prior/factor"].dims == ("chain", "draw", "group", "factor_dim_1")
    sums = posterior.tree["log_likelihood/x"].sum("visible")
    by_hand = model.log_likelihood(posterior.draws.to_numpy(), np.asarray(obs.x[:2])[None, None])
    np.testing.assert_allclose(sums, by_hand, atol=1e-8)


def found_at(posterior, name):
    return posterior.tree[f"posterior/{name}"][1, 3, 0].to_numpy()


@pytest.mark.slow
def test_rows_below_several_layers_need_draws_of_the_layer_above_them():
    top = pr.Layer(np.random.default_rng(0).normal(size=(3, 2)), 0.7, 0.8, 0.6)
    model = pr.LayeredModel(pr.SpikeAndSlab(2, 0.4, dist.HalfNormal(1.0)), [LAYER, top])
    x = X[:2, :7]
    h, h_1 = (np.random.default_rng(3).exponential(size=(2, 3, 2, width)) for width in (2, 3))
    without = from_draws("mine", h, x, model=model)
    with pytest.raises(ValueError, match=r"draws of h_1, which the program needs, are not kept"):
        without.with_groups(KEY, ["log_likelihood"])
    kept = from_draws("mine", h, x, model=model, intermediate_draws=[h_1])
    found = kept.with_groups(KEY, ["log_likelihood"]).tree["log_likelihood/x"].sum("visible")
    np.testing.assert_allclose(found[1, 2], LAYER.log_likelihood(h_1[1, 2], x), atol=1e-8)


def test_a_machines_rows_add_up():
    rng = np.random.default_rng(1)
    machine = pr.BoltzmannMachine([rng.normal(size=(5, 3))], [0.2, -0.3])
    h, x = (rng.integers(0, 2, shape).astype(float) for shape in ((2, 4, 2, 3), (2, 5)))
    posterior = from_draws("mine", h, x, model=machine)
    found = posterior.with_groups(KEY, ["log_likelihood"]).tree["log_likelihood/x"].sum("visible")
    np.testing.assert_allclose(found, machine.log_likelihood(h, x[None, None]), atol=1e-8)
    with pytest.raises(ValueError, match="weighs by a factor, 'energy'"):
        posterior.with_groups(KEY, ["log_prior"])


def test_what_is_not_known_is_refused():
    draws = DRAWS[:, :5]
    nobody = from_draws("mine", draws, X)
    with pytest.raises(ValueError, match="needs a posterior whose model is known"):
        nobody.with_groups(KEY, ["prior"])
    with pytest.raises(ValueError, match="groups must be of log_likelihood, log_prior"):
        from_draws("mine", draws, X, model=MODEL).with_groups(KEY, ["likelihood"])

    def inside():
        return pr.SpikeAndSlab(4, 0.3, dist.HalfNormal(1.0))()

    model = pr.LayeredModel(inside, MODEL.layers)
    inner = from_draws("mine", draws, X, model=model)
    with pytest.raises(ValueError, match="log_prior needs draws of active, value"):
        inner.with_groups(KEY, ["log_prior"])

    class Louder(pr.LayeredModel):
        def log_likelihood(self, h, x):
            return 2 * super().log_likelihood(h, x)

    loud = pr.pytree()(Louder)(MODEL.prior, MODEL.layers)
    odd = from_draws("mine", draws, X, model=loud)
    with pytest.raises(ValueError, match="overrides log_likelihood, but not pointwise_log_like"):
        odd.with_groups(KEY, ["log_likelihood"])


def test_a_group_that_would_not_fit_is_refused(monkeypatch, whole):
    monkeypatch.setattr("probrev.posterior.groups.MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=r"choose observations first, as in posterior.of"):
        whole.with_groups(KEY, ["posterior_predictive"])


def test_a_part_of_the_observations(whole):
    part = whole.of([4, 1])
    np.testing.assert_array_equal(part.obs, [4, 1])
    np.testing.assert_array_equal(part.draws, whole.draws[:, :, [4, 1]])
    np.testing.assert_array_equal(part.tree["log_likelihood/x"][0, 0, 0],
                                  whole.tree["log_likelihood/x"][0, 0, 4])  # fmt: skip
    assert part.status_reason == whole.status_reason
    assert part.model is whole.model
    with pytest.raises(ValueError, match="does not cover observation 6"):
        whole.of([6])


# Of few values a tail may hold two, of which ArviZ's fit makes what it can.
@pytest.mark.filterwarnings("ignore:Estimated shape parameter of Pareto")
def test_arviz_takes_one_observation(whole):
    one = whole.tree.sel(obs=3)
    assert list(az.summary(one, kind="stats").index) == [f"h[{unit}]" for unit in range(4)]
    assert az.loo(one).n_data_points == 12
    table = az.psense_summary(one)
    assert list(table.index) == [f"h[{unit}]" for unit in range(4)]
    assert np.isfinite(table[["prior", "likelihood"]].to_numpy()).all()


@pytest.mark.slow
def test_arviz_draws_one_observation(whole):
    one = whole.tree.sel(obs=3)
    az.plot_ppc_dist(one, backend="matplotlib")
    az.plot_prior_posterior(one, var_names=["h"], backend="matplotlib")
    plt.close("all")


def test_ties_at_an_end_are_broken_and_nothing_else_is_touched():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 500, 1, 3))
    values[..., 0] = -0.7
    values[..., 1] = np.where(rng.uniform(size=(4, 500, 1)) < 0.3, -2.0, values[..., 1] ** 2)
    found = untie_rows(np.random.default_rng(1), values)
    np.testing.assert_array_equal(found[..., 2], values[..., 2])
    for row in (0, 1):
        assert len(np.unique(found[..., row])) == 2000
        assert np.abs(found - values).max() < 1e-9
    for one in (values[..., 1], -values[..., 1]):
        assert len(np.unique(untie(np.random.default_rng(1), one))) == 2000
    np.testing.assert_array_equal(untie(rng, values[..., 2]), values[..., 2])


def test_the_prior_alone_is_enough_for_a_program_of_ones_own():
    class Normal:
        n_visible = n_hidden = 2

        def program(self, x=None):
            h = numpyro.sample("h", dist.Normal().expand([2]).to_event(1))
            with numpyro.plate("visible", 2):
                return numpyro.sample("x", dist.Normal(h), obs=x)

    h = np.random.default_rng(0).normal(size=(2, 5, 1, 2))
    posterior = from_draws("mine", h, np.ones((1, 2)), model=Normal())
    tree = posterior.with_groups(KEY, ["log_prior", "log_likelihood"]).tree
    np.testing.assert_allclose(tree["log_prior/h"], dist.Normal().log_prob(h).sum(-1), atol=1e-8)
    np.testing.assert_allclose(tree["log_likelihood/x"], dist.Normal(h).log_prob(1.0), atol=1e-8)
