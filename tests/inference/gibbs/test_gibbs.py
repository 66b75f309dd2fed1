"""Gibbs against exact posteriors and quadrature, its driver, and what it refuses."""

from typing import Any

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import Exponential, Gamma, HalfNormal, TruncatedNormal
from numpyro.infer import MCMC

import probrev as pr
from probrev.inference.gibbs import chain, held_sweep
from probrev.inference.gibbs.layered_state import init_layered
from probrev.inference.gibbs.layered_sweep import layered_step
from probrev.runs import registry
from tests.inference import brute_force
from tests.marks import by_hand


def one_layer(prior, *, n_visible=30, seed=0, keep_prob=0.6, noise_std=0.9, gain=0.3, **kwargs):
    weights = np.random.default_rng(seed).normal(0.2, 1, (n_visible, prior.n_hidden))
    return pr.LayeredModel(prior, [pr.Layer(weights, keep_prob, noise_std, gain, **kwargs)])


@pytest.fixture(scope="module")
def default():
    """The default model, 32 observations and both of its posteriors."""
    model = registry.load("one_layer")()
    obs = model.simulate(jax.random.key(1), 32)
    exact = pr.exact(model, obs)
    return exact, pr.gibbs(jax.random.key(2), model, obs, num_samples=1500)


@pytest.mark.slow
def test_agrees_with_exact_on_every_default_observation(default):
    exact, gibbs = default
    found = pr.measure_agreement(gibbs, exact)
    assert found.threshold_excess.sizes["obs"] == 32
    assert found.agrees, found.reason
    assert found.total_variation.mean() < 1.15 * found.total_variation_floor.mean()


@pytest.mark.slow
def test_moments_are_within_their_errors(default):
    exact, gibbs = default
    error = np.abs(gibbs.mean - exact.mean)
    assert (error <= 5 * np.sqrt(gibbs.mean_error_var) + 2e-3).all()


FINITE = pr.FiniteSlab([0.5, 1.0, 1.8], [0.5, 0.3, 0.2])
PER_UNIT = pr.FiniteSlab(np.linspace(0.4, 1.6, 12).reshape(6, 2), np.tile([0.7, 0.3], (6, 1)))
PRIORS = {
    "uncapped": pr.SpikeAndSlab(6, 0.4, FINITE),
    "capped": pr.SpikeAndSlab(6, 0.4, FINITE, max_active=2),
    "per unit": pr.SpikeAndSlab(6, np.linspace(0.1, 0.8, 6), PER_UNIT, max_active=4),
    "exactly k": pr.KSparse(6, 2, FINITE),
}


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        slow("capped", "relu"),
        slow("exactly k", "relu"),
        slow("capped", "identity"),
        *by_hand(("uncapped", "relu"), ("per unit", "relu")),
    ],
)
def test_agrees_with_exact(name, activation):
    model = one_layer(PRIORS[name], n_visible=12, noise_std=1.5, activation=activation)
    obs = model.simulate(jax.random.key(3), 3)
    gibbs = pr.gibbs(jax.random.key(4), model, obs, num_warmup=200, num_samples=3000)
    exact = pr.exact(model, obs, num_draws=12_000)
    found = pr.measure_agreement(gibbs, exact)
    assert found.agrees, found.reason
    # Not by the spread of four chains, which is beyond 5 of its own size once in 65 units.
    assert (np.abs(gibbs.mean - exact.mean) <= 5 * az.mcse(gibbs.draws) + 2e-3).all()


