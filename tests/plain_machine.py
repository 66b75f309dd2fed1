"""Boltzmann machines by plain loops in NumPy, sharing no code with probrev."""

import itertools

import numpy as np


def all_states(size):
    return [np.array(state, float) for state in itertools.product((0, 1), repeat=size)]


def minus_energy(weights, biases, layers):
    total = 0.0
    for bias, layer in zip(biases, layers, strict=True):
        for value, unit in zip(bias, layer, strict=True):
            total += value * unit
    for matrix, below, above in zip(weights, layers[:-1], layers[1:], strict=True):
        for j, row in enumerate(matrix):
            for i, value in enumerate(row):
                total += value * below[j] * above[i]
    return total


def split(h, widths):
    return np.split(h, np.cumsum(widths)[:-1])


def posterior(weights, biases, x):
    """All h, their probabilities given x, and the log of the sum of exp(-E)."""
    widths = [len(bias) for bias in biases[1:]]
    states = all_states(sum(widths))
    logs = np.array([minus_energy(weights, biases, [x, *split(h, widths)]) for h in states])
    log_sum = logs.max() + np.log(np.exp(logs - logs.max()).sum())
    return np.array(states), np.exp(logs - log_sum), log_sum


def log_partition(weights, biases):
    sums = np.array([posterior(weights, biases, x)[2] for x in all_states(len(biases[0]))])
    return sums.max() + np.log(np.exp(sums - sums.max()).sum())


def random_machine(seed, widths, scale=1.0):
    """Weights and biases, off-centre and of no symmetry."""
    rng = np.random.default_rng(seed)
    weights = [scale * rng.normal(0.2, 1, size) for size in itertools.pairwise(widths)]
    return weights, [rng.normal(-0.3, 0.7, width) for width in widths]
