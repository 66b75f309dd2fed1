"""Training of Boltzmann machines against plain sums over all states."""

import jax
import numpy as np
import pytest

import probrev as pr
from probrev.boltzmann.binary_layers import BinaryLayers
from probrev.boltzmann.trained_machine import statistics
from probrev.runs import registry
from tests import plain_machine

WIDTHS = (4, 3, 2)


def log_z(parts):
    return plain_machine.log_partition(*parts)


def numeric_derivative(weights, biases, matrix, index):
    """Of log Z with respect to one entry of the weights, or of the biases after them."""
    values = []
    for step in (1e-5, -1e-5):
        moved = [part.copy() for part in (*weights, *biases)]
        moved[matrix][index] += step
        values.append(log_z((moved[: len(weights)], moved[len(weights) :])))
    return (values[0] - values[1]) / 2e-5


def test_statistics_are_the_derivatives_of_log_z():
    weights, biases = plain_machine.random_machine(0, WIDTHS)
    machine = BinaryLayers(tuple(weights), tuple(biases))
    # Every even layer's state, as often as the machine's law has it: rows of unequal weight, as
    # copies of rows cannot be, so the mean is taken row by row.
    states, prob = [], []
    for x in plain_machine.all_states(WIDTHS[0]):
        h, given, log_sum = plain_machine.posterior(weights, biases, x)
        states += [np.concatenate([x, one]) for one in h]
        prob += list(given * np.exp(log_sum - log_z((weights, biases))))
    expected = None
    for state, weight in zip(states, prob, strict=True):
        x, *hidden = np.split(state[None], np.cumsum(WIDTHS)[:-1], axis=1)
        layers = dict(enumerate((x, np.full_like(hidden[0], np.nan), *hidden[1:])))
        parts = jax.tree.map(lambda leaf, w=weight: w * leaf, statistics(machine, layers))
        expected = parts if expected is None else jax.tree.map(np.add, expected, parts)
    for matrix, index in ((0, (1, 2)), (0, (3, 0)), (1, (2, 1)), (2, (1,)), (3, (2,)), (4, (0,))):
        found = (*expected.weights, *expected.biases)[matrix][index]
        assert found == pytest.approx(numeric_derivative(weights, biases, matrix, index), abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("widths", [(2,), (3, 2)], ids=["restricted", "deep"])
def test_it_comes_as_close_to_its_data_as_the_machine_that_made_them(widths):
    """In mean log p(x), where independent units are at 0 and the maker is at 1."""
    build = registry.load("dbm" if len(widths) > 1 else "rbm")
    maker = build(6, *widths, coupling=3.0)
    x = np.asarray(maker.simulate(jax.random.key(0), 1500).x)
    calls = []
    trained = pr.train_machine(
        jax.random.key(1), x, widths, num_steps=400, learning_rate=0.1,
        progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert calls[-1] == (400, 400)
    often = np.clip(x.mean(0), 1e-3, 1 - 1e-3)
    independent = (x * np.log(often) + (1 - x) * np.log1p(-often)).sum(1).mean()
    found, known = (mean_log_evidence(machine, x) for machine in (trained, maker))
    assert known - independent > 0.2
    assert (found - independent) / (known - independent) > 0.95


def mean_log_evidence(machine, x):
    states, counts = np.unique(x, axis=0, return_counts=True)
    exact = pr.exact(machine, pr.Observations(states), num_draws=4)
    return exact.tree["exact/log_evidence"].to_numpy() @ counts / counts.sum()


def test_bad_input_is_refused():
    key, x = jax.random.key(0), np.array([[0.0, 1, 1], [1, 0, 0]])
    with pytest.raises(ValueError, match=r"x must be binary, 0 or 1; got 0\.4 in observation 1"):
        pr.train_machine(key, [[0.0, 1], [0.4, 1]], (2,))
    with pytest.raises(ValueError, match="x must be binary, 0 or 1; got 16 in"):
        pr.train_machine(key, [[0.0, 16], [3, 1]], (2,))
    with pytest.raises(ValueError, match="at least one hidden layer"):
        pr.train_machine(key, x, ())
    with pytest.raises(ValueError, match=r"widths\[1\] must be at least 1"):
        pr.train_machine(key, x, (3, 0))
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        pr.train_machine(key, x, (3,), num_steps=0)
    with pytest.raises(ValueError, match="learning_rate must be positive"):
        pr.train_machine(key, x, (3,), learning_rate=-1.0)
