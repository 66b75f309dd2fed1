"""The mass f(t) = (1 - rho) + rho Phi(-t) of a row that is 0: dropped, or kept and rectified.

t is how far its pre-activation is above the edge of the flat, in standard deviations of the noise.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr
from jaxtyping import Array, ArrayLike, Bool, Float
from scipy.special import log_ndtr as log_ndtr_of_array

from probrev.numerics.truncated_normal import HALF_LOG_TWO_PI, log_mills, upper_tail

GRID = np.linspace(-12.0, 12.0, 48_001)
MARGIN = 1.002  # the grid misses the supremum by less than 1e-3 of it, tested on finer grids
DEEP, DEEP_SINGLE = 30.0, 12.0
# Of a table of log f: its ends, pieces to a standard deviation, and how far it may be off.
LOWEST, HIGHEST, FINENESS, TABLE_ERROR = -9.0, 12.0, 64, 1e-8


def silence_prob(t: Float[Array, "*shape"], keep_prob: ArrayLike) -> Float[Array, "*shape"]:
    """Return f(t), with full relative precision until it underflows.

    Args:
        t: any values.
        keep_prob: rho in [0, 1].
    """
    return jnp.asarray((1.0 - keep_prob) + keep_prob * upper_tail(t))


def log_silence_prob(t: Float[Array, "*shape"], keep_prob: ArrayLike) -> Float[Array, "*shape"]:
    """Return log f(t) at the cost of erfc and log.

    `Flat.log_mass` computes the same in log space, at some ten times the cost; only where the mass
    underflows is that needed. Not meant for differentiation.

    Args:
        t: any values.
        keep_prob: rho in [0, 1], a scalar.
    """
    silence = silence_prob(t, keep_prob)
    tiny = jnp.finfo(silence.dtype).tiny
    # The barrier keeps erfc and log in two loops: fused into one they take half as long again. Both
    # stay outside the branches, where XLA uses all cores.
    log_silence = jnp.log(jnp.maximum(jax.lax.optimization_barrier(silence), tiny))
    deep_from = 0.95 * (-2 * jnp.log(tiny)) ** 0.5

    def without_dropout():
        deep = t > deep_from
        exact = lambda: jnp.where(deep, log_ndtr(-t), log_silence)  # noqa: E731
        return jax.lax.cond(deep.any(), exact, lambda: log_silence)

    return jax.lax.cond(jnp.asarray(keep_prob) == 1, without_dropout, lambda: log_silence)


class SilenceTable(NamedTuple):
    """log f in cubic pieces, for those who need it of many rows again and again.

    Attributes:
        pieces: coefficients of the powers of how far into its piece a t is, from 0 to 1.
        is_near: whether it serves: there is dropout, and in the middle of every piece the table is
            off by at most `TABLE_ERROR`, times -log f where that is more than 1; in float32 by a
            few hundred times as much.
    """

    pieces: Float[Array, "piece 4"]
    is_near: Bool[Array, ""]


def tabulate_silence(keep_prob: Float[Array, ""]) -> SilenceTable:
    """The table of a layer: cubic Hermite interpolation, from values and slopes at the ends.

    With dropout f is 1 below the table and 1 - rho above it, to rounding.
    """
    num_pieces = round((HIGHEST - LOWEST) * FINENESS)
    t = jnp.linspace(LOWEST, HIGHEST, num_pieces + 1, dtype=keep_prob.dtype)
    middle = 0.5 * (t[:-1] + t[1:])
    log_f, slope = log_silence_prob(t, keep_prob), silence_slope(t, keep_prob, True) / FINENESS
    rise, begins, ends = log_f[1:] - log_f[:-1], slope[:-1], slope[1:]
    cubic = (log_f[:-1], begins, 3.0 * rise - 2.0 * begins - ends, begins + ends - 2.0 * rise)
    pieces = jnp.stack(cubic, -1)
    exact = log_silence_prob(middle, keep_prob)
    allowed = TABLE_ERROR * jnp.maximum(1.0, -exact) * (1 if t.dtype == jnp.float64 else 400)
    near = jnp.abs(_look_up(pieces, middle) - exact) <= allowed
    return SilenceTable(pieces, near.all() & (keep_prob < 1))


def _look_up(pieces: Float[Array, "piece 4"], t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Log f(t) by a table."""
    (zeroth, first, second, third), beyond = _find(pieces, t)
    return zeroth + beyond * (first + beyond * (second + beyond * third))


