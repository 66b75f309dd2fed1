"""NumPyro's kernels on the program, against exact posteriors and quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import HalfCauchy, HalfNormal
from numpyro.infer import NUTS, DiscreteGibbs, DiscreteHMCGibbs

import probrev as pr
from probrev.inference.hmc import check_program, choose_kernel, sampled_program
from tests.inference import brute_force
from tests.marks import by_hand

WEIGHTS = np.random.default_rng(2).normal(0.1, 1, (14, 3))
FINITE = pr.FiniteSlab([0.6, 1.4], [0.6, 0.4])


def model_of(prior) -> pr.LayeredModel:
    return pr.LayeredModel(prior, [pr.Layer(WEIGHTS, 0.7, 1.5, 0.4)])


# Easy on purpose: generic kernels flip one unit at a time and cannot pass between far modes.
EASY = {
    "finite": pr.SpikeAndSlab(3, 0.4, FINITE),
    "finite, capped": pr.SpikeAndSlab(3, 0.4, FINITE, max_active=2),
    "finite, one unit at most": pr.SpikeAndSlab(3, 0.3, FINITE, max_active=1),
    "half-normal": pr.SpikeAndSlab(3, 0.4, HalfNormal(1.0)),
    "half-normal, rare": pr.SpikeAndSlab(3, 0.15, HalfNormal(1.5)),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["finite, capped", "half-normal",
     *by_hand("finite", "finite, one unit at most", "half-normal, rare")],
)  # fmt: skip
def test_agrees_on_easy_cases(name):
    prior = EASY[name]
    model = model_of(prior)
    obs = model.simulate(jax.random.key(4), 2)
    posterior = pr.hmc(jax.random.key(5), model, obs, num_samples=5000)
    assert posterior.status == "ok", posterior.status_reason
    if isinstance(prior.slab, pr.FiniteSlab):
        reference = pr.exact(model, obs).inclusion_prob.to_numpy()
    else:
        scale = float(prior.slab.scale)
        cases = [
            brute_force.Case(WEIGHTS, 0.7, 1.5, 0.4, prior.inclusion_prob, None, None, None, x)
            for x in np.asarray(obs.x)
        ]
        answers = [brute_force.half_normal_posterior(case, case.x, scale) for case in cases]
        reference = np.stack([answer.inclusion_prob for answer in answers])
    size = posterior.tree["diagnostics/ess_active"].min("hidden").to_numpy()[:, None]
    tolerance = 4 * np.sqrt(reference * (1 - reference) / size) + 2 / size
    assert np.all(np.abs(posterior.inclusion_prob - reference) <= tolerance)


def horseshoe():
    """A nonnegative horseshoe: no spike, no slab, just a program that returns h."""
    scale = numpyro.sample("scale", HalfCauchy(0.5))
    with numpyro.plate("hidden", 3):
        local = numpyro.sample("local", HalfCauchy(1.0))
        return scale * local * numpyro.sample("value", HalfNormal(1.0))


@pytest.mark.slow
def test_a_function_is_a_prior():
    model = model_of(horseshoe)
    obs = pr.Observations(np.abs(WEIGHTS.sum(1))[None] * 0.3)
    posterior = pr.hmc(jax.random.key(1), model, obs, num_warmup=300, num_samples=300)
    assert posterior.draws.shape == (4, 300, 1, 3)
    assert (posterior.draws > 0).all()
    assert "diverging" in posterior.tree["sample_stats"]
    assert {name: site.dims[3:] for name, site in posterior.sites.items()} == {
        "scale": (), "local": ("hidden",), "value": ("hidden",)
    }  # fmt: skip
    made = posterior.sites["scale"] * posterior.sites["local"] * posterior.sites["value"]
    np.testing.assert_allclose(posterior.draws, made.transpose(*posterior.draws.dims))


def of_two_kinds():
    kind = numpyro.sample("kind", dist.Categorical(jnp.array([0.3, 0.7])))
    rate = numpyro.deterministic("rate", jnp.where(kind == 0, 0.2, 0.6))
    return numpyro.sample("h", pr.SpikeAndSlab(3, rate, FINITE))


@pytest.mark.slow
def test_what_follows_from_discrete_sites_is_kept():
    """Two exact posteriors, weighed by their evidence, are that of the mixture."""
    model = model_of(of_two_kinds)
    obs = model.simulate(jax.random.key(4), 2)
    posterior = pr.hmc(jax.random.key(5), model, obs, num_samples=5000)
    assert posterior.status == "ok", posterior.status_reason
    kind, rate = posterior.sites["kind"], posterior.sites["rate"]
    np.testing.assert_array_equal(rate, np.where(kind == 0, 0.2, 0.6))
    each = [pr.exact(model_of(pr.SpikeAndSlab(3, p, FINITE)), obs) for p in (0.2, 0.6)]
    evidence = [np.exp(one.tree["exact/log_evidence"].to_numpy()) for one in each]
    second = 0.7 * evidence[1] / (0.3 * evidence[0] + 0.7 * evidence[1])
    size = posterior.tree["site_diagnostics/kind_ess_bulk"].to_numpy()
    error = np.abs(kind.mean(("chain", "draw")) - second)
    assert np.all(error <= 4 * np.sqrt(second * (1 - second) / size) + 2 / size)


@pytest.mark.slow
def test_the_sites_choose_the_kernel():
    def kernel_of(prior):
        return choose_kernel(sampled_program(model_of(prior)), 14, 0.9)

    assert isinstance(kernel_of(EASY["finite, capped"]), DiscreteGibbs)
    assert isinstance(kernel_of(EASY["half-normal"]), DiscreteHMCGibbs)
    assert isinstance(kernel_of(horseshoe), NUTS)


@pytest.mark.slow
def test_two_layers_agree_with_gibbs():
    """Explicit masks and noise under NUTS, summed out and augmented under Gibbs."""
    top = pr.Layer(WEIGHTS[:3, :2], 0.7, 0.8, 0.6)
    model = pr.LayeredModel(
        pr.SpikeAndSlab(2, 0.4, HalfNormal(1.0)), [pr.Layer(WEIGHTS, 0.7, 1.0, 0.4), top]
    )
    obs = model.simulate(jax.random.key(4), 2)
    hmc = pr.hmc(jax.random.key(5), model, obs, num_samples=5000)
    gibbs = pr.gibbs(jax.random.key(6), model, obs, num_samples=5000)
    assert gibbs.status == "ok", gibbs.status_reason
    assert pr.measure_agreement(hmc, gibbs).agrees
    for name in ("h_1_mean", "h_1_var", "h_1_inclusion_prob"):
        ours, theirs = (one.tree["intermediates"][name] for one in (gibbs, hmc))
        np.testing.assert_allclose(theirs, ours, atol=0.03, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("num_obs", "covered"), [(None, [0, 1, 2]), (2, [0, 1])])
def test_every_observation_or_the_first(num_obs, covered):
    model = model_of(EASY["finite"])
    obs = model.simulate(jax.random.key(4), 3)
    asked = {} if num_obs is None else {"num_obs": num_obs}
    posterior = pr.hmc(jax.random.key(5), model, obs, num_warmup=10, num_samples=10, **asked)
    np.testing.assert_array_equal(posterior.obs, covered)
    np.testing.assert_array_equal(posterior.tree["observed_data/x"], obs.x[: len(covered)])


def test_what_kernels_cannot_run_is_refused():
    class Without:
        n_visible = n_hidden = 1

        def program(self, x=None):
            return numpyro.sample("x", HalfNormal(1.0), obs=x)

    silent = pr.LayeredModel(EASY["finite"], [pr.Layer(WEIGHTS, 0.7)])
    for model, match in (
        (silent, "noise_std = 0 gives x no density, so hmc has nothing to sample"),
        (Without(), "hmc needs a program with a site h; its sites are x: name the hidden"),
    ):
        with pytest.raises(ValueError, match=match):
            check_program(model)


def test_a_fixed_number_of_active_units_is_refused():
    model = model_of(pr.KSparse(3, 2, FINITE))
    obs = pr.Observations(jnp.zeros((1, 14)))
    with pytest.raises(ValueError, match="use gibbs, which swaps units"):
        pr.hmc(jax.random.key(0), model, obs)


def test_discrete_sites_that_numpyro_cannot_list_are_refused():
    def program():
        on = numpyro.sample("on", dist.Bernoulli(0.4).expand([2]).to_event(1))
        return numpyro.sample("h", pr.SpikeAndSlab(2, 0.2 + 0.5 * on, dist.HalfNormal(1.0)))

    model = pr.LayeredModel(program, [pr.Layer(np.ones((3, 2)), noise_std=1.0)])
    with pytest.raises(pr.Refusal, match=r"drawn in a numpyro\.plate, not with to_event"):
        pr.hmc(jax.random.key(0), model, pr.Observations(np.ones((1, 3))))
