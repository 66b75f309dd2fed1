"""Subclasses of a spike-and-slab prior: refused unless whole, and taken only for what they say."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

import probrev as pr
from probrev.inference.choice import choose_methods
from probrev.inference.gibbs.gibbs import GibbsKernel
from probrev.inverses.ladder.layered import build_rung
from probrev.model.priors import is_spike_and_slab, sample_prior, undeclared_members
from probrev.plumbing.pytree import pytree
from probrev.theory.curve import noise_curve

SLAB = pr.FiniteSlab([1.0], [1.0])
LAYER = pr.Layer(np.random.default_rng(0).normal(size=(12, 4)), 0.5, 1.5)
STATES = np.array([[i >> unit & 1 for unit in range(4)] for i in range(16)], float)
PAIRS = 3.0 * (STATES[:, ::2] == STATES[:, 1::2]).sum(1)

spike_and_slab = pytree(
    data=("inclusion_prob", "slab", "tilting_slab"), meta=("n_hidden", "max_active")
)
k_sparse = pytree(data=("slab", "tilting_slab"), meta=("n_hidden", "n_active"))


@spike_and_slab
@dataclass(frozen=True)
class OwnDensity(pr.SpikeAndSlab):
    """Units 2i and 2i + 1 switch together: weight e^3 for each pair that agrees."""

    def log_prob(self, h):
        on = h > 0
        return super().log_prob(h) + 3.0 * (on[..., ::2] == on[..., 1::2]).sum(-1)


@spike_and_slab
@dataclass(frozen=True)
class Pairs(OwnDensity):
    """The same, with the program that draws it: one of all 16 states."""

    def __call__(self):
        states = jnp.asarray(STATES)
        state = numpyro.sample("state", dist.Categorical(logits=self.log_prob(states)))
        return states[state]


@spike_and_slab
@dataclass(frozen=True)
class OwnProgram(pr.SpikeAndSlab):
    """Draws units in pairs, and says nothing of it."""

    def __call__(self):
        return jnp.repeat(super().__call__()[:2], 2)


@spike_and_slab
@dataclass(frozen=True)
class OwnStates(pr.SpikeAndSlab):
    """Lists some of its states only."""

    def states(self):
        return jnp.asarray(STATES[:5])


@k_sparse
@dataclass(frozen=True)
class OwnNormaliser(pr.KSparse):
    """Sums another normaliser."""

    @property
    def log_support_normaliser(self):
        return jnp.asarray(0.0)


@spike_and_slab
@dataclass(frozen=True)
class OwnMarginal(pr.SpikeAndSlab):
    """Says another probability of each unit than its law has."""

    @property
    def marginal_inclusion_prob(self):
        return jnp.full(self.n_hidden, 0.5)


@spike_and_slab
@dataclass(frozen=True)
class Graded(pr.SpikeAndSlab):
    """Units of falling probability, given by their log odds: all else follows."""

    @property
    def inclusion_logit(self):
        return -jnp.arange(1.0, self.n_hidden + 1)


def pairs(slab=SLAB, noise_std=1.5):
    layer = pr.Layer(LAYER.weights, 0.5, noise_std)
    return pr.LayeredModel(Pairs(4, 0.3, slab), [layer])


@pytest.mark.parametrize(
    ("prior", "match"),
    [
        (OwnDensity(4, 0.3, SLAB), "OwnDensity overrides log_prob .* but not __call__"),
        (OwnDensity(4, 0.3, dist.HalfNormal(1.0)), "the two are one law, so override both"),
        (OwnProgram(4, 0.3, SLAB), "OwnProgram overrides __call__ .* but not log_prob"),
        (OwnStates(4, 0.3, SLAB), "OwnStates overrides states .* but not __call__"),
        (OwnNormaliser(4, 2, SLAB), "OwnNormaliser overrides log_support_normaliser"),
    ],
)
def test_half_a_law_is_refused(prior, match):
    with pytest.raises(ValueError, match=match):
        pr.LayeredModel(prior, [LAYER])


def test_a_method_put_on_one_prior_is_an_override_too():
    prior = pr.SpikeAndSlab(4, 0.3, SLAB)
    object.__setattr__(prior, "log_prob", lambda h: jnp.zeros(h.shape[:-1]))
    with pytest.raises(ValueError, match="SpikeAndSlab overrides log_prob"):
        pr.LayeredModel(prior, [LAYER])


def sixteen_states(model, obs):
    """The prior's probability of each state by hand, and P(h_i > 0 | x)."""
    prior = np.exp(PAIRS) * np.prod(np.where(STATES > 0, 0.3, 0.7), axis=1)
    prior /= prior.sum()
    likelihood = np.asarray(model.log_likelihood(jnp.asarray(STATES)[:, None], obs.x[None]))
    weights = prior[:, None] * np.exp(likelihood)
    return prior, (weights / weights.sum(0)).T @ STATES