@pytest.mark.slow
@pytest.mark.parametrize("n_hidden", [2, *by_hand(4)])
def test_half_normal_slab_agrees_with_quadrature(n_hidden):
    rng = np.random.default_rng(n_hidden)
    weights = rng.normal(0.2, 1, (7, n_hidden))
    scale, prob = 0.8, 0.35
    prior = pr.SpikeAndSlab(n_hidden, prob, HalfNormal(scale))
    model = pr.LayeredModel(prior, [pr.Layer(weights, 0.6, 0.8, 0.4)])
    obs = model.simulate(jax.random.key(5), 3)
    gibbs = pr.gibbs(jax.random.key(6), model, obs, num_samples=8000)
    for index, x in enumerate(np.asarray(obs.x)):
        case = brute_force.Case(weights, 0.6, 0.8, 0.4, prob, None, None, None, x)
        truth = brute_force.half_normal_posterior(case, x, scale)
        error = np.sqrt(gibbs.mean_error_var.sel(obs=index))
        assert (np.abs(gibbs.mean.sel(obs=index) - truth.mean) <= 4 * error + 1e-4).all()
        size = gibbs.tree["diagnostics/ess_active"].sel(obs=index).min().item()
        spread = np.sqrt(truth.inclusion_prob * (1 - truth.inclusion_prob) / size)
        off = np.abs(gibbs.inclusion_prob.sel(obs=index) - truth.inclusion_prob)
        assert (off <= 4 * spread + 2 / size).all()
        np.testing.assert_allclose(gibbs.var.sel(obs=index), truth.var, rtol=0.1, atol=2e-3)


SLABS = [
    Gamma(2.0, 2.5),
    pr.FiniteSlab([0.4, 1.1], [0.4, 0.6]),
    *by_hand(Exponential(1.3), TruncatedNormal(0.6, 0.5, low=0.0)),
]


@pytest.mark.slow
@pytest.mark.parametrize("slab", SLABS, ids=lambda slab: type(slab).__name__)
def test_every_slab_leaves_the_joint_law_alone(slab):
    """Draws of (h, x) from the model, moved by the sampler given x, are still draws of (h, x)."""
    prior = pr.SpikeAndSlab(5, 0.4, slab, max_active=4)
    z_scores = joint_law_z_scores(one_layer(prior, n_visible=9), num_pairs=2000, num_steps=5)
    assert np.abs(z_scores).max() < 4, z_scores


def joint_law_z_scores(model, *, num_pairs: int, num_steps: int) -> np.ndarray:
    """z-scores of functionals and their squares, moved pairs against fresh ones.

    The functionals: h_0, sum of h, number of active units, log p(x | units above x), and the first
    three of every intermediate layer. x is drawn anew between the steps (Geweke's
    successive-conditional simulator), in many independent chains.
    """
    fresh = model.simulate(jax.random.key(7), num_pairs)
    start = model.simulate(jax.random.key(8), num_pairs)
    state = init_layered(jax.random.key(9), model, start.x, 1, 0)
    state = state._replace(
        h=start.h[None], intermediates=tuple(h[None] for h in start.intermediates),
        auxiliary={name: start.sites[name][None] for name in state.auxiliary},
    )  # fmt: skip
    step, generate = jax.jit(layered_step), jax.jit(model.layers[0].generate)
    x = start.x
    for index in range(num_steps):
        state = step(state, model, x)
        x, _ = generate(jax.random.key(100 + index), (*state.intermediates, state.h)[0][0])
    moved = functionals(model, x, *(h[0] for h in (*state.intermediates, state.h)))
    expected = functionals(model, fresh.x, *fresh.intermediates, fresh.h)
    return z_scores_of(moved, expected)


