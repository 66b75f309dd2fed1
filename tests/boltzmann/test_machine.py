import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro.infer.util import log_density

import probrev as pr
from probrev.boltzmann import binary_draws
from probrev.boltzmann.binary_layers import EVEN, ODD
from tests import plain_machine

PARTS = plain_machine.random_machine(0, (4, 3, 2, 3))
MACHINE = pr.BoltzmannMachine(*PARTS)
RNG = np.random.default_rng(1)
X, H = RNG.integers(0, 2, (5, 4)).astype(float), RNG.integers(0, 2, (5, 8)).astype(float)


def test_log_joint_is_minus_the_written_energy():
    layers = [(x, *plain_machine.split(h, (3, 2, 3))) for x, h in zip(X, H, strict=True)]
    expected = [plain_machine.minus_energy(*PARTS, each) for each in layers]
    np.testing.assert_allclose(MACHINE.log_joint(H, X), expected, rtol=1e-12)
    table = MACHINE.log_joint_table(H, X)
    np.testing.assert_allclose(table, MACHINE.log_joint(H[:, None], X[None]), rtol=1e-12)


def test_likelihood_is_the_joint_normalised_over_x():
    every_x = np.array(plain_machine.all_states(4))
    for h in H:
        logs = np.asarray(MACHINE.log_joint(h[None], every_x))
        prob = np.exp(logs - logs.max())
        prob /= prob.sum()
        np.testing.assert_allclose(
            MACHINE.log_likelihood(h[None], every_x), np.log(prob), rtol=1e-10
        )
        np.testing.assert_allclose(MACHINE.visible_mean(h), prob @ every_x, rtol=1e-10)


@pytest.mark.parametrize("parity", [EVEN, ODD])
def test_marginal_sums_the_other_parity(parity):
    units = np.array(plain_machine.all_states(6))[[3, 17, 44, 60]]
    found = MACHINE.log_marginal(units, parity)
    levels = {EVEN: (0, 2), ODD: (1, 3)}
    widths = {side: [MACHINE.widths[level] for level in levels[side]] for side in levels}
    others = 1 - parity
    for row, value in zip(units, found, strict=True):
        layers = dict(zip(levels[parity], plain_machine.split(row, widths[parity]), strict=True))
        logs = []
        for rest in plain_machine.all_states(6):
            parts = plain_machine.split(rest, widths[others])
            layers |= dict(zip(levels[others], parts, strict=True))
            logs.append(plain_machine.minus_energy(*PARTS, [layers[i] for i in range(4)]))
        assert value == pytest.approx(np.log(np.exp(logs).sum()), rel=1e-12)


def test_program_has_the_machines_density():
    for h, x in zip(H, X, strict=True):
        found, _ = log_density(MACHINE.program, (jnp.asarray(x),), {}, {"h": jnp.asarray(h)})
        assert found == pytest.approx(float(MACHINE.log_joint(h, x)), rel=1e-10)


@pytest.mark.slow
def test_numpyros_own_kernel_samples_the_program():
    parts = plain_machine.random_machine(3, (3, 2, 2))
    machine = pr.BoltzmannMachine(*parts)
    obs = pr.Observations(np.array([[1.0, 0, 1]]))
    found = pr.hmc(jax.random.key(0), machine, obs, num_warmup=100, num_samples=1000)
    states, prob, _ = plain_machine.posterior(*parts, np.asarray(obs.x[0]))
    np.testing.assert_allclose(found.mean[0], prob @ states, atol=0.06)


@pytest.mark.slow
def test_exact_draws_have_the_machines_law():
    parts = plain_machine.random_machine(2, (3, 3, 2))
    obs = pr.BoltzmannMachine(*parts).simulate(jax.random.key(0), 20_000)
    drawn = np.concatenate([obs.x, obs.h], axis=1)
    log_z = plain_machine.log_partition(*parts)
    prob, states = [], []
    for x in plain_machine.all_states(3):
        h, given, log_sum = plain_machine.posterior(*parts, x)
        prob.append(given * np.exp(log_sum - log_z))
        states += [np.concatenate([x, each]) for each in h]
    prob, states = np.concatenate(prob), np.array(states)
    bits = 2 ** np.arange(8)
    count = np.bincount((drawn @ bits).astype(int), minlength=256)[(states @ bits).astype(int)]
    expected = prob * len(drawn)
    busy = expected > 5
    chi_square = ((count - expected) ** 2 / expected)[busy].sum()
    assert chi_square < busy.sum() + 4 * np.sqrt(2 * busy.sum())


@pytest.mark.slow
def test_gibbs_draws_have_the_exact_ones_moments(monkeypatch):
    parts = plain_machine.random_machine(4, (4, 3, 2))
    machine = pr.BoltzmannMachine(*parts)
    exact = machine.simulate(jax.random.key(0), 4000)
    monkeypatch.setattr(binary_draws, "MAX_STATES", 0)
    drawn = machine.simulate(jax.random.key(1), 4000)
    for found, known in ((drawn.x, exact.x), (drawn.h, exact.h)):
        assert found.shape == known.shape
        np.testing.assert_allclose(found.mean(0), known.mean(0), atol=4 * np.sqrt(0.5 / 4000))


def test_gibbs_draws_that_have_not_converged_are_said_so(monkeypatch):
    # Two modes, all on and all off, that no block can leave.
    weights = np.full((6, 6), 12.0)
    machine = pr.BoltzmannMachine([weights], [-36.0, -36.0])
    monkeypatch.setattr(binary_draws, "MAX_STATES", 0)
    with pytest.warns(UserWarning, match="block Gibbs is stuck after 2,000 sweeps"):
        machine.simulate(jax.random.key(0), 20)


def test_a_machine_is_a_pytree():
    with numpyro.handlers.seed(rng_seed=0):
        assert jax.jit(lambda m: m.program())(MACHINE).shape == (4,)
    assert MACHINE.states().count == 2**8
    assert (MACHINE.n_visible, MACHINE.n_hidden, MACHINE.num_weights) == (4, 8, 24)


@pytest.mark.parametrize(
    ("weights", "biases", "match"),
    [
        ([], [0.0], "at least one matrix"),
        ([np.ones(3)], [0, 0], r"weights\[0\] must be a matrix"),
        ([np.ones((3, 2)), np.ones((3, 2))], [0, 0, 0], r"weights\[1\] has 3 rows"),
        ([np.ones((3, 2))], [0.0], "2 layers, so biases"),
        ([np.ones((3, 2))], [np.zeros(2), 0], r"biases\[0\] must be one number or have shape \(3"),
        ([np.full((3, 2), np.nan)], [0, 0], r"weights\[0\] must be finite"),
        ([np.ones((3, 2))], [0, np.inf], r"biases\[1\] must be finite"),
        ([np.full((3, 2), 1e308)], [0, 0], "overflows float64"),
    ],
)
def test_bad_parts_are_refused(weights, biases, match):
    with pytest.raises(ValueError, match=match):
        pr.BoltzmannMachine(weights, biases)


def test_units_must_be_binary():
    with pytest.raises(ValueError, match=r"x must be binary, 0 or 1; got 0\.3 in observation 1"):
        MACHINE.check(pr.Observations(np.array([[0, 1, 0, 1], [0, 0.3, 0, 1]])))
    with pytest.raises(ValueError, match="x has 3 columns"):
        MACHINE.check(pr.Observations(np.ones((2, 3))))
