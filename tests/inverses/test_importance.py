"""A random inverse with a density, weighed into a posterior: against exact ones, and convicted."""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax import Array
from scipy.special import logsumexp

import probrev as pr
from tests import small_case
from tests.small_case import MODEL, NUM_OBS

KEY = jax.random.key(0)
WEIGHTS = np.random.default_rng(4).normal(size=(9, 2))
SMOOTH = pr.LayeredModel(
    pr.SpikeAndSlab(2, 0.5, dist.HalfNormal(1.2)), [pr.Layer(WEIGHTS, 0.8, 1.3, 0.5)]
)


class Independent(NamedTuple):
    """Units that are 0, or drawn from a slab, each by itself: a mass at 0, a density above."""

    active_prob: Array
    slab: dist.Distribution

    def __call__(self, x, key):
        keys = jax.random.split(key)
        active = jax.random.bernoulli(keys[0], self.active_prob)
        return jnp.where(active, self.slab.sample(keys[1], active.shape), 0.0)

    def log_prob(self, h, x):
        on = jnp.log(self.active_prob) + self.slab.log_prob(jnp.where(h > 0, h, 0.6))
        return jnp.where(h > 0, on, jnp.log1p(-self.active_prob)).sum(-1)


def of_marginals(posterior, slab, least=0.03):
    return Independent(
        jnp.asarray(posterior.inclusion_prob.to_numpy()).clip(least, 1 - least), slab
    )


@pytest.mark.slow
def test_agrees_with_every_state_counted():
    exact = small_case.exact()
    proposal = of_marginals(exact, MODEL.prior.slab)
    found = pr.importance_posterior(KEY, MODEL, small_case.observe(), proposal, num_samples=8000)
    assert found.status == "ok", found.status_reason
    assert found.status_reason.startswith("8000 weighed samples, largest Pareto k-hat ")
    group = found.tree["importance"].to_dataset()
    assert (group["pareto_k"] < 0.7).all()
    assert group["pareto_k"].dims == ("obs",)
    error = (group["log_evidence"] - exact.tree["exact/log_evidence"]) / group["log_evidence_error"]
    assert np.abs(error).max() < 4
    assert found.sampling == "iid"
    prob = exact.inclusion_prob.to_numpy()
    bound = 4 * np.sqrt(prob * (1 - prob) / (4 * found.draws.shape[1])) + 0.005
    assert np.all(np.abs(found.inclusion_prob - prob) < bound)
    # A quarter of the smallest ESS: as good as independent.
    assert found.draws.shape[1] * 4 == pytest.approx(float(group["ess"].min()) / 4, abs=4)


@pytest.mark.slow
def test_a_mass_at_zero_and_a_density_above_it_agree_with_integrals():
    obs = SMOOTH.simulate(KEY, 3)
    exact = pr.exact(SMOOTH, obs, num_draws=4000)
    proposal = Independent(jnp.full((3, 2), 0.6), dist.HalfNormal(1.0))
    found = pr.importance_posterior(KEY, SMOOTH, obs, proposal)
    assert found.status == "ok", found.status_reason
    assert pr.measure_agreement(found, exact).agrees
    group = found.tree["importance"].to_dataset()
    error = (group["log_evidence"] - exact.tree["exact/log_evidence"]) / group["log_evidence_error"]
    assert np.abs(error).max() < 4


@pytest.mark.slow
def test_the_exact_posterior_as_proposal_has_no_tail():
    """A restricted machine's own pass is exact: all weights are one, and the evidence is known."""
    rng = np.random.default_rng(1)
    machine = pr.BoltzmannMachine([rng.normal(size=(5, 3))], [0.2, -0.3])
    obs = machine.simulate(KEY, 4)
    passes = pr.build_samplers(KEY, machine)
    (proposal,) = passes.values()
    found = pr.importance_posterior(KEY, machine, obs, proposal, num_samples=2000)
    assert found.status == "ok", found.status_reason
    group = found.tree["importance"].to_dataset()
    np.testing.assert_allclose(group["ess"], 2000)
    states = np.array(list(itertools.product((0.0, 1.0), repeat=3)))
    joint = machine.log_joint(states[:, None], np.asarray(obs.x)[None])
    np.testing.assert_allclose(group["log_evidence"], logsumexp(joint, axis=0), rtol=1e-12)


