"""A tiny classifier with fixed weights, and labelled inputs, none of which is symmetric."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np

from probrev import Classifier

RNG = np.random.default_rng(5)
WIDTHS = (6, 5, 4, 3)
WEIGHTS = [RNG.normal(0.1, 0.6, shape) for shape in pairwise(WIDTHS)]
BIASES = [RNG.normal(0.3, 0.2, width) for width in WIDTHS[1:]]
NET = Classifier(tuple(map(jnp.asarray, WEIGHTS)), tuple(map(jnp.asarray, BIASES)))
X = RNG.gamma(2.0, 0.4, (7, 6))
LABELS = np.array([0, 2, 1, 1, 0, 2, 2])


def relu(z):
    return np.where(z > 0, z, 0.0)


def forward(x, first=0):
    """Activations from layer `first` up, the logits last, by loops over units."""
    found = [np.asarray(x)]
    for layer in range(first, 3):
        W, b = WEIGHTS[layer], BIASES[layer]
        above = np.zeros((len(x), len(b)))
        for row, unit in np.ndindex(*above.shape):
            z = b[unit] + sum(W[j, unit] * found[-1][row, j] for j in range(len(W)))
            above[row, unit] = z if layer == 2 else max(z, 0.0)
        found.append(above)
    return found


def softmax(logits):
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def cross_entropy(x, labels, first=0):
    probs = softmax(forward(x, first)[-1])
    return -np.mean([np.log(probs[row, label]) for row, label in enumerate(labels)])


def slopes(x, labels, first=0):
    """Derivatives of the loss in every weight and bias, by the chain rule; 0 below `first`."""
    found = forward(x, first)
    error = softmax(found[-1])
    error[np.arange(len(x)), labels] -= 1
    error /= len(x)
    weights, biases = [np.zeros_like(W) for W in WEIGHTS], [np.zeros_like(b) for b in BIASES]
    for layer in (2, 1, 0)[: 3 - first]:
        below = found[layer - first]
        weights[layer], biases[layer] = below.T @ error, error.sum(0)
        error = (error @ WEIGHTS[layer].T) * (below > 0)
    return weights, biases
