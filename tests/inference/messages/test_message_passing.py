"""Message passing against a plain NumPy iteration, exact posteriors and Gibbs."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import probrev as pr
from probrev.inference.messages import messages, row_stream
from probrev.posterior.posterior import Kind
from probrev.runs import registry
from tests.inference.plain_messages import FINITE, iterate_plainly, one_layer


def large(n_visible, n_hidden, n_active, noise_std, seed=0):
    weights = np.random.default_rng(seed).normal(size=(n_visible, n_hidden))
    prior = pr.SpikeAndSlab(n_hidden, n_active / n_hidden, dist.HalfNormal(1 / np.sqrt(n_active)))
    return pr.LayeredModel(prior, [pr.Layer(weights, 0.5, noise_std)])


def passed(model, obs, **options):
    """The group `approximation` of a run, and the run."""
    found = pr.message_passing(model, obs, **{"num_draws": 4, **options})
    return found.tree["approximation"].to_dataset(), found


def slow(value):
    return pytest.param(value, marks=pytest.mark.slow)


# One layer


@pytest.mark.parametrize("rows", [*map(slow, (1, 17, 1000))])
def test_fixed_point_is_that_of_a_plain_iteration(monkeypatch, rows):
    """However the rows are cut into blocks, the last one overlapping the one before."""
    if rows < 40:  # else one block, compiled as for all other tests here
        monkeypatch.setattr(row_stream, "BLOCK_ELEMENTS", rows * 7)
        messages.iterate_messages.clear_cache()
    model = one_layer()
    obs = model.simulate(jax.random.key(1), 3)
    found, posterior = passed(model, obs, tolerance=1e-10)
    assert posterior.status == "ok"
    if rows < 40:
        messages.iterate_messages.clear_cache()
    for index, x in enumerate(np.asarray(obs.x)):
        expected = iterate_plainly(model, x)
        for name, values in zip(("mean", "var", "inclusion_prob"), expected, strict=True):
            np.testing.assert_allclose(found[name][index], values, rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_schema_and_draws():
    model = one_layer()
    obs = model.simulate(jax.random.key(1), 3)
    seen = []
    found, posterior = passed(
        model, obs, num_draws=8000, progress=lambda done, total: seen.append((done, total))
    )
    assert posterior.kind is Kind.APPROXIMATE
    assert seen[-1] == (200, 200)
    assert set(found) == {
        "mean", "var", "inclusion_prob", "num_iterations", "num_clamped", "converged",
    }  # fmt: skip
    assert posterior.status_reason.startswith("approximation: converged in at most ")
    assert posterior.draws.shape == (4, 2000, 3, 7)
    h = posterior.draws.to_numpy().reshape(8000, 3, 7)
    spread = np.sqrt(found["var"] / 8000)
    assert (np.abs(h.mean(0) - found["mean"]) < 4.5 * spread + 1e-6).all()
    np.testing.assert_allclose(h.var(0), found["var"], rtol=0.3, atol=3e-3)
    prob = found["inclusion_prob"]
    assert (np.abs((h > 0).mean(0) - prob) < 4.5 * np.sqrt(prob * (1 - prob) / 8000) + 1e-6).all()


@pytest.mark.slow
def test_observations_do_not_change_each_other():
    """Bit for bit, though one of its new companions takes longer and one diverges."""
    model = one_layer(noise_std=0.2)
    x = np.asarray(model.simulate(jax.random.key(2), 3).x)
    first, _ = passed(model, pr.Observations(x))
    again, _ = passed(model, pr.Observations(np.stack([x[0], x[1] * 30, x[2] + 1e200])))
    assert again["num_iterations"][1] > first["num_iterations"][0] + 3
    for name in ("mean", "var", "inclusion_prob", "num_iterations"):
        np.testing.assert_array_equal(first[name][0], again[name][0])


@pytest.mark.slow
def test_a_bound_on_active_units_enters_through_marginals():
    layer = one_layer().layers[0]
    model = pr.LayeredModel(pr.SpikeAndSlab(7, 0.3, FINITE, max_active=2), [layer])
    obs = model.simulate(jax.random.key(1), 3)
    found, posterior = passed(model, obs)
    assert "the bound on active units enters through each unit's" in posterior.status_reason
    free = pr.SpikeAndSlab(7, model.prior.marginal_inclusion_prob, FINITE)
    expected, _ = passed(pr.LayeredModel(free, [layer]), obs)
    np.testing.assert_allclose(found["mean"], expected["mean"], rtol=1e-8)


@pytest.mark.slow
def test_linear_layer_has_the_exact_gaussian_mean():
    """Without dropout, rectifier and spike, on well spread rows: least squares with the prior."""
    rng = np.random.default_rng(0)
    prior = pr.SpikeAndSlab(4, 1.0, dist.TruncatedNormal(9.0, 0.5, low=0.0))
    layer = pr.Layer(rng.normal(size=(80, 4)), 1.0, 0.8, 0.5, activation="identity")
    obs = pr.LayeredModel(prior, [layer]).simulate(jax.random.key(0), 2)
    found, _ = passed(pr.LayeredModel(prior, [layer]), obs, tolerance=1e-12)
    W = np.asarray(layer.weights)
    precision = W.T @ W / 0.64 + np.eye(4) / 0.25
    linear = np.asarray(obs.x) / 0.5 @ W / 0.64 + 9.0 / 0.25
    np.testing.assert_allclose(found["mean"], np.linalg.solve(precision, linear.T).T, rtol=1e-8)


# Several layers


@pytest.mark.proof
def test_two_layers_at_the_edge_of_one():
    """A first layer without noise to speak of shows h_1: then only the second layer counts."""
    upper, prior = one_layer(n_visible=16).layers[0], one_layer().prior
    lower = pr.Layer(np.random.default_rng(3).normal(size=(160, 16)), 1.0, 1e-5, 0.7)
    deep = pr.LayeredModel(prior, [lower, upper])
    obs = deep.simulate(jax.random.key(4), 3)
    found, posterior = passed(deep, obs, tolerance=1e-7)
    shallow, _ = passed(pr.LayeredModel(prior, [upper]), pr.Observations(obs.intermediates[0]))
    for name in ("mean", "var", "inclusion_prob"):
        np.testing.assert_allclose(found[name], shallow[name], atol=2e-4)
    between = posterior.tree["intermediates"].to_dataset()
    assert between["h_1_mean"].dims == ("obs", "hidden_1")
    np.testing.assert_allclose(between["h_1_mean"], obs.intermediates[0], atol=1e-4)
    active = np.asarray(obs.intermediates[0]) > 1e-3
    assert (between["h_1_inclusion_prob"].to_numpy()[active] > 0.999).all()
    assert (between["h_1_var"] < 1e-8).all()


# Status


def test_correlated_weights_are_not_converged():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(40, 1)) + 0.05 * rng.normal(size=(40, 7))
    model = pr.LayeredModel(one_layer().prior, [pr.Layer(weights, 0.6, 0.1)])
    obs = model.simulate(jax.random.key(1), 3)
    found, posterior = passed(model, obs, max_iterations=60)
    assert posterior.status == "not converged"
    stuck = int((~found["converged"]).sum())
    assert stuck
    assert f"{stuck} of 3 observations still moved after 60 iterations" in posterior.status_reason
    assert np.isfinite(found["mean"]).all()
    assert np.isfinite(posterior.draws).all()


def test_messages_that_say_less_than_nothing_are_clamped_and_counted():
    """Silence where the prior expects much is put down to dropout: log f is convex there."""
    model = one_layer(mean=3.0)
    found, posterior = passed(model, pr.Observations(np.zeros((3, 40))))
    clamped = int(found["num_clamped"].sum())
    assert clamped > 0
    assert f"{clamped} messages that said less than nothing were clamped" in posterior.status_reason
    assert np.isfinite(found["mean"]).all()


def test_divergence_keeps_the_last_finite_state():
    """An x beyond all bounds leaves the prior, and says so; its companions are as they were."""
    model = one_layer()
    x = np.asarray(model.simulate(jax.random.key(1), 3).x)
    expected, _ = passed(model, pr.Observations(x))
    x = x * np.array([1, 1e200, 1])[:, None]
    found, posterior = passed(model, pr.Observations(x))
    assert posterior.status == "diverged"
    assert "messages of 1 of 3 observations grew beyond all bounds" in posterior.status_reason
    np.testing.assert_array_equal(found["converged"], [True, False, True])
    assert found["num_iterations"][1] == 0
    np.testing.assert_allclose(found["inclusion_prob"][1], model.prior.inclusion_prob, rtol=1e-12)
    np.testing.assert_array_equal(found["mean"][::2], expected["mean"][::2])
    assert np.isfinite(posterior.draws).all()


def test_what_it_refuses():
    model = one_layer()
    layers, obs = model.layers, model.simulate(jax.random.key(0), 1)
    refused = [
        (pr.LayeredModel(pr.KSparse(7, 2, FINITE), layers), "use gibbs or exact"),
        (pr.LayeredModel(lambda: jnp.ones(7), layers), "for any NumPyro function hmc"),
        (pr.LayeredModel(pr.SpikeAndSlab(7, 0.2, dist.HalfCauchy(1.0)), layers), "is infinite"),
        (one_layer(noise_std=0.0), "needs noise_std > 0 in every layer"),
        (
            pr.LayeredModel(
                model.prior,
                [pr.Layer(np.ones((9, 40)), 1.0, 0.5), one_layer(activation="identity").layers[0]],
            ),
            "activation relu in every layer but the one next to x",
        ),
        (object(), "needs a LayeredModel; got object"),
    ]
    for bad, message in refused:
        with pytest.raises(ValueError, match=message):
            pr.message_passing(bad, obs)
    with pytest.raises(ValueError, match="x must be what a layer with activation relu"):
        pr.message_passing(model, pr.Observations(-np.ones((1, 40))))
    with pytest.raises(ValueError, match="num_draws must be a multiple of 4"):
        pr.message_passing(model, obs, num_draws=6)
    with pytest.raises(ValueError, match="max_iterations must be at least 1"):
        pr.message_passing(model, obs, max_iterations=0)


# Accuracy


@pytest.mark.slow
def test_accuracy_at_small_size_is_what_it_says():
    """At (45, 13) against exact posteriors: good, and visibly an approximation."""
    slab = pr.FiniteSlab([0.3, 0.9], [0.5, 0.5])
    prior = pr.SpikeAndSlab(13, 1 / 6, slab)
    gaps = []
    for seed in range(4):
        weights = np.random.default_rng(seed).normal(size=(45, 13))
        model = pr.LayeredModel(prior, [pr.Layer(weights, 0.5, 0.7)])
        obs = model.simulate(jax.random.key(seed), 8)
        found, posterior = passed(model, obs)
        assert posterior.status == "ok"
        exact = pr.exact(model, obs, num_draws=4)
        gaps.append(np.abs(found["inclusion_prob"] - exact.inclusion_prob).max("hidden"))
    gaps = np.concatenate(gaps)
    assert 0.005 < np.median(gaps) < 0.08
    assert np.quantile(gaps, 0.9) < 0.2


@pytest.mark.proof
def test_agrees_with_gibbs_at_1000_by_200():
    """Within .02 in inclusion, as far as Gibbs can tell: its own error is up to .01 here.

    With 12000 sweeps and standard errors below .005 the largest gaps of four observations were
    .017, .020, .029 and .012.
    """
    model = large(1000, 200, 10, 0.7)
    obs = model.simulate(jax.random.key(1), 2)
    found, posterior = passed(model, obs)
    assert posterior.status == "ok"
    gibbs = pr.gibbs(jax.random.key(2), model, obs, num_warmup=300, num_samples=4000)
    assert gibbs.status == "ok"
    gap, p = np.abs(found["inclusion_prob"] - gibbs.inclusion_prob), gibbs.inclusion_prob
    error = np.sqrt(p * (1 - p) / gibbs.tree["diagnostics/ess_active"].min("hidden"))
    assert error.max() < 0.02
    assert (gap <= 0.02 + 4 * error).all()
    assert np.sqrt((gap**2).mean()) < 0.005
    np.testing.assert_allclose(found["var"].sum("hidden"), gibbs.var.sum("hidden"), rtol=0.1)


@pytest.mark.slow
def test_two_layers_know_how_wrong_they_are():
    """Squared error of both hidden vectors against the variance claimed for them."""
    sizes = {"n_visible": 1600, "n_intermediate": 400, "n_hidden": 40, "n_active": 4.0}
    model = registry.load("layered")(**sizes)
    obs = model.simulate(jax.random.key(1), 128)
    found, posterior = passed(model, obs)
    assert found["converged"].mean() > 0.97
    between = posterior.tree["intermediates"].to_dataset()
    for mean, var, truth in (
        (found["mean"], found["var"], obs.h),
        (between["h_1_mean"], between["h_1_var"], obs.intermediates[0]),
    ):
        excess = ((mean.to_numpy() - np.asarray(truth)) ** 2).sum(1) - var.to_numpy().sum(1)
        assert abs(excess.mean()) < 4 * excess.std() / np.sqrt(128)
        assert excess.std() / np.sqrt(128) < 0.15 * float(var.sum(var.dims[1]).mean())