def test_a_passes_density_is_that_of_its_draws():
    rng = np.random.default_rng(1)
    machine = pr.BoltzmannMachine(
        [rng.normal(size=(4, 2)), rng.normal(size=(2, 2))], [0.1, 0.4, -1]
    )
    x = jnp.array([[0.0, 1.0, 1.0, 0.0]])
    proposal = pr.StochasticPass(machine)
    states = np.array(list(itertools.product((0.0, 1.0), repeat=4)))
    prob = np.exp([float(proposal.log_prob(one[None], x)[0]) for one in states])
    assert prob.sum() == pytest.approx(1)
    drawn = jax.vmap(lambda key: proposal(x, key)[0])(jax.random.split(KEY, 4000))
    share = (np.asarray(drawn)[:, None] == states[None]).all(-1).mean(0)
    assert np.all(np.abs(share - prob) < 4.5 * np.sqrt(prob * (1 - prob) / 4000) + 1e-3)


@pytest.mark.slow
def test_a_proposal_that_is_too_narrow_is_convicted():
    obs = SMOOTH.simulate(KEY, 3)
    narrow = Independent(jnp.full((3, 2), 0.5), dist.HalfNormal(0.12))
    found = pr.importance_posterior(KEY, SMOOTH, obs, narrow, num_samples=4000)
    assert found.status == "unreliable"
    assert "the inverse is too far from the posterior to be weighed into it" in found.status_reason
    assert (found.tree["importance/pareto_k"] > 0.7).any()


@pytest.mark.slow
def test_agrees_as_a_joint_law():
    proposal = of_marginals(small_case.exact(), MODEL.prior.slab)
    found = pr.importance_posterior(KEY, MODEL, small_case.observe(), proposal, num_samples=8000)
    assert pr.measure_agreement(found, small_case.exact()).agrees


@pytest.mark.slow
def test_units_that_are_never_0_have_no_weight_under_a_mass_at_0():
    """exp(-h) on h > 0 against a posterior of which much is at 0: evidence of the rest alone."""
    obs = SMOOTH.simulate(KEY, 1)
    never = Independent(jnp.ones((1, 2)), dist.HalfNormal(1.0))
    found = pr.importance_posterior(KEY, SMOOTH, obs, never, num_samples=4000)
    exact = pr.exact(SMOOTH, obs)
    both_active = np.log((exact.draws > 0).all("hidden").mean(("chain", "draw")))
    gap = found.tree["importance/log_evidence"] - exact.tree["exact/log_evidence"]
    np.testing.assert_allclose(gap, both_active, atol=0.2)


def test_few_good_samples_are_unchecked():
    machine = pr.BoltzmannMachine([np.ones((5, 3))], [0.2, -0.3])
    obs = pr.Observations(np.ones((4, 5)))
    found = pr.importance_posterior(KEY, machine, obs, pr.StochasticPass(machine), num_samples=400)
    assert found.status == "unchecked"
    assert "draws, wanted at least 400" in found.status_reason


@pytest.mark.slow
def test_an_inverse_in_numpy_serves_too():
    class Plain:
        def __call__(self, x, key):
            rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
            return rng.choice([0.0, 0.6, 1.7], (NUM_OBS, 4), p=[0.7, 0.12, 0.18])

        def log_prob(self, h, x):
            prob = np.where(np.asarray(h) == 0, 0.7, np.where(np.asarray(h) == 0.6, 0.12, 0.18))
            return np.log(prob).sum(-1)

    found = pr.importance_posterior(KEY, MODEL, small_case.observe(), Plain(), num_samples=50)
    assert found.tree["importance/pareto_k"].shape == (NUM_OBS,)


@pytest.mark.parametrize(
    ("log_prob", "match"),
    [
        (None, "needs an inverse with a method log_prob"),
        (lambda h, x: jnp.zeros(()), r"log_prob of the inverse must return shape \(6,\)"),
        (lambda h, x: jnp.full(len(h), jnp.nan), "log_prob of the inverse returned NaN"),
        (lambda h, x: jnp.full(len(h), -jnp.inf), "must be finite at its own samples"),
    ],
)
def test_densities_that_are_none_are_refused(log_prob, match):
    def draw(x, key):
        return jnp.zeros((len(x), 4))

    if log_prob is not None:
        draw.log_prob = log_prob
    with pytest.raises(ValueError, match=match):
        pr.importance_posterior(KEY, MODEL, small_case.observe(), draw, num_samples=20)


def test_a_prior_without_a_density_is_refused():
    def prior():
        return jnp.ones(4)

    model = pr.LayeredModel(prior, MODEL.layers)
    with pytest.raises(ValueError, match="its density at a given h is unknown"):
        pr.importance_posterior(
            KEY, model, small_case.observe(), Independent(jnp.ones((6, 4)), MODEL.prior.slab)
        )
