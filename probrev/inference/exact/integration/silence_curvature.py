"""How far the log mass of a silent row bends, either way: what majorants of it are built on."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import log_ndtr

from probrev.numerics.truncated_normal import HALF_LOG_TWO_PI, log_mills

GRID = np.linspace(-12.0, 12.0, 48_001)
MARGIN = 1.002  # the grid misses the supremum by less than 1e-3 of it, tested on finer grids


@functools.cache
def curvature_range(keep_prob: float) -> tuple[float, float]:
    """Bounds on (log f)'' over all t, f(t) = (1 - rho) + rho Phi(-t): -lowest <= it <= highest.

    With r = rho phi / f it is (log f)'' = t r - r^2. Without dropout it lies in [-1, 0]: f is
    log-concave. With dropout it vanishes in both tails (for t beyond 12 below e^-70 / (1 - rho)),
    and its extremes lie on the grid.

    Args:
        keep_prob: rho in (0, 1].

    Returns:
        (lowest, highest), both >= 0 and rounded up.
    """
    if keep_prob == 1:
        return 1.0, 0.0
    log_kept = np.log(keep_prob) + log_ndtr(-GRID)
    log_mass = np.logaddexp(np.log1p(-keep_prob), log_kept)
    ratio = np.exp(np.log(keep_prob) - 0.5 * GRID**2 - HALF_LOG_TWO_PI - log_mass)
    curvature = GRID * ratio - ratio**2
    return MARGIN * float(-curvature.min()), MARGIN * float(curvature.max())


def silence_slope(
    t: Float[Array, "*shape"], keep_prob: Float[Array, ""], has_dropout: bool
) -> Float[Array, "*shape"]:
    """(log f)'(t) = -rho phi(t) / f(t), at most 0.

    Args:
        t: any values.
        keep_prob: rho.
        has_dropout: whether rho < 1, known when this is compiled: without dropout f underflows,
            and its hazard takes four times as long.
    """
    if not has_dropout:
        return -jnp.exp(-log_mills(-t))
    density = keep_prob * jnp.exp(-0.5 * t * t - HALF_LOG_TWO_PI)
    return -density / ((1 - keep_prob) + keep_prob * 0.5 * jax.scipy.special.erfc(t * 0.5**0.5))
