"""Exponents of power laws, fitted or from one size to the next, with standard errors."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Exponent(NamedTuple):
    """d log(value) / d log(size) and its standard error."""

    value: np.ndarray
    std_error: np.ndarray

    def __str__(self) -> str:
        return f"{float(self.value):.3f} ± {float(self.std_error):.3f}"


def fit_exponent(size: ArrayLike, value: ArrayLike, std_error: ArrayLike) -> Exponent:
    """Fits log(value) = exponent * log(size) + constant by weighted least squares.

    Args:
        size: sizes, (size,).
        value: positive means measured there, independent of each other.
        std_error: their standard errors, positive.
    """
    log_size, log_value = np.log(size), np.log(value)
    weight = np.square(np.divide(value, std_error))
    offset = log_size - np.average(log_size, weights=weight)
    information = (weight * offset**2).sum()
    return Exponent((weight * offset * log_value).sum() / information, 1 / np.sqrt(information))


def step_exponents(size: ArrayLike, value: ArrayLike, std_error: ArrayLike) -> Exponent:
    """Exponents between neighbouring sizes along the last axis.

    Args:
        size: sizes, (size,).
        value: positive means, (..., size), independent of each other.
        std_error: their standard errors.
    """
    step = np.diff(np.log(size))
    relative = np.square(np.divide(std_error, value))
    error = np.sqrt(relative[..., 1:] + relative[..., :-1])
    return Exponent(np.diff(np.log(value)) / step, error / step)
