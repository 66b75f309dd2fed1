"""Gibbs under priors given something, held against weighted draws of NumPy's own from the prior."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import stats
from scipy.special import ndtr

import probrev as pr
from probrev.inference.gibbs.auxiliary_step import (
    draw_auxiliary,
    rescale_jointly,
    switch_jointly,
    units_given,
)
from probrev.inference.gibbs.coordinate import CoupledPrior, Rows, update_coupled_units
from probrev.model.prior_program import read_program
from tests.inference.gibbs.test_gibbs import joint_law_z_scores
from tests.marks import by_hand

M = 4
MEAN = np.array([0.3, -0.5, 0.1, -0.2])
_ROOT = np.array([[1.0, 0.2], [-0.8, 0.4], [0.5, -1.1], [0.3, 0.9]])
COVARIANCE = _ROOT @ _ROOT.T + np.diag([0.1, 0.4, 0.2, 0.3])
OF_GROUP = np.array([0, 0, 1, 1])
# Priors, each as probrev has it and as NumPy draws it: (rng, size) -> h, (size, M).


def rate():
    u = numpyro.sample("u", dist.Beta(1.5, 3.0))
    return numpyro.sample("h", pr.SpikeAndSlab(M, u, dist.Exponential(1.3)))


def draw_rate(rng, size):
    u = rng.beta(1.5, 3.0, (size, 1))
    return rng.exponential(1 / 1.3, (size, M)) * (rng.uniform(size=(size, M)) < u), u


def scale():
    u = numpyro.sample("u", dist.HalfCauchy(0.5))
    return numpyro.sample("h", pr.SpikeAndSlab(M, 0.4, dist.HalfNormal(u)))


def draw_scale(rng, size):
    u = np.abs(0.5 * rng.standard_cauchy((size, 1)))
    return np.abs(rng.normal(size=(size, M))) * u * (rng.uniform(size=(size, M)) < 0.4), u


def groups():
    with numpyro.plate("group", 2):
        u = numpyro.sample("u", dist.Bernoulli(jnp.array([0.3, 0.6])))
    prob = jnp.where(u[OF_GROUP] > 0, 0.8, 0.0)
    return numpyro.sample("h", pr.SpikeAndSlab(M, prob, dist.HalfNormal(0.9), max_active=3))


def draw_groups(rng, size):
    # The bound is on h given the state of the groups: drawn again until it holds.
    u = rng.uniform(size=(size, 2)) < [0.3, 0.6]
    active = np.zeros((size, M), bool)
    left = np.arange(size)
    while left.size:
        active[left] = rng.uniform(size=(left.size, M)) < 0.8 * u[left][:, OF_GROUP]
        left = left[active[left].sum(1) > 3]
    return np.abs(0.9 * rng.normal(size=(size, M))) * active, u.astype(float)


def neighbours():
    state, states = numpyro.sample("u_0", dist.Bernoulli(0.3)), []
    for unit in range(1, M + 1):
        states.append(state)
        state = numpyro.sample(f"u_{unit}", dist.Bernoulli(jnp.where(state > 0, 0.8, 0.15)))
    # A unit is what its state says: given h no state could change alone.
    slab = dist.TruncatedNormal(0.5, 0.7, low=0.0)
    return numpyro.sample("h", pr.SpikeAndSlab(M, jnp.stack(states) * 1.0, slab))


def draw_neighbours(rng, size):
    states = [rng.uniform(size=size) < 0.3]
    for _ in range(M):
        states.append(rng.uniform(size=size) < np.where(states[-1], 0.8, 0.15))
    u = np.stack(states, 1)
    value = 0.5 + 0.7 * rng.normal(size=(size, M))
    while (value < 0).any():
        value = np.where(value < 0, 0.5 + 0.7 * rng.normal(size=(size, M)), value)
    return value * u[:, :M], u.astype(float)


def classes():
    u = numpyro.sample("u", dist.Categorical(jnp.array([0.5, 0.2, 0.3])))
    prob = jnp.array([[0.9, 0.9, 0.05, 0.05], [0.05, 0.05, 0.9, 0.9], [0.5, 0.1, 0.1, 0.5]])[u]
    slab = dist.HalfNormal(jnp.array([1.0, 0.4, 2.0])[u])
    return numpyro.sample("h", pr.SpikeAndSlab(M, prob, slab))


def draw_classes(rng, size):
    u = rng.choice(3, size, p=[0.5, 0.2, 0.3])
    prob = np.array([[0.9, 0.9, 0.05, 0.05], [0.05, 0.05, 0.9, 0.9], [0.5, 0.1, 0.1, 0.5]])[u]
    value = np.abs(rng.normal(size=(size, M))) * np.array([1.0, 0.4, 2.0])[u][:, None]
    return value * (rng.uniform(size=(size, M)) < prob), u[:, None].astype(float)


def gammas():
    """Slabs that take a quadrature, their numbers plain floats, in groups."""
    with numpyro.plate("group", 2):
        u = numpyro.sample("u", dist.Bernoulli(jnp.array([0.3, 0.6])))
    prob = jnp.where(u[OF_GROUP] > 0, 0.8, 0.1)
    return numpyro.sample("h", pr.SpikeAndSlab(M, prob, dist.Gamma(2.0, 2.5)))


def draw_gammas(rng, size):
    u = rng.uniform(size=(size, 2)) < [0.3, 0.6]
    active = rng.uniform(size=(size, M)) < np.where(u[:, OF_GROUP], 0.8, 0.1)
    return rng.gamma(2.0, 1 / 2.5, size=(size, M)) * active, u.astype(float)


def draw_gaussian(covariance, rng, size):
    v = rng.multivariate_normal(MEAN, covariance, size)
    return np.maximum(v, 0), np.zeros((size, 0))


NOISE = np.array([0.3, 0.2, 0.5, 0.4])
PRIORS = {
    "rectified Gaussian": (
        pr.RectifiedGaussian(MEAN, COVARIANCE), partial(draw_gaussian, COVARIANCE),
    ),
    "in factor form": (
        pr.RectifiedGaussian.from_factors(MEAN, _ROOT[:, :1], NOISE),
        partial(draw_gaussian, _ROOT[:, :1] @ _ROOT[:, :1].T + np.diag(NOISE)),
    ),
    "rate": (rate, draw_rate),
    "scale": (scale, draw_scale),
    "groups": (groups, draw_groups),
    "neighbours": (neighbours, draw_neighbours),
    "classes": (classes, draw_classes),
    "gammas": (gammas, draw_gammas),
}  # fmt: skip


class Setting(NamedTuple):
    """Layers, next to x first: weights, keep_prob, noise_std, gain of each; and what is seen."""

    layers: tuple
    x: np.ndarray

    def model(self, prior):
        return pr.LayeredModel(prior, [pr.Layer(w, p, s, gain=g) for w, p, s, g in self.layers])


def setting(num_layers, num_obs=2):
    """Correlated, badly scaled columns, few rows."""
    rng = np.random.default_rng(11)
    top = rng.normal(size=(6, M)) @ np.diag([1.0, 0.4, 1.5, 0.8])
    top[:, 1] += 0.7 * top[:, 0]
    layers = [(top, 0.6, 0.7, 1.3)]
    if num_layers == 2:
        layers.insert(0, (rng.normal(size=(5, 6)), 0.7, 0.8, 0.9))
    h = np.array([[0.8, 0.0, 0.6, 0.0], [0.0, 0.5, 0.0, 0.3]])[:num_obs]
    for weights, keep_prob, noise_std, gain in reversed(layers):
        z = h @ weights.T + noise_std * rng.normal(size=(len(h), len(weights)))
        h = gain * np.maximum(z, 0) * (rng.uniform(size=z.shape) < keep_prob)
    return Setting(tuple(layers), h)


def weighed(draw, given, x, size=1_500_000):
    """Draws of h and u from the prior, and the weight of each given one x."""
    rng = np.random.default_rng(12)
    h, u = draw(rng, size)
    signal = h
    for weights, keep_prob, noise_std, gain in reversed(given.layers[1:]):
        z = signal @ weights.T
        z += noise_std * rng.normal(size=z.shape)
        signal = gain * np.maximum(z, 0) * (rng.uniform(size=z.shape) < keep_prob)
    weights, keep_prob, noise_std, gain = given.layers[0]
    z = signal @ weights.T
    seen = np.log(keep_prob / (gain * noise_std * np.sqrt(2 * np.pi)))
    seen = seen - 0.5 * ((x / gain - z) / noise_std) ** 2
    silent = np.log(1 - keep_prob + keep_prob * ndtr(-z / noise_std))
    log_weight = np.where(x > 0, seen, silent).sum(1)
    weight = np.exp(log_weight - log_weight.max())
    assert weight.sum() ** 2 / (weight**2).sum() > 20_000
    return h, u, weight / weight.sum(), log_weight.max() + np.log(weight.mean())


def both(posterior, names):
    """H and what it is given side by side, (chain, draw, obs, unit), as if all were units."""
    group = posterior.tree["posterior"]
    parts = [group["h"].to_numpy()]
    for name in names:
        values = group[name].to_numpy().astype(float)
        parts.append(values.reshape(*values.shape[:3], -1))
    return np.concatenate(parts, axis=-1)


def compare_with_numpy(name, num_layers, **settings):
    prior, draw = PRIORS[name]
    given = setting(num_layers)
    obs = pr.Observations(given.x)
    found = pr.gibbs(jax.random.key(0), given.model(prior), obs, **settings)
    names = sorted(
        str(one) for one in found.tree["posterior"].data_vars if one not in ("h", "factor")
    )
    rng, expected = np.random.default_rng(13), []
    for x in given.x:
        h, u, weight, _ = weighed(draw, given, x)
        chosen = rng.choice(len(h), 20_000, p=weight)
        expected.append(np.concatenate([h, u], axis=1)[chosen])
    reference = pr.from_draws(
        "numpy", np.stack(expected, axis=1)[None], given.x, sampling="iid", starts_apart=True
    )
    ours = pr.from_draws("gibbs", both(found, names), given.x, starts_apart=True)
    assert ours.status == "ok", ours.status_reason
    agreement = pr.measure_agreement(ours, reference)
    assert agreement.agrees, agreement.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["rectified Gaussian", "scale", "neighbours", "classes", "gammas",
     *by_hand("in factor form", "rate", "groups")],
)  # fmt: skip
def test_gibbs_agrees_with_weighted_draws(name):
    compare_with_numpy(name, 1, num_samples=3000 if name == "gammas" else 8000)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["scale", *by_hand("rectified Gaussian")])
def test_through_two_layers(name):
    compare_with_numpy(name, 2, num_samples=15_000)


def light_scale():
    # Geweke's test compares means, which a half-Cauchy scale does not have.
    u = numpyro.sample("u", dist.LogNormal(-0.5, 0.5))
    return numpyro.sample("h", pr.SpikeAndSlab(M, 0.4, dist.HalfNormal(u)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "prior",
    [PRIORS["rectified Gaussian"][0], light_scale, *by_hand(neighbours)],
    ids=["gaussian", "scale", "neighbours"],
)
def test_geweke(prior):
    z_scores = joint_law_z_scores(setting(1).model(prior), num_pairs=20_000, num_steps=30)
    assert np.abs(z_scores).max() <= 4, z_scores


def test_switches_leave_a_finite_law_alone():
    """Of each of many cases that are drawn from p(h, u | rows), one pass must leave such a draw."""
    slab = pr.FiniteSlab([0.5, 1.5], [0.6, 0.4])

    def program():
        with numpyro.plate("group", 2):
            u = numpyro.sample("u", dist.Bernoulli(jnp.array([0.3, 0.6])))
        prob = jnp.where(u[jnp.array([0, 1, 1])] > 0, jnp.array([0.8, 0.7, 0.9]), 0.05)
        return numpyro.sample("h", pr.SpikeAndSlab(3, prob, slab, max_active=2))

    rng = np.random.default_rng(3)
    weights = rng.normal(size=(4, 3))
    precision, target = np.array([1.0, 0.0, 0.5, 2.0]), rng.normal(size=4)
    levels = np.array([0.0, 0.5, 1.5])
    table = np.array(list(np.ndindex(3, 3, 3, 2, 2)))
    h, u = levels[table[:, :3]], table[:, 3:]
    prob = np.where(u[:, [0, 1, 1]] > 0, [0.8, 0.7, 0.9], 0.05)
    of_h = np.where(h > 0, prob * np.where(h == 0.5, 0.6, 0.4), 1 - prob).prod(1)
    of_h = np.where((h > 0).sum(1) <= 2, of_h, 0.0)
    for state in np.ndindex(2, 2):
        of_h[(u == state).all(1)] /= of_h[(u == state).all(1)].sum()
    of_u = np.where(u > 0, [0.3, 0.6], [0.7, 0.4]).prod(1)
    left_out = lambda z: -0.3 * np.abs(z - 0.4).sum(-1)  # noqa: E731
    z = h @ weights.T
    log_rows = -0.5 * (precision * (target - z) ** 2).sum(1)
    law = of_h * of_u * np.exp(log_rows + left_out(z))
    law /= law.sum()
    chosen = rng.choice(len(law), 60_000, p=law)
    h0, u0, z0 = (jnp.asarray(part[chosen]) for part in (h, u, z))
    rows = Rows(
        jnp.broadcast_to(jnp.asarray(precision), z0.shape),
        jnp.asarray(precision * (target - np.asarray(z0))),
    )
    prior = read_program(program)
    step = jax.jit(
        lambda key: switch_jointly(
            key, prior, jnp.asarray(weights), {"u": u0}, h0, rows, z0,
            lambda z: -0.3 * jnp.abs(z - 0.4).sum(-1),
        )
    )  # fmt: skip
    u1, h1 = step(jax.random.key(4))
    after = np.concatenate([np.searchsorted(levels, h1), np.asarray(u1["u"])], axis=1)
    index = np.ravel_multi_index(tuple(after.T), (3, 3, 3, 2, 2))
    counts, expected = np.bincount(index, minlength=len(law)), law * len(chosen)
    common = expected >= 5
    statistic = ((counts - expected)[common] ** 2 / expected[common]).sum()
    assert statistic < common.sum() + 4 * np.sqrt(2 * common.sum())
    assert (np.asarray(u1["u"]) != np.asarray(u0)).mean() > 0.05


def precision():
    u = numpyro.sample("u", dist.Gamma(2.0, 1.0))
    return numpyro.sample("h", pr.SpikeAndSlab(M, 0.4, dist.HalfNormal(u**-0.5)))


@pytest.mark.slow
@pytest.mark.parametrize("program", [light_scale, *by_hand(precision)])
def test_rescaled_draws_are_draws(program):
    """H and u from the prior and x from h are one exact draw each: moved, they still are."""
    model, num = setting(1).model(program), 10_000
    obs = model.simulate(jax.random.key(1), num)
    prior, u = read_program(program), dict(obs.sites)
    step = jax.jit(lambda key: rescale_jointly(key, prior, model.layers[0], u, obs.h, obs.x))
    moved, h = step(jax.random.key(2))
    fresh = model.simulate(jax.random.key(3), num)
    assert (np.asarray(moved["u"]) != np.asarray(u["u"])).mean() > 0.3
    for found, expected in (
        (moved["u"], fresh.sites["u"]),
        (h.sum(1), fresh.h.sum(1)),
        (h.max(1) / moved["u"], fresh.h.max(1) / fresh.sites["u"]),
    ):
        assert stats.ks_2samp(np.asarray(found), np.asarray(expected)).pvalue > 1e-3


def test_coupled_units_are_drawn_given_all_others():
    """Exact draws of v given Gaussian rows of z, moved by a pass, still are; a sign would show."""
    rng = np.random.default_rng(6)
    weights, num = rng.normal(size=(3, M)), 60_000
    precision = np.array([0.5, 0.0, 1.5])
    v = rng.multivariate_normal(MEAN, COVARIANCE, num)
    # One noisy pre-activation each, drawn given v; rows of precision 0 say nothing.
    z = np.maximum(v, 0) @ weights.T
    noisy = z + rng.normal(size=z.shape) / np.sqrt(np.where(precision > 0, precision, 1.0))
    rows = Rows(jnp.broadcast_to(precision, z.shape), jnp.asarray(precision * (noisy - z)))
    information = jnp.broadcast_to(precision @ weights**2, v.shape)
    prior = CoupledPrior(jnp.asarray(MEAN), jnp.linalg.inv(COVARIANCE))
    moved, _ = jax.jit(update_coupled_units)(
        jax.random.key(7), prior, jnp.asarray(weights.T), information, jnp.asarray(v), rows
    )
    moved = np.asarray(moved)
    assert (moved != v).all(1).mean() > 0.9
    scale = np.sqrt(np.diag(COVARIANCE))
    assert np.abs((moved.mean(0) - MEAN) / scale).max() < 4 / np.sqrt(num)
    np.testing.assert_allclose(
        np.cov(moved.T), COVARIANCE, atol=5 * scale.max() ** 2 / np.sqrt(num)
    )
    # With what was seen too: x and v are still a pair.
    seen = (noisy * np.sqrt(precision))[:, [0, 2]]
    before, after = (np.cov(np.hstack([one, seen]).T)[:M, M:] for one in (v, moved))
    np.testing.assert_allclose(after, before, atol=18 * scale.max() ** 2 / np.sqrt(num))


@pytest.mark.slow
def test_a_slab_of_another_form_may_stand_beside_what_is_drawn():
    def program():
        u = numpyro.sample("u", dist.Beta(1.0, 3.0))
        return numpyro.sample("h", pr.SpikeAndSlab(M, u, dist.Gamma(2.0, 2.0)))

    units = units_given(read_program(program), {"u": jnp.array([0.2, 0.7])})
    assert units.slab.batch_shape == ()
    assert np.allclose(jax.nn.sigmoid(units.inclusion_logit), [[0.2] * M, [0.7] * M])


def test_what_h_is_given_is_drawn_given_h():
    """Of units that all fire the factor is normal, with a known mean."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    prior = pr.RectifiedGaussian(rng.normal(size=5), root @ root.T + 0.2 * np.eye(5))
    values = rng.uniform(0.5, 2, size=(3, 5))
    h = jnp.broadcast_to(jnp.asarray(values)[None], (4000, 3, 5))
    blind = {"factor": jnp.full((4000, 3, prior.loadings.shape[1]), 50.0)}
    factor = draw_auxiliary(jax.random.key(0), prior, blind, h)["factor"]
    factor = np.asarray(factor)
    expected = (values - np.asarray(prior.mean)) @ np.asarray(prior.projection).T
    np.testing.assert_allclose(factor.mean(0), expected, atol=0.1)
    covariance = np.cov((factor - factor.mean(0)).reshape(-1, factor.shape[-1]).T)
    root = np.asarray(prior.factor_std)
    np.testing.assert_allclose(covariance, root @ root.T, atol=0.05)