def z_scores_of(moved: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Of the differences of their means, rows independent."""
    gap = moved.mean(0) - expected.mean(0)
    error = np.sqrt((moved.var(0) + expected.var(0)) / len(moved))
    constant = (error == 0) & (gap == 0)  # the number of active units, where it is fixed
    return gap / np.where(constant, 1, error)


def functionals(model, x, *signals) -> np.ndarray:
    columns = [model.layers[0].log_likelihood(signals[0], x)]
    for h in signals:
        columns += [h[:, 0], h.sum(1), (h > 0).sum(1)]
    values = np.stack([np.asarray(column, dtype=float) for column in columns], axis=1)
    return np.concatenate([values, values**2], axis=1)


def two_layers(prior, *, n_visible=12, n_intermediate=4, seed=0):
    """Two small layers, both with a gain that is not 1 and different dropout."""
    rng = np.random.default_rng(seed)
    top = pr.Layer(rng.normal(0.3, 1, (n_intermediate, prior.n_hidden)), 0.7, 0.5, 0.6)
    bottom = pr.Layer(rng.normal(0.2, 1, (n_visible, n_intermediate)), 0.6, 0.4, 0.3)
    return pr.LayeredModel(prior, [bottom, top])


@pytest.mark.parametrize(
    "prior",
    [
        slow(pr.SpikeAndSlab(3, 0.4, HalfNormal(0.9))),
        *by_hand(
            pr.KSparse(3, 2, HalfNormal(0.9)),
            pr.SpikeAndSlab(3, 0.4, pr.FiniteSlab([0.5, 1.3], [0.5, 0.5]), max_active=2),
        ),
    ],
    ids=["half-normal", "exactly k", "finite, capped"],
)
def test_two_layers_leave_the_joint_law_alone(prior):
    z_scores = joint_law_z_scores(two_layers(prior), num_pairs=4000, num_steps=6)
    assert np.abs(z_scores).max() < 4, z_scores


@pytest.mark.slow
def test_moments_of_intermediate_layers_are_those_of_their_draws():
    model = two_layers(pr.SpikeAndSlab(3, 0.4, HalfNormal(0.9)))
    obs = model.simulate(jax.random.key(1), 3)
    posterior = pr.gibbs(
        jax.random.key(2), model, obs, num_warmup=10, num_samples=40, keep_layers=True
    )
    draws, moments = posterior.tree["posterior/h_1"], posterior.tree["intermediates"]
    assert draws.dims == ("chain", "draw", "obs", "hidden_1")
    over = ("chain", "draw")
    np.testing.assert_allclose(moments["h_1_mean"], draws.mean(over), rtol=1e-12)
    np.testing.assert_allclose(moments["h_1_var"], draws.var(over), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(moments["h_1_inclusion_prob"], (draws > 0).mean(over), rtol=1e-12)


@pytest.fixture(params=[None, 1], ids=["layered", "held"])
def either_sweep(request, monkeypatch):
    """Small models as they are, and by the sweeps of large ones."""
    if request.param:
        monkeypatch.setattr(held_sweep, "MIN_WEIGHTS", request.param)


@pytest.mark.slow
@pytest.mark.usefixtures("either_sweep")
def test_numpyro_driver_gives_the_same_draws():
    model = one_layer(PRIORS["capped"], n_visible=10)
    obs = model.simulate(jax.random.key(1), 3)
    ours = pr.gibbs(jax.random.key(2), model, obs, num_warmup=15, num_samples=20, num_chains=1)
    mcmc = MCMC(pr.GibbsKernel(model), num_warmup=15, num_samples=20, progress_bar=False)
    mcmc.run(jax.random.fold_in(jax.random.key(2), 0), obs.x)
    np.testing.assert_array_equal(mcmc.get_samples()[:, 0], ours.draws[0])


class KilledError(Exception):
    """Stands for a kill between two chunks."""


@pytest.mark.slow
@pytest.mark.usefixtures("either_sweep")
def test_an_interrupted_run_resumes_bit_for_bit(tmp_path, monkeypatch):
    # Sizes of the capped case above, which has been compiled.
    model = one_layer(PRIORS["capped"], n_visible=12)
    obs = model.simulate(jax.random.key(1), 3)
    settings: dict[str, Any] = {"num_warmup": 10}
    whole = pr.gibbs(jax.random.key(2), model, obs, num_samples=33, **settings)
    # Seven steps at a time from here on: that makes no difference either.
    monkeypatch.setattr(chain, "CHUNK_STEPS", 7)
    monkeypatch.setattr(chain, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    path = tmp_path / "chain.npz"

    def kill(done, total):
        assert total == 43
        if done >= 24:
            raise KilledError

    resumable = dict(settings, checkpoint=path)
    with pytest.raises(KilledError):
        pr.gibbs(jax.random.key(2), model, obs, num_samples=33, progress=kill, **resumable)
    seen = []
    resumed = pr.gibbs(
        jax.random.key(2), model, obs, num_samples=33, **resumable,
        progress=lambda done, total: seen.append(done),
    )  # fmt: skip
    np.testing.assert_array_equal(resumed.draws, whole.draws)
    assert seen[0] > 17
    longer = pr.gibbs(jax.random.key(2), model, obs, num_samples=50, **resumable)
    np.testing.assert_array_equal(longer.draws[:, :33], whole.draws)
    assert list(tmp_path.iterdir()) == [path]
    # Killed on its way to more draws than it began with, it goes to where it was going.
    most = pr.gibbs(jax.random.key(2), model, obs, num_samples=33, max_samples=120, **settings)
    assert most.status_reason.endswith("; stopped at 120 draws of each chain")
    until = dict(settings, num_samples=33, max_samples=120, until_converged=True)
    np.testing.assert_array_equal(
        pr.gibbs(jax.random.key(2), model, obs, **until).draws, most.draws
    )
    path.unlink()

    def kill_later(done, total):
        if done >= 50:
            raise KilledError

    growing = dict(resumable, num_samples=33, max_samples=120)
    with pytest.raises(KilledError):
        pr.gibbs(jax.random.key(2), model, obs, progress=kill_later, **growing)
    grown = pr.gibbs(jax.random.key(2), model, obs, **growing)
    np.testing.assert_array_equal(grown.draws, most.draws)
    np.testing.assert_array_equal(most.draws[:, :33], whole.draws)
    with pytest.raises(ValueError, match="max_samples must be at least num_samples = 33; got 20"):
        pr.gibbs(jax.random.key(2), model, obs, num_samples=33, max_samples=20)
    with pytest.raises(ValueError, match="belongs to another run"):
        pr.gibbs(jax.random.key(3), model, obs, num_samples=33, **resumable)
    path.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"is not a checkpoint.*: delete it"):
        pr.gibbs(jax.random.key(2), model, obs, num_samples=33, **resumable)


@pytest.mark.slow
def test_silent_x_and_certain_spikes():
    """Nothing seen at all: with keep_prob small most rows say nothing, and no NaN comes out."""
    prior = pr.SpikeAndSlab(3, [0.0, 1.0, 0.5], HalfNormal(1.0))
    model = one_layer(prior, n_visible=2, keep_prob=0.05)
    posterior = pr.gibbs(jax.random.key(0), model, pr.Observations(np.zeros((1, 2))))
    assert np.isfinite(posterior.draws).all()
    np.testing.assert_array_equal(posterior.inclusion_prob[0, :2], [0, 1])
    assert posterior.tree["diagnostics/behaviour"].to_numpy()[0, 0] == "constant"


@pytest.mark.slow
def test_float32():
    with jax.enable_x64(False):
        model = one_layer(pr.SpikeAndSlab(6, 0.3, HalfNormal(1.0), max_active=3))
        obs = model.simulate(jax.random.key(0), 4)
        posterior = pr.gibbs(jax.random.key(1), model, obs, num_warmup=20, num_samples=100)
    assert posterior.draws.dtype == np.float32
    assert np.isfinite(posterior.draws).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_std": 0.0}, "gibbs needs noise_std > 0"),
        ({"keep_prob": 1.0}, None),
    ],
)
def test_noise_is_needed(change, message):
    # Sizes of the capped case above, which has been compiled.
    model = one_layer(PRIORS["capped"], n_visible=12, **change)
    obs = model.simulate(jax.random.key(0), 3)
    settings = {"num_warmup": 10, "num_samples": 50}
    if message is None:
        assert np.isfinite(pr.gibbs(jax.random.key(0), model, obs, **settings).draws).all()
        return
    with pytest.raises(ValueError, match=message):
        pr.gibbs(jax.random.key(0), model, obs, **settings)


def test_what_it_refuses():
    linear = pr.Layer(np.ones((6, 2)), noise_std=1.0, activation="identity")
    below = one_layer(PRIORS["uncapped"]).layers
    deep = pr.LayeredModel(pr.SpikeAndSlab(2, 0.5, HalfNormal(1.0)), [*below, linear])
    with pytest.raises(ValueError, match="identity, so the units below it are no spike and slab"):
        pr.gibbs(jax.random.key(0), deep, pr.Observations(np.zeros((1, 30))))
    model = one_layer(PRIORS["uncapped"])
    with pytest.raises(ValueError, match="x must be what a layer with activation relu"):
        pr.gibbs(jax.random.key(0), model, pr.Observations(-np.ones((1, 30))))
    with pytest.raises(ValueError, match="num_samples must be at least 1"):
        pr.gibbs(jax.random.key(0), model, pr.Observations(np.ones((1, 30))), num_samples=0)
    function = pr.LayeredModel(lambda: jnp.ones(6), model.layers)
    with pytest.raises(ValueError, match="for any other NumPyro function use hmc"):
        pr.gibbs(jax.random.key(0), function, pr.Observations(np.ones((1, 30))))
