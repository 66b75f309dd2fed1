"""Passes of events against the scan over units; sweeps of them against enumerated posteriors."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import Exponential, HalfNormal, TruncatedNormal
from scipy import stats

import probrev as pr
from probrev.inference.gibbs import held_sweep
from probrev.inference.gibbs.auxiliary_step import units_given
from probrev.inference.gibbs.coordinate import Rows, _pass, gaussian
from probrev.inference.gibbs.event_pass import Linear, Place, event_pass
from probrev.inference.gibbs.event_sweep import sweep_events
from probrev.inference.gibbs.held_rows import hold_rows
from probrev.inference.gibbs.held_sweep import held_step, init_held
from probrev.inference.gibbs.surrogate import Surrogate, fit_surrogate
from probrev.model.prior_program import conditional_prior
from probrev.model.slabs import canonical_slab
from probrev.model.tilted import invert_tilted, log_slab_ratio, silent_below
from probrev.numerics.truncated_normal import open_uniform
from probrev.plumbing.one_kernel import one_kernel
from tests.inference.gibbs.test_gibbs import functionals, one_layer, z_scores_of
from tests.marks import by_hand
from tests.plain_unit import ACTIVATIONS

M, N = 12, 9
FINITE = pr.FiniteSlab([0.5, 1.0, 1.8], [0.5, 0.3, 0.2])
PER_UNIT = pr.FiniteSlab(np.linspace(0.4, 1.6, 2 * M).reshape(M, 2), np.tile([0.7, 0.3], (M, 1)))
RATES = np.r_[0.0, 1.0, np.linspace(0.05, 0.9, M - 2)]


def slow(*values, name):
    return pytest.param(*values, marks=pytest.mark.slow, id=name)


@pytest.mark.parametrize(
    "prior",
    [
        pytest.param(pr.SpikeAndSlab(M, RATES, HalfNormal(0.8)), id="half-normal, some certain"),
        slow(pr.SpikeAndSlab(M, 0.3, HalfNormal(0.8), max_active=3), name="capped"),
        slow(pr.SpikeAndSlab(M, 0.3, Exponential(1.5)), name="exponential"),
        slow(pr.SpikeAndSlab(M, 0.3, TruncatedNormal(0.6, 0.5, low=0.0)), name="truncated"),
        slow(pr.SpikeAndSlab(M, 0.3, FINITE), name="finite"),
        slow(pr.SpikeAndSlab(M, 0.3, PER_UNIT, max_active=5), name="finite per unit, capped"),
        slow(pr.KSparse(M, 3, HalfNormal(0.8)), name="exactly three"),
    ],
)
def test_a_pass_of_events_is_the_scan(prior):
    """The same uniforms give the same units, in both orders, over correlated and scaled columns."""
    rng = np.random.default_rng(0)
    weights = jnp.asarray(rng.normal(0.4, 1, (N, M)) * np.geomspace(0.05, 8, M))
    given = units_given(conditional_prior(prior), {})
    precision = rng.exponential(size=N) * (rng.uniform(size=N) < 0.8)
    gram = jnp.asarray(np.asarray(weights).T * precision @ np.asarray(weights))
    information = jnp.diagonal(gram)
    target = jnp.asarray(rng.normal(0, 2, (64, N)))
    h = prior.sample(jax.random.key(1), (64,))
    uniform = open_uniform(jax.random.key(2), (64, M), h.dtype) ** 3  # many near 0

    @jax.jit
    @partial(jax.vmap, in_axes=(0, 0, 0, None))
    def both(uniform, h, target, backwards):
        residual = precision * (target - weights @ h)
        scanned, rows, _ = _pass(
            given, weights.T, information[None], h[None],
            Rows(jnp.asarray(precision)[None], residual[None]), None, uniform[:, None],
            uniform[:, None], backwards=backwards,
        )  # fmt: skip
        wakes_at = silent_below(
            uniform, given.inclusion_logit, given.slab, gaussian(0.0 * information, information)[1]
        )
        linear = Linear(gram[None], jnp.asarray(0), weights.T)
        start = Place(h, residual @ weights)
        return (
            scanned[0],
            rows.residual[0] @ weights,
            event_pass(uniform, wakes_at, given, information, linear, start, backwards),
        )

    for backwards in (False, True):
        scanned, linear, place = both(uniform, h, target, jnp.asarray(backwards))
        assert (scanned != h).any(0).sum() >= 3
        np.testing.assert_array_equal(place.h > 0, scanned > 0)
        np.testing.assert_allclose(place.h, scanned, rtol=1e-7)
        np.testing.assert_allclose(place.linear, linear, rtol=1e-6, atol=1e-7 * np.abs(gram).max())
        moved = jax.vmap(
            lambda h, new: Linear(gram[None], 0, weights.T).z_after(weights @ h, new - h)
        )
        np.testing.assert_allclose(moved(h, scanned), scanned @ weights.T, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_below_the_bound_a_silent_unit_stays_silent(dtype):
    rng = np.random.default_rng(1)
    u = jnp.asarray(rng.uniform(size=20_000) ** 6 + 1e-300, dtype)
    u = jnp.maximum(u, jnp.finfo(dtype).tiny)
    logit = jnp.asarray(rng.normal(-2, 4, u.shape), dtype)
    v = jnp.asarray(rng.exponential(size=u.shape), dtype)
    for slab in (canonical_slab(HalfNormal(0.7)), canonical_slab(Exponential(2.0)), FINITE):
        bound = silent_below(u, logit, slab, v)
        just_below = jnp.where(jnp.isfinite(bound), bound * v, 0.0)
        just_below -= 1e-5 * (1 + jnp.abs(just_below))
        silent = invert_tilted(u, logit, slab, just_below, v, jnp.zeros(u.shape, bool)) == 0
        assert jnp.where(jnp.isfinite(bound), silent, True).all()
        assert jnp.isfinite(bound).mean() > 0.95
        # And it is near: a little above the bound most units would wake.
        above = just_below + 0.7 * jnp.sqrt(v) + 0.1 * jnp.abs(just_below)
        needed = jnp.log(u) - logit
        assert (log_slab_ratio(slab, above, v) >= needed).mean() > 0.7


@pytest.mark.parametrize("slab", [HalfNormal(0.7), Exponential(1.5), FINITE])
@pytest.mark.parametrize("v", [np.inf, 1e12, 1e-12])
@pytest.mark.parametrize("logit", [-np.inf, -1.0, np.inf])
def test_the_bound_where_rows_say_nothing_or_all(slab, v, logit):
    """A column of zeros is one that they say nothing of; r = 0, so that x speaks for silence."""
    u = jnp.asarray(np.r_[1e-300, 1e-12, np.linspace(0.001, 0.999, 200)])
    slab, v, none = canonical_slab(slab), jnp.full_like(u, v), jnp.zeros_like(u)
    wakes = invert_tilted(u, logit, slab, none, v, none > 0) > 0
    bound = silent_below(u, logit, slab, v)
    assert not jnp.isnan(bound).any()
    assert (bound[wakes] <= 0).all()


def test_the_kernel_is_one_call():
    """The mark is not documented: were it ignored, the compiled program would hold no such call."""

    def wait(x):
        return jax.lax.while_loop(lambda x: x < 9, lambda x: x + jnp.sin(x) ** 2 + 0.1, x)

    def is_marked(wait):
        text = jax.jit(lambda x: wait(x) + 1).lower(1.0).compile().as_text()
        calls = [line for line in text[text.index("ENTRY") :].splitlines() if " call(" in line]
        return any('inlineable="false",xla_cpu_small_call="true"' in line for line in calls)

    assert is_marked(one_kernel(wait))
    assert not is_marked(jax.jit(wait))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_visible", "num_values", "n_hidden", "held"),
    [(4000, 2, 3, True), (4096, 2, 3, False), (5, 4, 1000, True), (5, 4, 1200, False)],
)
def test_large_arrays_are_no_part_of_a_kernel(n_visible, num_values, n_hidden, held):
    """XLA ends in an error where one of them has 4096 numbers."""
    slab = pr.FiniteSlab(np.arange(1, 1 + num_values), np.full(num_values, 1 / num_values))
    weights = np.random.default_rng(0).normal(size=(n_visible, n_hidden))
    prior = pr.SpikeAndSlab(n_hidden, 0.1, slab, max_active=3)
    model = pr.LayeredModel(prior, [pr.Layer(weights, 0.6, 0.9)])
    obs = model.simulate(jax.random.key(0), 1)
    holds = held_sweep.holds(model, 1)
    assert holds == (held and weights.size >= held_sweep.MIN_WEIGHTS)
    found = pr.gibbs(jax.random.key(1), model, obs, num_warmup=8, num_samples=20, num_chains=2)
    assert np.isfinite(found.draws).all()


def enumerate_posterior(model, x):
    """States and probabilities of a prior of two-valued units."""
    values = np.asarray(model.prior.slab.values)
    levels = np.r_[0.0, values]
    states = np.stack(np.meshgrid(*[levels] * model.n_hidden, indexing="ij"), -1)
    states = states.reshape(-1, model.n_hidden)
    allowed = model.prior.active_range
    count = (states > 0).sum(1)
    states = states[(count >= allowed[0]) & (count <= allowed[1])]
    log_prob = model.prior.log_prob(jnp.asarray(states)) + model.layers[0].log_likelihood(
        jnp.asarray(states), x[None]
    )
    prob = np.exp(np.asarray(log_prob - log_prob.max()))
    return states, prob / prob.sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    "prior",
    [
        pr.SpikeAndSlab(4, 0.4, pr.FiniteSlab([1.0], [1.0])),
        pr.SpikeAndSlab(4, 0.4, pr.FiniteSlab([0.6, 1.4], [0.5, 0.5]), max_active=2),
        pr.KSparse(4, 2, pr.FiniteSlab([0.6, 1.4], [0.5, 0.5])),
    ],
    ids=["uncapped", "capped", "exactly two"],
)
def test_sweeps_alone_leave_the_posterior_alone(prior):
    """With a poor surrogate acceptance counts, and an order that is not reversible would show."""
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(6, 1)) + 0.3 * rng.normal(size=(6, 4))  # columns are alike
    model = pr.LayeredModel(prior, [pr.Layer(weights, 0.7, 0.8, 0.5, bias=0.2 * np.ones(6))])
    layer, num_cases = model.layers[0], 40_000
    x = jnp.asarray(np.r_[0.0, 0.0, 0.0, 0.3, 0.5, 0.0])
    states, prob = enumerate_posterior(model, x)
    chosen = rng.choice(len(prob), num_cases, p=prob)
    h = jnp.asarray(states[chosen])
    poor = Surrogate(*(jnp.full((1, 6), value) for value in (0.3, -1.5, 0.8)))
    held = hold_rows(layer, poor, x[None])
    given = units_given(conditional_prior(prior), {})

    @jax.jit
    def sweep(key, h):
        return sweep_events(
            key, given, layer, layer.weights.T, held, h, x[None], jnp.asarray(9), size=12
        )

    after, num_taken = sweep(jax.random.key(4), h)
    np.testing.assert_array_equal(after[:, :3], 0)
    after = after[:, -1]
    assert 0.2 < num_taken.mean() / 9 < 0.9
    assert (after != h).any(1).mean() > 0.2
    place = {tuple(state): index for index, state in enumerate(states)}
    found = np.bincount([place[tuple(row)] for row in np.asarray(after)], minlength=len(prob))
    expected = prob * num_cases
    often = expected > 10
    wanted = expected[often] * found[often].sum() / expected[often].sum()
    assert stats.chisquare(found[often], wanted).pvalue > 1e-3


@pytest.mark.slow
def test_warm_up_fits_rows_and_counts_what_fits():
    """Averages over all sweeps of warm-up; rows under a surrogate of all chains; counts anew."""
    rng, num_warmup = np.random.default_rng(5), 24
    layer = pr.Layer(rng.normal(size=(N, M)), 0.6, 0.7, bias=0.1 * rng.normal(size=N))
    model = pr.LayeredModel(pr.SpikeAndSlab(M, 0.3, HalfNormal(0.8)), [layer])
    x = model.simulate(jax.random.key(0), 2).x
    state = init_held(jax.random.key(1), model, x, 3, num_warmup)
    step, mean, square = jax.jit(held_step), state.mean, state.square
    for index in range(num_warmup):
        state = step(state, model, x)
        assert state.num_ahead == 0
        z = layer.pre_activation(state.h.reshape(-1, M))
        mean += 2 / (index + 3) * (z - mean)
        square += 2 / (index + 3) * (z**2 - square)
        if index + 1 in (6, 12):
            assert state.num_tried == 0
    np.testing.assert_allclose(state.mean, mean, rtol=1e-9)
    assert 0 < state.num_tried <= 12
    assert (state.num_taken <= state.num_tried).all()
    mean, square = (a.reshape(3, 2, N).mean(0) for a in (mean, square))
    wanted = hold_rows(layer, fit_surrogate(layer, x, mean, square - mean**2), x)
    for found, expected in zip(jax.tree.leaves(state.held), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    # After it, many at a time, none twice.
    state = state._replace(num_taken=state.num_tried + jnp.zeros_like(state.num_taken))
    seen = []
    for _ in range(300):
        state = step(state, model, x)
        seen.append(np.asarray(state.h))
    assert (np.asarray(seen[1:]) != seen[:-1]).any((1, 3)).mean() > 0.8
    assert state.ahead.shape[1] == 49
    poor = state._replace(num_taken=jnp.zeros_like(state.num_taken), num_ahead=jnp.asarray(0))
    assert step(poor, model, x).num_ahead == 0


@pytest.mark.parametrize(
    "prior",
    [
        slow(pr.SpikeAndSlab(5, 0.4, HalfNormal(0.9), max_active=4), name="half-normal, capped"),
        slow(pr.KSparse(5, 2, pr.FiniteSlab([0.4, 1.1], [0.4, 0.6])), name="exactly two, finite"),
        *by_hand(
            pr.SpikeAndSlab(5, 0.4, Exponential(1.3)),
            pr.SpikeAndSlab(5, 0.4, TruncatedNormal(0.6, 0.5, low=0.0)),
            pr.SpikeAndSlab(5, 0.4, FINITE),
            pr.KSparse(5, 3, HalfNormal(0.9)),
        ),
    ],
)
def test_held_sweeps_leave_the_joint_law_alone(prior):
    """As Geweke 2004: (h, x) from the model, h moved given x and x drawn given h, over and over."""
    model, num_pairs = one_layer(prior, n_visible=9), 4000
    start = model.simulate(jax.random.key(8), num_pairs)
    fresh = model.simulate(jax.random.key(7), num_pairs)

    @jax.jit
    def renew(key, h, x):
        state = init_held(key, model, x, 1, 0)._replace(h=h[None])
        state = jax.lax.fori_loop(0, 20, lambda _, state: held_step(state, model, x), state)
        x, _ = model.layers[0].generate(jax.random.fold_in(key, 1), state.h[0])
        return state.h[0], x

    h, x = start.h, start.x
    for index in range(6):
        h, x = renew(jax.random.key(100 + index), h, x)
    assert (h != start.h).any(1).mean() > 0.5
    moved, expected = functionals(model, x, h), functionals(model, fresh.x, fresh.h)
    z_scores = z_scores_of(moved, expected)
    assert np.abs(z_scores).max() < 4, z_scores


@pytest.mark.parametrize(
    ("name", "prior", "keep_prob"),
    [
        slow("relu", pr.SpikeAndSlab(5, RATES[1:6], FINITE, max_active=4), 1.0, name="relu, kept"),
        slow("clipped", pr.KSparse(5, 2, FINITE), 0.6, name="clipped, exactly two"),
        *by_hand(
            *(
                (name, pr.SpikeAndSlab(5, 0.4, FINITE), 0.6)
                for name in ("relu", "identity", "leaky", "threshold", "tanh", "softplus")
            )
        ),
    ],
)
def test_held_sweeps_agree_with_exact(monkeypatch, name, prior, keep_prob):
    monkeypatch.setattr(held_sweep, "MIN_WEIGHTS", 1)
    rng = np.random.default_rng(2)
    weights, bias = rng.normal(0.2, 1, (12, 5)), 0.3 * rng.normal(size=12)
    layer = pr.Layer(weights, keep_prob, 0.9, 0.5, ACTIVATIONS[name], bias)
    model = pr.LayeredModel(prior, [layer])
    obs = model.simulate(jax.random.key(1), 3)
    gibbs = pr.gibbs(jax.random.key(2), model, obs, num_samples=3000)
    assert gibbs.status == "ok", gibbs.status_reason
    found = pr.measure_agreement(gibbs, pr.exact(model, obs, num_draws=6000))
    assert found.agrees, found.reason
