import jax
import numpy as np
import pytest
from scipy.special import expit

import probrev as pr
from probrev.inverses.estimates import sample_inverses
from probrev.runs import registry
from tests import plain_machine

PARTS = plain_machine.random_machine(0, (6, 4, 3), scale=1.5)
MACHINE = pr.BoltzmannMachine(*PARTS)
OBS = MACHINE.simulate(jax.random.key(0), 400)
DEEPER = plain_machine.random_machine(1, (5, 4, 3, 2), scale=1.5)


def ladder(machine):
    return pr.build_ladder(jax.random.key(1), machine)


def plain_fixed_point(weights, biases, x):
    """Mean field by undamped coordinate updates, one unit at a time: another road to it."""
    layers = [x, *[np.full(len(bias), 0.5) for bias in biases[1:]]]
    for _ in range(5000):
        for level in range(1, len(layers)):
            for i in range(len(layers[level])):
                field = biases[level][i] + layers[level - 1] @ weights[level - 1][:, i]
                if level < len(weights):
                    field += weights[level][i] @ layers[level + 1]
                layers[level][i] = expit(field)
    return np.concatenate(layers[1:])


def test_rungs_of_a_machine():
    restricted = pr.BoltzmannMachine([np.ones((3, 2))], [0.0, 0.0])
    assert pr.list_rungs(restricted) == ("sigmoid", "affine")
    assert pr.list_rungs(MACHINE) == ("sigmoid", "bottom_up", "affine", "mean_field")
    with pytest.raises(ValueError, match="no rung 'calibrated'; it has sigmoid, affine"):
        pr.build_ladder(jax.random.key(0), restricted, ["calibrated"])


@pytest.mark.parametrize("parts", [PARTS, DEEPER], ids=["two", "three"])
def test_passes_up_apply_their_layers(parts):
    weights, biases = parts
    x = np.random.default_rng(2).integers(0, 2, (3, len(biases[0]))).astype(float)
    rungs = pr.build_ladder(
        jax.random.key(1), pr.BoltzmannMachine(*parts), ["sigmoid", "bottom_up"]
    )
    for name, factor in (("sigmoid", 1), ("bottom_up", 2)):
        below, hidden = x, []
        for level, matrix in enumerate(weights, start=1):
            times = factor if level < len(weights) else 1
            below = expit(times * below @ matrix + biases[level])
            hidden.append(below)
        np.testing.assert_allclose(rungs[name](x), np.concatenate(hidden, axis=1), rtol=1e-12)


def test_mean_field_solves_its_equations():
    weights, biases = plain_machine.random_machine(3, (6, 4, 3), scale=0.7)
    machine = pr.BoltzmannMachine(weights, biases)
    found = pr.MeanField(machine)(OBS.x[:3])
    for estimate, x in zip(found, np.asarray(OBS.x), strict=False):
        np.testing.assert_allclose(estimate, plain_fixed_point(weights, biases, x), atol=1e-9)


@pytest.mark.slow
def test_affine_pass_is_not_worse_than_the_plain_ones_and_better_here():
    risks = {
        name: float(((np.asarray(rung(OBS.x)) - OBS.h) ** 2).sum(1).mean())
        for name, rung in ladder(MACHINE).items()
    }
    assert risks["affine"] < min(risks["sigmoid"], risks["bottom_up"])


@pytest.mark.slow
def test_affine_pass_minimises_the_risk_of_its_first_layer():
    # Of a restricted machine the sigmoid pass is the posterior mean: calibration finds it.
    machine = pr.BoltzmannMachine(*plain_machine.random_machine(4, (5, 3)))
    affine = pr.build_ladder(jax.random.key(2), machine, ["affine"])["affine"]
    np.testing.assert_allclose(affine.slopes[0], 1, atol=0.15)
    np.testing.assert_allclose(affine.offsets[0], machine.biases[1], atol=0.2)


@pytest.mark.slow
def test_stochastic_pass_samples_a_restricted_machine_and_no_deep_one():
    for parts, is_sampler in ((plain_machine.random_machine(5, (5, 3)), True), (PARTS, False)):
        machine = pr.BoltzmannMachine(*parts)
        obs = machine.simulate(jax.random.key(0), 4)
        samplers = pr.build_samplers(jax.random.key(1), machine)
        drawn = sample_inverses(0, machine, obs, samplers).sel(sampler="stochastic")
        assert set(np.unique(drawn)) <= {0.0, 1.0}
        exact = pr.exact(machine, obs, num_draws=4)
        gap = np.abs(drawn.mean("sample") - exact.mean)
        bound = 4 * np.sqrt(exact.var / drawn.sizes["sample"]) + 1e-9
        assert bool((gap <= bound).all()) == is_sampler


@pytest.mark.slow
def test_mean_fields_gap_grows_with_coupling():
    build, gaps = registry.load("dbm"), []
    every_x = np.array(plain_machine.all_states(6))
    for top_coupling in (0.5, 1.0, 2.0, 4.0):
        machine = build(6, 5, 4, top_coupling=top_coupling)
        exact = pr.exact(machine, pr.Observations(every_x), num_draws=4)
        mean, field = exact.mean.to_numpy(), np.asarray(pr.MeanField(machine)(every_x))
        prob = np.exp(exact.tree["exact/log_evidence"].to_numpy())
        assert prob.sum() == pytest.approx(1, rel=1e-10)
        # KL(q || p) = log sum exp(-E) - bound: never below 0, whatever the sign of single errors.
        entropy = -(field * np.log(field) + (1 - field) * np.log1p(-field)).sum(1)
        bound = np.asarray(machine.log_joint(field, every_x)) + entropy
        divergence = np.log(prob) + pr.log_partition(machine) - bound
        assert (divergence > -1e-9).all()
        # It is surer of itself than the posterior mean.
        surer = prob @ (np.abs(field - 0.5) - np.abs(mean - 0.5)).sum(1)
        gaps.append((prob @ ((field - mean) ** 2).sum(1), prob @ divergence, surer))
    assert (np.array(gaps) > 0).all()
    assert (np.diff(gaps, axis=0) > 0).all()


def test_a_users_own_model_has_no_rungs():
    class Own:
        """Neither layers nor a machine."""

        n_visible, n_hidden = 2, 1

    assert pr.list_rungs(Own()) == ()
    assert pr.build_ladder(jax.random.key(0), Own()) == {}
    assert pr.build_samplers(jax.random.key(0), Own()) == {}
