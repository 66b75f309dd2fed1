"""The model as a program, a density and a simulator: three views that must agree."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer import Predictive
from numpyro.infer.util import log_density
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import norm

import probrev as pr

RNG = np.random.default_rng(3)
SLAB = pr.FiniteSlab([0.6, 1.9], [0.3, 0.7])
PRIOR = pr.SpikeAndSlab(3, np.array([0.2, 0.5, 0.35]), SLAB, max_active=2)
W_BELOW, W_ABOVE = RNG.normal(0.1, 1.2, (5, 4)), RNG.normal(0.3, 0.9, (4, 3))
ONE = pr.LayeredModel(PRIOR, [pr.Layer(W_ABOVE, 0.35, 0.8, 1.6)])
LINEAR = pr.LayeredModel(PRIOR, [pr.Layer(W_ABOVE, 0.6, 0.8, 0.7, "identity")])
TWO = pr.LayeredModel(PRIOR, [pr.Layer(W_BELOW, 0.7, 0.5, 0.9), pr.Layer(W_ABOVE, 0.35, 0.8, 1.6)])
LEVEL = jnp.array([0, 2, 1])
H = jnp.array([0.0, 1.9, 0.6])


def positive_function():
    """A prior that is a plain function."""
    with numpyro.plate("hidden", 3):
        return numpyro.sample("value", dist.HalfNormal(0.8))


# One layer: program with masks, program without, log_joint


@pytest.mark.parametrize("model", [ONE, LINEAR], ids=["relu", "identity"])
def test_masks_sum_to_the_program_without_them_and_to_log_joint(model):
    x = np.array([0.0, 1.3, 0.0, 0.4])
    masks = np.array(list(itertools.product([0, 1], repeat=4)))

    @jax.jit
    def densities(masks):
        def explicit(mask):
            sites = {"level": LEVEL, "mask_0": mask}
            args = {"x": x, "explicit_from": 0}
            return log_density(model.program, (), args, sites)[0]

        summed = log_density(model, (x,), {}, {"level": LEVEL})[0]
        return jax.vmap(explicit)(masks), summed, model.log_joint(H, x)

    with_masks, summed, joint = densities(masks)
    # A mask that drops a seen unit is impossible, and so is one that keeps an unseen linear unit.
    possible = masks[:, [1, 3]].all(1)
    if model is LINEAR:
        possible &= ~masks[:, [0, 2]].any(1)
    np.testing.assert_array_equal(np.isfinite(with_masks), possible)
    np.testing.assert_allclose(logsumexp(with_masks), joint, rtol=1e-12)
    np.testing.assert_allclose(summed, joint, rtol=1e-12)


def test_log_joint_is_prior_times_likelihood_for_every_pair():
    x = np.maximum(RNG.normal(size=(3, 4)), 0)
    states = ONE.states()
    h = states[jnp.arange(states.count)]

    @jax.jit
    def both(h, x):
        pairs = ONE.log_joint(h[:, None, :], x[None, :, :])
        alone = ONE.log_likelihood(h[:, None, :], x[None, :, :])
        return pairs, ONE.log_joint_table(h, x), alone, PRIOR.log_prob(h)

    pairs, table, alone, prior = (np.asarray(part) for part in both(h, x))
    np.testing.assert_allclose(pairs, alone + prior[:, None], rtol=1e-13)
    np.testing.assert_allclose(table, pairs, rtol=1e-12)


# Two layers: the program's sites


def explicit_site_density(mask, noise, x):
    """Log density of the two-layer explicit program at its sites, in plain NumPy."""
    z = W_ABOVE @ np.asarray(H)
    h_1 = 1.6 * np.maximum(z + 0.8 * noise, 0) * mask
    total = np.where(mask, np.log(0.35), np.log(0.65)).sum() + norm.logpdf(noise).sum()
    z = W_BELOW @ h_1
    for value, center in zip(x, z, strict=True):
        if value > 0:
            total += np.log(0.7 / 0.9) + norm.logpdf(value / 0.9, center, 0.5)
        else:
            total += np.log(0.3 + 0.7 * norm.cdf(-center / 0.5))
    return h_1, total


def test_two_layer_programs_agree_given_the_intermediate():
    """Both programs, at one h_1; and the explicit one with x's own mask summed out by hand."""
    x = np.array([0.0, 0.7, 0.0, 1.2, 0.1])
    mask, noise = np.array([1, 0, 1, 1]), np.array([0.3, -0.2, 1.1, 0.5])
    h_1, expected = explicit_site_density(mask, noise, x)
    assert h_1[0] > 0

    @jax.jit
    def densities(masks):
        def explicit(mask_0):
            sites = {"level": LEVEL, "mask_1": mask, "noise_1": noise, "mask_0": mask_0}
            return log_density(TWO.program, (), {"x": x, "explicit_from": 0}, sites)[0]

        summed = log_density(TWO, (x,), {}, {"level": LEVEL, "h_1": h_1})[0]
        return jax.vmap(explicit)(masks), summed, PRIOR.log_prob(H)

    masks = np.array(list(itertools.product([0, 1], repeat=5)))
    with_masks, summed, prior = densities(masks)
    np.testing.assert_allclose(logsumexp(with_masks), prior + expected, rtol=1e-12)
    z = W_ABOVE @ np.asarray(H)
    below = TWO.layers[0].log_likelihood(h_1, x)
    on = np.log(0.35 / 1.6) + norm.logpdf(h_1 / 1.6, z, 0.8)
    off = np.log(0.65 + 0.35 * norm.cdf(-z / 0.8))
    np.testing.assert_allclose(summed, prior + np.where(h_1 > 0, on, off).sum() + below, rtol=1e-12)


