"""Log densities of discrete draws, guarded for ArviZ, which fits a tail to them and needs one."""

import math

import numpy as np
from jaxtyping import Bool, Float

# What is added to break ties: far below every figure's error, far above a float64's rounding.
JITTER = 1e-10
# The share of ArviZ's tail, 3 sqrt(draws) of independent draws, that must not be of one value. Its
# tail is shorter where draws are better than independent.
TAIL_SHARE = 0.8


def untie_rows(
    rng: np.random.Generator, values: Float[np.ndarray, "chain draw obs row"]
) -> Float[np.ndarray, "chain draw obs row"]:
    """Log likelihoods of rows, with noise where their smallest values are all the same.

    `az.loo` fits a tail to the smallest values of each row, and raises where they are one. Then
    leaving out the row changes nothing that draws could show, and noise of standard deviation 1e-10
    says so. The sum over rows is guarded as `untie` does it, by noise in the first row.
    """
    flat = values.reshape(-1, *values.shape[2:])
    found = values + _noise(rng, values) * _is_tied(flat)
    total = found.sum(-1)
    found[..., 0] += untie(rng, total) - total
    return found


def untie(
    rng: np.random.Generator, values: Float[np.ndarray, "chain draw obs"]
) -> Float[np.ndarray, "chain draw obs"]:
    """Log densities, with noise where their smallest or their largest values are all the same.

    `az.psense` fits a tail at either end.
    """
    flat = values.reshape(-1, values.shape[2])
    return values + _noise(rng, values) * (_is_tied(flat) | _is_tied(-flat))


def _noise(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return JITTER * rng.normal(size=values.shape)


def _is_tied(values: Float[np.ndarray, "draw *column"]) -> Bool[np.ndarray, "*column"]:
    """Whether the smallest values are all the same."""
    num_draws = len(values)
    size = max(1, min(num_draws, math.ceil(TAIL_SHARE * min(num_draws / 5, 3 * num_draws**0.5))))
    lowest = np.partition(values, size - 1, axis=0)[:size]
    return lowest.min(0) == lowest.max(0)
