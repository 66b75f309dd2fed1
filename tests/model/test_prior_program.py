"""Programs that end in a spike and slab: what is read of them, and what is renewed given h."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.infer.util import log_density
from scipy import stats

import probrev as pr
from probrev.model.auxiliary_updates import CLOSED_FORMS, nuts_step
from probrev.model.prior_density import auxiliary_values, log_prior_prob, prior_states
from probrev.model.prior_program import describe_prior, read_program

HALF = dist.HalfNormal(0.8)
H = jnp.array([0.0, 0.4, 0.0, 1.3, 0.2])


def slow(*arguments):
    return pytest.param(*arguments, marks=pytest.mark.slow)


def hierarchical():
    rate = numpyro.sample("rate", dist.Beta(2.0, 5.0))
    scale = numpyro.sample("scale", dist.HalfCauchy(0.3))
    numpyro.deterministic("mean_active", 5 * rate)
    return numpyro.sample("h", pr.SpikeAndSlab(5, rate, dist.HalfNormal(scale)))


def groups():
    with numpyro.plate("group", 2):
        on = numpyro.sample("on", dist.Bernoulli(jnp.array([0.3, 0.6])))
    prob = jnp.where(on[jnp.array([0, 0, 1, 1, 1])] > 0, 0.7, 0.1)
    return numpyro.sample("h", pr.SpikeAndSlab(5, prob, pr.FiniteSlab([0.5, 1.0], [0.6, 0.4])))


def ends_in(**changes):
    settings = {"n_hidden": 5, "inclusion_prob": 0.3, "slab": HALF} | changes
    return numpyro.sample("h", pr.SpikeAndSlab(**settings))


@pytest.mark.slow
def test_a_program_is_taken_apart():
    prior = read_program(hierarchical)
    assert (prior.n_hidden, prior.site, prior.auxiliary) == (5, "h", ("rate", "scale"))
    assert prior.smooth == ("scale",)
    assert [name for name, _ in prior.conjugate] == ["rate"]
    assert prior.num_switches == 0
    given = prior.given({"rate": jnp.array(0.2), "scale": jnp.array(0.7)})
    assert np.allclose(given.log_prob(H), pr.SpikeAndSlab(5, 0.2, dist.HalfNormal(0.7)).log_prob(H))


@pytest.mark.slow
def test_a_program_of_a_model_samples_h_and_keeps_its_own_sites():
    model = pr.LayeredModel(hierarchical, [pr.Layer(np.ones((3, 5)), noise_std=1.0)])
    obs = model.simulate(jax.random.key(0), 4000)
    assert set(obs.sites) == {"rate", "scale", "mean_active"}
    rate = np.asarray(obs.sites["rate"])
    assert stats.kstest(rate, stats.beta(2, 5).cdf).pvalue > 1e-3
    assert np.allclose(obs.sites["mean_active"], 5 * rate)
    assert abs(float((obs.h > 0).mean()) - 2 / 7) < 4 * 0.5 / np.sqrt(4000)


def drawn_given_h(program, h=H, num=4000):
    prior = read_program(program)
    keys = jax.random.split(jax.random.key(1), num)
    u = {name: site["value"] for name, site in trace_of(program).items() if name in prior.auxiliary}
    return jax.jit(jax.vmap(lambda key: prior.renew(key, u, h)))(keys)


def trace_of(program):
    with numpyro.handlers.block():
        return numpyro.handlers.trace(numpyro.handlers.seed(program, 3)).get_trace()


K, SUM, SQUARES = 3, float(H.sum()), float((H**2).sum())


def beta():
    return ends_in(inclusion_prob=numpyro.sample("u", dist.Beta(2.0, 5.0)))


def exponential_rate():
    return ends_in(slab=dist.Exponential(numpyro.sample("u", dist.Gamma(2.0, 1.5))))


def precision():
    u = numpyro.sample("u", dist.Gamma(2.0, 1.5))
    return ends_in(slab=dist.HalfNormal(u**-0.5))


def variance():
    u = numpyro.sample("u", dist.InverseGamma(2.0, 1.5))
    return ends_in(slab=dist.HalfNormal(jnp.sqrt(u)))


@pytest.mark.parametrize(
    ("program", "law"),
    [
        slow(beta, stats.beta(2 + K, 5 + 5 - K)),
        slow(exponential_rate, stats.gamma(2 + K, scale=1 / (1.5 + SUM))),
        slow(precision, stats.gamma(2 + K / 2, scale=1 / (1.5 + SQUARES / 2))),
        slow(variance, stats.invgamma(2 + K / 2, scale=1.5 + SQUARES / 2)),
    ],
)
def test_closed_forms(program, law):
    assert [name for name, _ in read_program(program).conjugate] == ["u"]
    drawn = np.asarray(drawn_given_h(program)["u"])
    assert stats.kstest(drawn, law.cdf).pvalue > 1e-3


def capped():
    return ends_in(inclusion_prob=numpyro.sample("u", dist.Beta(2.0, 5.0)), max_active=3)


def twice_used():
    u = numpyro.sample("u", dist.Beta(2.0, 5.0))
    return ends_in(inclusion_prob=u, slab=dist.HalfNormal(0.5 + u))


def half_used():
    u = numpyro.sample("u", dist.Beta(2.0, 5.0))
    return ends_in(inclusion_prob=jnp.array([u, u, u, u, 0.3]))


def scaled():
    u = numpyro.sample("u", dist.Gamma(2.0, 1.5))
    return ends_in(slab=dist.HalfNormal(u))


@pytest.mark.slow
@pytest.mark.parametrize("program", [capped, slow(twice_used), slow(half_used), slow(scaled)])
def test_what_only_looks_conjugate_is_not_taken_for_it(program):
    assert read_program(program).conjugate == ()
    assert read_program(program).smooth == ("u",)


def test_every_closed_form_is_held_against_the_density():
    assert {form.__name__ for _, form in CLOSED_FORMS} == {
        "beta_inclusion", "gamma_rate", "gamma_precision", "inverse_gamma_variance",
    }  # fmt: skip


@pytest.mark.slow
def test_nuts_leaves_the_law_of_a_scale_alone():
    # From a draw of p(u | h), found on a grid, one step must be one.
    grid = np.exp(np.linspace(-9, 9, 20_001))
    log_density_of = lambda scale: log_density(  # noqa: E731
        hierarchical, (), {}, {"rate": jnp.array(0.3), "scale": scale, "h": H}
    )[0]
    log_weight = np.asarray(jax.vmap(log_density_of)(jnp.asarray(grid))) + np.log(grid)
    cumulative = np.cumsum(np.exp(log_weight - log_weight.max()))
    uniform = np.random.default_rng(0).uniform(size=4000)
    start = grid[np.searchsorted(cumulative / cumulative[-1], uniform)]
    prior = read_program(hierarchical)
    renew = lambda key, scale: prior.renew(key, {"rate": jnp.array(0.3), "scale": scale}, H)  # noqa: E731
    keys = jax.random.split(jax.random.key(2), 4000)
    # The rate is drawn first, and says nothing of the scale.
    moved = np.asarray(jax.jit(jax.vmap(renew))(keys, jnp.asarray(start))["scale"])
    law = np.searchsorted(grid, moved) / len(grid)
    probs = np.interp(law, np.arange(len(grid)) / len(grid), cumulative / cumulative[-1])
    assert stats.kstest(probs, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(np.log(start), np.log(moved))[0, 1]) < 0.6


def test_nuts_step_of_a_normal():
    keys = jax.random.split(jax.random.key(4), 4000)
    start = {"a": jax.random.normal(jax.random.key(5), (4000, 2))}
    step = lambda key, start: nuts_step(key, lambda q: 0.5 * (q["a"] ** 2).sum(), start)  # noqa: E731
    moved = np.asarray(jax.jit(jax.vmap(step))(keys, start)["a"])
    assert stats.kstest(moved[:, 0], "norm").pvalue > 1e-3


def test_values_of_discrete_variables_are_enumerated():
    values = auxiliary_values(groups)
    assert {tuple(map(int, row)) for row in values.u["on"]} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    expected = {(a, b): (0.3 if a else 0.7) * (0.6 if b else 0.4) for a in (0, 1) for b in (0, 1)}
    for row, log_prob in zip(np.asarray(values.u["on"]), values.log_prob, strict=True):
        assert np.isclose(float(np.exp(log_prob)), expected[tuple(map(int, row))])


def test_density_sums_what_units_are_given_out():
    h = np.array([[0.0, 0.5, 0.0, 0.0, 1.0], [1.0, 1.0, 0.5, 0.0, 0.5], np.zeros(5)])
    expected = np.zeros(3)
    for first, second in np.ndindex(2, 2):
        weight = (0.3 if first else 0.7) * (0.6 if second else 0.4)
        prob = np.where(np.array([first, first, second, second, second]), 0.7, 0.1)
        of_slab = np.where(h == 0.5, 0.6, 0.4)
        expected += weight * np.where(h > 0, prob * of_slab, 1 - prob).prod(1)
    assert np.allclose(np.exp(log_prior_prob(groups, jnp.asarray(h))), expected, rtol=1e-12)
    states = prior_states(groups)
    every = states[jnp.arange(states.count)]
    assert np.isclose(float(np.exp(log_prior_prob(groups, every)).sum()), 1.0, rtol=1e-12)


def factor():
    numpyro.factor("more", 0.3)
    return ends_in()


def observed():
    numpyro.sample("seen", dist.Normal(), obs=0.3)
    return ends_in()


def later():
    h = ends_in()
    numpyro.sample("after", dist.Normal(h.sum()))
    return h


def returns_double():
    return 2 * ends_in()


def two_of_them():
    ends_in()
    return numpyro.sample("other", pr.SpikeAndSlab(5, 0.2, HALF))


def without():
    with numpyro.plate("hidden", 5):
        return numpyro.sample("v", HALF)


def counts():
    count = numpyro.sample("count", dist.Poisson(2.0))
    return ends_in(inclusion_prob=1 / (2 + count))


def fixed_count():
    on = numpyro.sample("on", dist.Bernoulli(0.5))
    return numpyro.sample("h", pr.KSparse(5, 2, dist.HalfNormal(1.0 + on)))


def gamma_slab_given():
    shape = numpyro.sample("shape", dist.Gamma(3.0, 1.0))
    return ends_in(slab=dist.Gamma(1.0 + shape, 1.0))


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (factor, "conditions on 'more'"),
        (observed, "conditions on 'seen'"),
        (later, "draws 'after' after 'h'"),
        (returns_double, "returns something else"),
        (two_of_them, "it has 2 of them"),
        (without, "it has none"),
        (counts, "'count' from Poisson, which has no finite list"),
        (fixed_count, "fixes how many units are active given the discrete site 'on'"),
        (gamma_slab_given, "where the slab depends on what the prior draws before it; got Gamma"),
    ],
)
def test_other_programs_are_refused_in_words(program, words):
    model = pr.LayeredModel(program, [pr.Layer(np.ones((3, 5)), noise_std=1.0)])
    obs = pr.Observations(np.ones((2, 3)))
    with pytest.raises(pr.Refusal, match=words):
        pr.gibbs(jax.random.key(0), model, obs)


def test_variables_shared_by_all_observations_are_refused():
    def shared():
        scale = numpyro.sample("scale", dist.HalfCauchy(1.0))
        with numpyro.plate("obs", 7):
            return numpyro.sample("h", pr.SpikeAndSlab(5, 0.3, dist.HalfNormal(scale)))

    with pytest.raises(pr.Refusal, match="law of one observation's h"):
        pr.LayeredModel(shared, [pr.Layer(np.ones((3, 5)), noise_std=1.0)])


def test_a_spike_and_slab_in_a_program_is_refused_by_kernels_that_cannot_draw_it():
    kernel = numpyro.infer.NUTS(hierarchical)
    mcmc = numpyro.infer.MCMC(kernel, num_warmup=1, num_samples=1, progress_bar=False)
    with pytest.raises(pr.Refusal, match="a mass at 0, which kernels that follow gradients"):
        mcmc.run(jax.random.key(0))


def test_a_spike_and_slab_is_a_distribution():
    prior = pr.SpikeAndSlab(4, 0.3, HALF, max_active=2)
    draws = prior.sample(jax.random.key(0), (3, 1000))
    assert draws.shape == (3, 1000, 4)
    assert float((draws > 0).sum(-1).max()) == 2
    assert (prior.batch_shape, prior.event_shape) == ((), (4,))
    density, _ = log_density(lambda: numpyro.sample("h", prior), (), {}, {"h": draws[0, 0]})
    assert np.isclose(float(density), float(prior.log_prob(draws[0, 0])))


def test_a_program_in_words_says_what_it_draws():
    def neighbours():
        """Units come in pairs.

        More of it.
        """
        on = numpyro.sample("on", dist.Bernoulli(0.2))
        return numpyro.sample("h", pr.SpikeAndSlab(3, 0.1 + 0.5 * on, dist.Gamma(2.0, 3.0)))

    said = describe_prior(neighbours, 1000)
    assert said.startswith("neighbours (Units come in pairs.): on ~ Bernoulli")
    assert "h ~ SpikeAndSlab(n_hidden=3, inclusion_prob=float64[], slab=Gamma(concentr" in said
    assert len(describe_prior(neighbours, 40)) <= 40
    plain = pr.SpikeAndSlab(3, 0.1, dist.HalfNormal(1.0))
    assert describe_prior(plain, 1000) == repr(plain)