def test_intermediate_site_integrates_to_the_explicit_program():
    """One narrow chain 1 <- 1 <- 1: the h_1 of one program, the mask and noise of the other."""
    slab = pr.FiniteSlab([1.3], [1.0])
    layers = [pr.Layer([[0.9]], 0.7, 0.5, 0.8), pr.Layer([[0.6]], 0.35, 0.9, 1.7)]
    model = pr.LayeredModel(pr.SpikeAndSlab(1, 0.4, slab), layers)
    x, level = jnp.array([0.45]), jnp.array([1])

    @jax.jit
    def summed(h_1):
        return jnp.exp(log_density(model, (x,), {}, {"level": level, "h_1": h_1[None]})[0])

    @jax.jit
    def explicit(noise, mask_1, mask_0):
        sites = {"level": level, "noise_1": noise[None], "mask_1": mask_1, "mask_0": mask_0}
        arguments = {"x": x, "explicit_from": 0}
        return jnp.exp(log_density(model.program, (), arguments, sites)[0])

    by_value = float(summed(jnp.array(0.0))) + quad(lambda v: float(summed(v)), 1e-12, 12)[0]
    by_noise = sum(
        quad(lambda e, a=a, b=b: float(explicit(e, np.array([a]), np.array([b]))), -9, 9,
             points=[-0.6 * 1.3 / 0.9])[0]
        for a in (0, 1) for b in (0, 1)
    )  # fmt: skip
    np.testing.assert_allclose(by_value, by_noise, rtol=1e-7)


@pytest.mark.slow
def test_simulation_and_program_draw_the_same_law():
    """Predictive draws of the two-layer program against simulate, by their first two moments."""
    num = 4000
    obs = TWO.simulate(jax.random.key(0), num)
    drawn = Predictive(TWO, num_samples=num)(jax.random.key(1))
    explicit = Predictive(TWO.program, num_samples=num)(jax.random.key(2), explicit_from=0)
    for found in (drawn, explicit):
        pairs = ((found["h"], obs.h), (found["h_1"], obs.intermediates[0]), (found["x"], obs.x))
        for one, other in pairs:
            for power in (1, 2):
                a, b = np.asarray(one) ** power, np.asarray(other) ** power
                error = np.sqrt((a.var(0) + b.var(0)) / num)
                assert np.all(np.abs(a.mean(0) - b.mean(0)) < 4.5 * error)
    assert set(explicit) == {"level", "h", "mask_1", "noise_1", "h_1", "mask_0", "x"}


# Simulation


THREE = pr.LayeredModel(
    pr.SpikeAndSlab(3, 0.6, dist.HalfNormal(0.7)),
    [
        pr.Layer(RNG.normal(size=(5, 5)), 0.8, 0.0),
        pr.Layer(W_BELOW, 0.5, 0.0, 1.3),
        pr.Layer(W_ABOVE, 0.7, 0.0, 0.4),
    ],
)


def test_noiseless_simulation_is_recomputed_from_its_masks():
    obs = THREE.simulate(jax.random.key(9), 400)
    assert [one.shape for one in obs.masks] == [(400, 5), (400, 5), (400, 4)]
    assert [one.shape for one in obs.intermediates] == [(400, 5), (400, 4)]
    signal = np.asarray(obs.h)
    for level in (2, 1, 0):
        layer = THREE.layers[level]
        z = signal @ np.asarray(layer.weights).T
        signal = float(layer.gain) * np.maximum(z, 0) * np.asarray(obs.masks[level])
        stored = obs.x if level == 0 else obs.intermediates[level - 1]
        np.testing.assert_allclose(stored, signal, rtol=1e-12, atol=1e-15)
    shares = [float(mask.mean()) for mask in obs.masks]
    np.testing.assert_allclose(shares, [0.8, 0.5, 0.7], atol=4.5 * 0.5 / np.sqrt(400 * 4))
    flat = np.concatenate([np.asarray(mask, dtype=float) for mask in obs.masks], axis=1)
    correlations = np.corrcoef(flat, rowvar=False)[~np.eye(14, dtype=bool)]
    assert np.abs(correlations).max() < 4.5 / np.sqrt(400)


def test_generate_starts_from_the_chosen_h():
    h = jnp.array([[0.4, 0.0, 1.2], [0.0, 0.0, 0.0]])
    x = np.asarray(THREE.generate(jax.random.key(1), jnp.tile(h[None], (500, 1, 1))))
    assert x.shape == (500, 2, 5)
    assert not x[:, 1].any()
    # Without noise all that x can be is a function of the masks: finitely many values.
    assert len(np.unique(x[:, 0].round(10), axis=0)) > 20
    other = np.asarray(THREE.generate(jax.random.key(1), 2.5 * jnp.tile(h[None], (500, 1, 1))))
    np.testing.assert_allclose(other, 2.5 * x, rtol=1e-12)


