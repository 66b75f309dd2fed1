"""Log p(x, h) of one layer under a spike and slab, with two derivatives by all parameters.

Coordinates: -log(noise_std), log odds of keep_prob, log odds of inclusion_prob, log slab_scale, and
the bias of each row. The gain is held: (gain, slab_scale, noise_std, bias) and (c gain,
slab_scale / c, noise_std / c, bias / c) make the same x, so that x alone tells only
gain times slab_scale.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import expit

from probrev.nets.fitting.likelihood import LayerData, Parameters, differentiate_twice

# Parameters that all rows share, in the order of their coordinates.
SHARED = ("noise_std", "keep_prob", "inclusion_prob", "slab_scale")


class Point(NamedTuple):
    """Parameters as they are searched.

    Attributes:
        shared: -log noise_std, logit keep_prob, logit inclusion_prob and log slab_scale.
        bias: of each row.
    """

    shared: Float[np.ndarray, "4"]
    bias: Float[np.ndarray, " visible"]

    @property
    def values(self) -> Float[np.ndarray, "4"]:
        """Noise_std, keep_prob, inclusion_prob and slab_scale."""
        log_t, keep, inclusion, log_scale = self.shared
        return np.array([np.exp(-log_t), expit(keep), expit(inclusion), np.exp(log_scale)])


class Complete(NamedTuple):
    """Derivatives of log p(x, h) by the coordinates, those first that rows share.

    Attributes:
        slopes: first derivatives, by observation.
        information: minus the second derivatives of the sum over observations.
    """

    slopes: Float[np.ndarray, "obs coordinate"]
    information: Float[np.ndarray, "coordinate coordinate"]


def differentiate_complete(
    data: LayerData,
    weights: Float[np.ndarray, "visible hidden"],
    h: Float[np.ndarray, "obs hidden"],
    gain: float,
    power: int,
    at: Point,
) -> Complete:
    """Derivatives of log p(x, h) by all parameters.

    Args:
        data: x; its z is that of another h.
        weights: W.
        h: hidden vectors.
        gain: of the layer.
        power: of h / slab_scale in the slab's exponent: 2 if half-normal, 1 if exponential.
        at: the parameters.
    """
    log_t, keep, inclusion, log_scale = at.shared
    t = np.exp(log_t)
    b = t * at.bias
    parameters = Parameters(log_t - np.log(gain), log_t, keep, b)
    found, hessian = differentiate_twice(replace(data, z=h @ weights.T), parameters)

    active = h > 0
    rate, count = expit(inclusion), active.sum(1)
    energy = ((h / np.exp(log_scale)) ** power).sum(1)
    # A step of log_t at a given bias moves log_s as much, and b by b; one of the bias moves b by t.
    by_scale = found.shared[:, 0] + found.shared[:, 1] + found.own @ b
    shared = [by_scale, found.shared[:, 2], count - rate * h.shape[1], energy - count]
    slopes = np.column_stack([*shared, t * found.own])

    with_scale = hessian.mixed[0] + hessian.mixed[1]
    by_bias = with_scale + hessian.own * b + found.own.sum(0)
    second = np.zeros((slopes.shape[1],) * 2)
    second[0, 0] = hessian.shared[:2, :2].sum() + (with_scale + by_bias) @ b
    second[0, 1] = hessian.shared[:2, 2].sum() + hessian.mixed[2] @ b
    second[0, 4:] = t * by_bias
    second[1, 1] = hessian.shared[2, 2]
    second[1, 4:] = t * hessian.mixed[2]
    second[2, 2] = -rate * (1 - rate) * h.size
    second[3, 3] = -power * energy.sum()
    second += np.triu(second, 1).T
    second[4:, 4:] = np.diag(t**2 * hessian.own)
    return Complete(slopes, -second)