def look_up_slope(table: SilenceTable, t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The slope of log f, of a table that `is_near`: off by less than 2e-5, in float32 1e-3.

    Args:
        table: of some rho.
        t: any values.
    """
    (_, first, second, third), beyond = _find(table.pieces, t)
    return FINENESS * (first + beyond * (2.0 * second + beyond * (3.0 * third)))


def _find(
    pieces: Float[Array, "piece 4"], t: Float[Array, "*shape"]
) -> tuple[tuple[Array, ...], Float[Array, "*shape"]]:
    """The coefficients of the piece that each t is in, and how far into it."""
    num_pieces = pieces.shape[0]
    last = num_pieces * (1.0 - jnp.finfo(t.dtype).eps)
    place = jnp.clip((t - LOWEST) * FINENESS, 0.0, last)
    piece = place.astype(jnp.int32)
    # A NaN is in no piece; it stays one.
    found = tuple(pieces.at[piece, power].get(mode="clip") for power in range(4))
    return found, place - piece


def sum_log_silence_prob(
    t: Float[Array, "*shape row"],
    keep_prob: ArrayLike,
    is_on: Bool[Array, "*#shape row"],
    table: SilenceTable | None = None,
) -> Float[Array, "*shape"]:
    """Return the sum of log f(t) over rows: with dropout the logarithm is one of eight rows.

    Args:
        t: any values.
        keep_prob: rho in [0, 1], a scalar.
        is_on: rows that count.
        table: of that rho, which takes less than half the time where it `is_near`.
    """
    if table is not None:
        by_table = lambda: jnp.where(is_on, _look_up(table.pieces, t), 0.0).sum(-1)  # noqa: E731
        exactly = lambda: sum_log_silence_prob(t, keep_prob, is_on)  # noqa: E731
        return jax.lax.cond(table.is_near, by_table, exactly)
    # f is 1 - rho or more, and that is 0 or at least the precision: eight do not underflow.
    size = 8 if t.dtype == jnp.float64 else 4

    def in_groups() -> Array:
        silence = jnp.where(is_on, silence_prob(t, keep_prob), 1.0)
        missing = -silence.shape[-1] % size
        wider = [*[(0, 0)] * (silence.ndim - 1), (0, missing)]
        # The barrier as in `log_silence_prob`.
        silence = jax.lax.optimization_barrier(jnp.pad(silence, wider, constant_values=1.0))
        groups = silence.reshape(*silence.shape[:-1], size, -1).prod(-2)
        return jnp.log(groups).sum(-1)

    def one_by_one() -> Array:
        return jnp.where(is_on, log_upper_tail(t), 0.0).sum(-1)

    return jax.lax.cond(jnp.asarray(keep_prob) == 1, one_by_one, in_groups)


def log_upper_tail(t: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return log Phi(-t), which is log f without dropout, without a branch.

    To rounding: beyond 30, in float32 beyond 12, by Abramowitz and Stegun 26.2.12.
    """
    deep_from = DEEP if t.dtype == jnp.float64 else DEEP_SINGLE
    deep = jnp.maximum(t, deep_from)
    u = 1 / deep**2
    series = 1 - u * (1 - 3 * u * (1 - 5 * u * (1 - 7 * u)))
    asymptotic = -0.5 * deep**2 - jnp.log(deep) - HALF_LOG_TWO_PI + jnp.log(series)
    near = jnp.log(upper_tail(jnp.minimum(t, deep_from)))
    return jnp.where(t > deep_from, asymptotic, near)


def silence_slope(
    t: Float[Array, "*shape"], keep_prob: Float[Array, ""], has_dropout: bool
) -> Float[Array, "*shape"]:
    """Return (log f)'(t) = -rho phi(t) / f(t), at most 0.

    Args:
        t: any values.
        keep_prob: rho.
        has_dropout: whether rho < 1, known when this is compiled: without dropout f underflows,
            and its hazard takes four times as long.
    """
    if not has_dropout:
        return -jnp.exp(-log_mills(-t))
    density = keep_prob * jnp.exp(-0.5 * t * t - HALF_LOG_TWO_PI)
    return -density / silence_prob(t, keep_prob)


@functools.cache
def curvature_range(keep_prob: float) -> tuple[float, float]:
    """Bounds on (log f)'' over all t: -lowest <= it <= highest.

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
    log_kept = np.log(keep_prob) + log_ndtr_of_array(-GRID)
    log_mass = np.logaddexp(np.log1p(-keep_prob), log_kept)
    ratio = np.exp(np.log(keep_prob) - 0.5 * GRID**2 - HALF_LOG_TWO_PI - log_mass)
    curvature = GRID * ratio - ratio**2
    return MARGIN * float(-curvature.min()), MARGIN * float(curvature.max())