def test_energy_shrinks_by_the_theorys_factor():
    """E||h^(l-1)||^2 = 2 (||h^(l)||^2 + noise_var) / (rho n), over fresh Gaussian weights."""
    h, sigma, rho, n = jnp.array([0.7, 0.0, 1.6]), 0.9, 0.6, 40

    def energy(key):
        key_weights, key_x = jax.random.split(key)
        weights = jax.random.normal(key_weights, (n, 3))
        layer = pr.Layer(weights, rho, sigma, 2 / (rho * n))
        return (layer.generate(key_x, h)[0] ** 2).sum()

    found = np.asarray(jax.jit(jax.vmap(energy))(jax.random.split(jax.random.key(5), 8000)))
    expected = 2 * (0.7**2 + 1.6**2 + sigma**2) / (rho * n)
    assert abs(found.mean() - expected) < 4.5 * found.std() / np.sqrt(8000)


def test_a_function_serves_as_prior():
    model = pr.LayeredModel(positive_function, TWO.layers)
    obs = model.simulate(jax.random.key(0), 5)
    assert obs.h.shape == (5, 3)
    assert np.all(np.asarray(obs.h) > 0)
    for refused in (model.states, lambda: model.log_joint(obs.h, obs.x)):
        with pytest.raises(ValueError, match=r"positive_function is a NumPyro function.*use hmc"):
            refused()


# Pytrees


@pytest.mark.parametrize("prior", [PRIOR, positive_function])
def test_model_is_a_pytree(prior):
    model = pr.LayeredModel(prior, TWO.layers)
    leaves, structure = jax.tree.flatten(model)
    again = jax.tree.unflatten(structure, leaves)
    assert structure == jax.tree.structure(again)
    key = jax.random.key(0)
    np.testing.assert_array_equal(again.simulate(key, 5).x, model.simulate(key, 5).x)
    np.testing.assert_array_equal(jax.jit(lambda m: m.layers[0].gain)(model), 0.9)
    doubled = jax.tree.map(lambda leaf: 2 * leaf if np.ndim(leaf) == 2 else leaf, model)
    np.testing.assert_allclose(doubled.layers[1].weights, 2 * W_ABOVE)
    assert type(doubled.prior) is type(prior)


# Refusals


def test_widths_must_chain():
    with pytest.raises(
        ValueError,
        match=r"layers\[0\] has n_hidden = 3, but layers\[1\] above it has n_visible = 5; "
        r"layers\[0\] is the one next to x",
    ):
        pr.LayeredModel(pr.SpikeAndSlab(4, 0.2, SLAB), TWO.layers[::-1])


def test_prior_must_be_as_wide_as_the_top_layer():
    with pytest.raises(
        ValueError, match=r"prior returns h of shape \(7,\), .*layers\[1\], has n_hidden = 3"
    ):
        pr.LayeredModel(pr.SpikeAndSlab(7, 0.2, SLAB), TWO.layers)


def test_a_model_needs_a_layer():
    with pytest.raises(ValueError, match="layers must hold at least one Layer"):
        pr.LayeredModel(PRIOR, [])


def observe(change, name="x"):
    """Three fit observations with one entry changed, or another width."""
    x, h = np.ones((3, 4)), np.ones((3, 3))
    value = {"x": x, "h": h}[name]
    if isinstance(change, tuple):
        value = np.ones(change)
    else:
        value[1, 2] = change
    return pr.Observations(**({"x": x, "h": h} | {name: value}))


@pytest.mark.parametrize(
    ("change", "name", "match"),
    [
        (
            -0.1,
            "x",
            "x must be what a layer with activation relu.*observation 1 has x_. = -0.1.*every h; "
            '8% of x are below 0, .* give the layer next to x activation="identity"',
        ),
        (-0.1, "h", "h is nonnegative under SpikeAndSlab; got -0.1"),
        (np.nan, "x", "x must be finite; got NaN or infinity in observation 1$"),
        (np.inf, "h", "h must be finite; got NaN or infinity in observation 1$"),
        ((3, 5), "x", r"x has 5 columns, but the model has 4; x must have shape"),
        ((3, 2), "h", r"h has 2 columns, but the model has 3; h must have shape"),
    ],
)
def test_observations_must_fit(change, name, match):
    with pytest.raises(ValueError, match=match):
        ONE.check(observe(change, name))


def test_a_linear_layer_takes_negative_x():
    LINEAR.check(observe(-0.1))


def test_densities_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="a model with 2 layers has no closed form"):
        TWO.log_likelihood(H, jnp.zeros(5))
    silent = pr.LayeredModel(PRIOR, [pr.Layer(W_ABOVE, 0.5)])
    with pytest.raises(ValueError, match="noise_std = 0 gives x no density"):
        silent.log_joint(H, jnp.zeros(4))