def test_a_discrete_variable_is_drawn_given_h():
    """Its units stay as they are: pinned down by x, they would never be drawn anew with it."""
    probs = np.array([[0.1, 0.4, 0.2], [0.3, 0.5, 0.7], [0.0, 0.9, 0.6]])
    weights = np.array([0.5, 0.3, 0.2])

    def classes():
        u = numpyro.sample("u", dist.Categorical(jnp.asarray(weights)))
        slab = dist.HalfNormal(1.0 + u)
        return numpyro.sample("h", pr.SpikeAndSlab(3, jnp.asarray(probs)[u], slab))

    values = np.array([[0.0, 1.2, 0.0], [0.7, 0.0, 0.3], [0.0, 0.0, 0.0]])
    h = jnp.broadcast_to(jnp.asarray(values)[None], (8000, *values.shape))
    u = draw_auxiliary(jax.random.key(0), classes, {"u": jnp.ones((8000, 3), int)}, h)["u"]
    active, scale = values[:, None] > 0, 1.0 + np.arange(3)[:, None]
    slab = stats.halfnorm.pdf(values[:, None], scale=scale)
    law = weights * np.where(active, probs * slab, 1 - probs).prod(2)
    share = np.stack([(np.asarray(u) == value).mean(0) for value in range(3)], 1)
    np.testing.assert_allclose(share, law / law.sum(1, keepdims=True), atol=0.02)
    assert share[1, 2] == law[1, 2] == 0  # a unit is active that it would silence


@pytest.mark.slow
def test_chains_from_an_h_of_which_nothing_else_is_known_end_where_blind_ones_do():
    """Real h: nobody knows the factor that it was given."""
    rng = np.random.default_rng(1)
    root = rng.normal(size=(6, 2))
    prior = pr.RectifiedGaussian(np.full(6, -0.3), root @ root.T + 0.3 * np.eye(6))
    layer = pr.Layer(rng.normal(size=(20, 6)), keep_prob=0.7, noise_std=1.0)
    model = pr.LayeredModel(prior, [layer])
    made = model.simulate(jax.random.key(0), 4)
    real = model.observe_from(jax.random.key(1), made.h)
    assert not real.sites
    blind, truth = (
        pr.gibbs(jax.random.key(2), model, real, start=start) for start in ("prior", "truth")
    )
    assert pr.measure_agreement(blind, truth).agrees
    with pytest.raises(ValueError, match="with all that made x"):
        pr.gibbs(jax.random.key(0), model, pr.Observations(real.x), start="truth")
