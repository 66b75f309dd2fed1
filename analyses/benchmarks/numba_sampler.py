"""What a user could write without probrev: Gibbs for one ReLU layer in a hundred lines of Numba.

The sampler that probrev began with: masks and negative pre-activations of silent rows are drawn,
and then each unit, spike and value jointly, given all others.
"""

import math

import numpy as np
from jaxtyping import Float
from numba import njit

Array = np.ndarray


@njit(nogil=True)
def _draw_above_zero(rng: np.random.Generator, mean: float, std: float) -> float:
    """A normal draw that is positive: by rejection (Robert 1995)."""
    lowest = -mean / std
    if lowest < 0.5:
        while True:
            draw = rng.normal()
            if draw > lowest:
                return mean + std * draw
    rate = 0.5 * (lowest + math.sqrt(lowest * lowest + 4.0))
    while True:
        draw = lowest - math.log(1.0 - rng.random()) / rate
        if math.log(1.0 - rng.random()) < -0.5 * (draw - rate) ** 2:
            return mean + std * draw


@njit(nogil=True)
def _log_mills(t: float) -> float:
    """log[Phi(t) / phi(t)]; below -8 by its asymptotic series."""
    if t > -8.0:
        return math.log(0.5 * math.erfc(-t * math.sqrt(0.5))) + 0.5 * (
            t * t + math.log(2 * math.pi)
        )
    u = 1.0 / (t * t)
    return math.log((1.0 - u * (1.0 - 3.0 * u * (1.0 - 5.0 * u))) / -t)


@njit(nogil=True)
def run_numba(
    rng: np.random.Generator,
    columns: Float[Array, "hidden visible"],
    x: Float[Array, " visible"],
    gain: float,
    keep_prob: float,
    noise_std: float,
    logit: float,
    scale: float,
    num_warmup: int,
    num_samples: int,
) -> Float[Array, "sample hidden"]:
    """Draws of h under spikes and half-normal slabs, one chain; keep_prob < 1.

    Args:
        rng: random generator, which it uses up.
        columns: W^T, each column of W in one piece.
        x: an observation.
        gain: alpha.
        keep_prob: rho.
        noise_std: sigma.
        logit: of the inclusion probability.
        scale: of the half-normal slab.
        num_warmup: sweeps that are thrown away.
        num_samples: sweeps that are kept.
    """
    n_hidden, n_visible = columns.shape
    h, z = np.zeros(n_hidden), np.zeros(n_visible)
    precision, residual = np.zeros(n_visible), np.zeros(n_visible)
    kept = np.empty((num_samples, n_hidden))
    of_row, of_slab = 1.0 / noise_std**2, 1.0 / scale**2
    for sweep in range(num_warmup + num_samples):
        for row in range(n_visible):
            if x[row] > 0:
                precision[row], residual[row] = of_row, x[row] / gain - z[row]
                continue
            silent = 0.5 * keep_prob * math.erfc(z[row] / (noise_std * math.sqrt(2.0)))
            if rng.random() * (1.0 - keep_prob + silent) < silent:
                latent = -_draw_above_zero(rng, -z[row], noise_std)
                precision[row], residual[row] = of_row, latent - z[row]
            else:
                precision[row], residual[row] = 0.0, 0.0
        for unit in range(n_hidden):
            column, old = columns[unit], h[unit]
            information, linear = 0.0, 0.0
            for row in range(n_visible):
                weighted = precision[row] * column[row]
                information += weighted * column[row]
                linear += weighted * residual[row]
            linear += information * old
            std = 1.0 / math.sqrt(information + of_slab)
            log_odds = logit + math.log(2.0 * std / scale) - 0.5 * math.log(2 * math.pi)
            log_odds += _log_mills(linear * std)
            new = 0.0
            if math.log(1.0 - rng.random()) < -math.log1p(math.exp(-log_odds)):
                new = _draw_above_zero(rng, linear * std * std, std)
            change = new - old
            if change != 0.0:
                h[unit] = new
                for row in range(n_visible):
                    residual[row] -= change * column[row]
                    z[row] += change * column[row]
        if sweep >= num_warmup:
            kept[sweep - num_warmup] = h
    return kept
