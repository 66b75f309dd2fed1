"""Exact posterior, block Gibbs and the partition function of Boltzmann machines."""

import jax
import numpy as np
import pytest

import probrev as pr
from probrev.inference.exact.enumeration.enumeration import enumerate_posterior
from probrev.inference.exact.exact_result import ExactOptions
from tests import plain_machine
from tests.marks import by_hand


@pytest.mark.parametrize(
    "widths",
    [(4, 3, 4), *(pytest.param(w, marks=pytest.mark.slow) for w in ((4, 5), (3, 2, 3, 2)))],
)
def test_exact_agrees_with_brute_force(widths):
    parts = plain_machine.random_machine(len(widths), widths, scale=1.5)
    machine = pr.BoltzmannMachine(*parts)
    obs = machine.simulate(jax.random.key(0), 3)
    found = pr.exact(machine, obs)
    log_z = plain_machine.log_partition(*parts)
    for row, x in enumerate(np.asarray(obs.x)):
        states, prob, log_sum = plain_machine.posterior(*parts, x)
        mean = prob @ states
        np.testing.assert_allclose(found.mean[row], mean, atol=1e-10)
        np.testing.assert_allclose(found.var[row], mean * (1 - mean), atol=1e-10)
        np.testing.assert_allclose(found.inclusion_prob[row], mean, atol=1e-10)
        log_evidence = found.tree["exact/log_evidence"][row]
        assert float(log_evidence) == pytest.approx(log_sum - log_z, abs=1e-10)
        # Draws are of the joint law: their pairs too have the right mean.
        draws = found.draws.isel(obs=row).to_numpy().reshape(-1, len(mean))
        pairs = np.einsum("s,si,sj->ij", prob, states, states)
        bound = 4.5 * np.sqrt(pairs * (1 - pairs) / len(draws)) + 1e-9
        assert (np.abs(draws.T @ draws / len(draws) - pairs) <= bound).all()


@pytest.mark.slow
def test_sigmoid_pass_is_the_enumerated_mean_of_a_restricted_machine():
    machine = pr.BoltzmannMachine(*plain_machine.random_machine(7, (9, 10), scale=2.0))
    obs = machine.simulate(jax.random.key(0), 20)
    enumerated = enumerate_posterior(machine, obs.x, ExactOptions(4, 1, 0, None))
    estimate = pr.build_ladder(jax.random.key(1), machine, ["sigmoid"])["sigmoid"](obs.x)
    np.testing.assert_allclose(estimate, enumerated.mean, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("widths", [(6, 5), (5, 4, 3, 2), *by_hand(((6, 5, 4),))])
def test_block_gibbs_agrees_with_exact(widths):
    machine = pr.BoltzmannMachine(*plain_machine.random_machine(11, widths, scale=1.2))
    obs = machine.simulate(jax.random.key(0), 8)
    drawn = pr.gibbs(jax.random.key(1), machine, obs, num_warmup=200, num_samples=2000)
    assert drawn.status == "ok", drawn.status_reason
    assert pr.measure_agreement(drawn, pr.exact(machine, obs)).agrees


def test_log_partition_agrees_with_brute_force():
    for widths in ((5, 3), (3, 5), (3, 4, 2), (2, 3, 2, 3)):
        parts = plain_machine.random_machine(5, widths, scale=2.0)
        expected = plain_machine.log_partition(*parts)
        assert pr.log_partition(pr.BoltzmannMachine(*parts)) == pytest.approx(expected, rel=1e-12)


def test_annealing_one_temperature_at_a_time_is_unbiased():
    parts = plain_machine.random_machine(6, (4, 3, 3), scale=1.0)
    machine = pr.BoltzmannMachine(*parts)
    exact = plain_machine.log_partition(*parts)
    for steps in (1, 30):
        found = pr.estimate_log_partition(
            jax.random.key(steps), machine, num_chains=4000, num_temperatures=steps
        )
        assert abs(found.value - exact) < 4 * found.std_error
        assert found.std_error < (0.2 if steps == 1 else 0.01)


@pytest.mark.slow
def test_evidence_by_annealing_agrees_with_enumeration():
    machine = pr.BoltzmannMachine(*plain_machine.random_machine(8, (5, 4, 3)))
    obs = machine.simulate(jax.random.key(0), 4)
    found = pr.estimate_log_evidence(jax.random.key(1), machine, obs, num_temperatures=100)
    exact = pr.exact(machine, obs, num_draws=4).tree["exact/log_evidence"].to_numpy()
    assert (np.abs(found.value - exact) < 4 * found.std_error).all()
    assert (found.std_error < 0.02).all()


@pytest.mark.slow
def test_annealing_on_twenty_machines():
    errors = []
    for seed in range(20):
        widths = ((12, 8), (10, 8, 6), (8, 6, 6, 4))[seed % 3]
        machine = pr.BoltzmannMachine(*plain_machine.random_machine(100 + seed, widths))
        found = pr.estimate_log_partition(jax.random.key(seed), machine)
        errors.append(abs(found.value - pr.log_partition(machine)) / found.std_error)
    assert max(errors) < 4
    assert np.sum(np.array(errors) < 2) >= 17


def test_what_is_too_large_or_too_few_is_refused():
    wide = pr.BoltzmannMachine([np.zeros((40, 30))], [0.0, 0.0])
    with pytest.raises(ValueError, match="1,073,741,824 states"):
        pr.exact(wide, pr.Observations(np.zeros((1, 40))))
    with pytest.raises(ValueError, match="1,073,741,824 states"):
        pr.log_partition(wide)
    with pytest.raises(ValueError, match="num_chains must be at least 2"):
        pr.estimate_log_partition(jax.random.key(0), wide, num_chains=1)


def test_methods_that_serve_a_machine():
    machine = pr.BoltzmannMachine([np.zeros((40, 12)), np.zeros((12, 30))], [0.0, 0.0, 0.0])
    assert list(pr.choose_methods(machine)) == ["exact", "gibbs"]
    with pytest.raises(ValueError, match="message_passing needs a LayeredModel"):
        pr.message_passing(machine, pr.Observations(np.zeros((1, 40))))