@pytest.mark.slow
def test_a_whole_law_is_drawn_and_enumerated_rightly():
    """Against sixteen states, with units that depend on each other."""
    model = pairs()
    obs = model.simulate(jax.random.key(3), 3)
    prior, expected = sixteen_states(model, obs)
    drawn = np.asarray(sample_prior(jax.random.key(2), model.prior, 4000))
    np.testing.assert_allclose((drawn > 0).mean(0), prior @ STATES, atol=0.04)
    exact = pr.exact(model, obs, num_draws=4)
    np.testing.assert_allclose(exact.inclusion_prob, expected, rtol=1e-9)


@pytest.mark.slow
def test_a_whole_law_is_sampled_rightly():
    model = pairs()
    obs = model.simulate(jax.random.key(3), 1)
    hmc = pr.hmc(jax.random.key(4), model, obs, num_warmup=200, num_samples=2000)
    np.testing.assert_allclose(hmc.inclusion_prob, sixteen_states(model, obs)[1], atol=0.05)


def test_what_asks_for_spike_and_slab_refuses_a_law_of_its_own():
    model, obs = pairs(), pairs().simulate(jax.random.key(3), 2)
    key, why = jax.random.key(0), "and Pairs overrides log_prob, __call__: use hmc, or exact"
    for call in (
        lambda: pr.gibbs(key, model, obs),
        lambda: GibbsKernel(model),
        lambda: pr.message_passing(model, obs),
        lambda: pr.estimate_log_evidence(key, model, obs),
        lambda: pr.evolve_state(model.prior, model.layers),
        lambda: build_rung(key, model, "scalar"),
        lambda: build_rung(key, model, "first_step"),
        lambda: build_rung(key, model, "two_steps"),
    ):
        with pytest.raises(ValueError, match=why):
            call()
    assert pr.list_rungs(model) == ("theory", "universal", "calibrated", "trained")
    assert noise_curve(key, model) is None
    assert list(choose_methods(model)) == ["exact"]


def test_over_a_continuous_slab_only_hmc_is_left():
    for noise_std in (1.5, 0.0):
        model = pairs(dist.HalfNormal(1.0), noise_std)
        with pytest.raises(
            ValueError, match=r"exact, over a continuous slab, needs units .* Pairs"
        ):
            pr.exact(model, pr.Observations(np.ones((1, 12))))
    assert choose_methods(pairs(dist.HalfNormal(1.0))) == {
        "hmc": "only NumPyro's own kernels, which run the program, sample it"
    }


def test_marginals_are_part_of_what_is_declared():
    model = pr.LayeredModel(OwnMarginal(4, 0.3, SLAB), [LAYER])
    assert undeclared_members(model.prior) == ("marginal_inclusion_prob",)
    with pytest.raises(ValueError, match="OwnMarginal overrides marginal_inclusion_prob"):
        pr.message_passing(model, model.simulate(jax.random.key(0), 1))


@pytest.mark.slow
def test_log_odds_and_bound_may_be_given():
    model = pr.LayeredModel(Graded(4, 0.3, SLAB), [LAYER])
    assert is_spike_and_slab(model.prior)
    obs = model.simulate(jax.random.key(3), 2)
    same = pr.SpikeAndSlab(4, jax.nn.sigmoid(-jnp.arange(1.0, 5.0)), SLAB)
    expected = pr.exact(pr.LayeredModel(same, [LAYER]), obs, num_draws=4)
    np.testing.assert_allclose(pr.exact(model, obs).inclusion_prob, expected.inclusion_prob)
    gibbs = pr.gibbs(jax.random.key(1), model, obs)
    np.testing.assert_allclose(gibbs.inclusion_prob, expected.inclusion_prob, atol=0.05)


def test_a_function_has_nothing_to_declare():
    assert not is_spike_and_slab(lambda: jnp.ones(4))
    assert undeclared_members(lambda: jnp.ones(4)) == ()
