"""Where a theorem's asymptote begins: local exponents of the curve, and measured ones."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.stats import chi2
from scipy.stats.distributions import rv_frozen

from analyses.theorems.exponents import Exponent, step_exponents
from analyses.theorems.readouts import SLABS, unit_error

CLOSE = 0.1
UNIT_NODES, ENERGY_NODES = 200, 20
NETS = {"deterministic": 1.0, "dropout": 0.5}  # the net's own keep_prob, by name


def tabulate_curve(n_hidden: int, n_active: tuple[int, ...], keep_prob: float) -> xr.Dataset:
    """The curve's relative error on a fine grid of n and k, far beyond what can be measured.

    Args:
        n_hidden: m.
        n_active: values of k, at least 2, that the grid must have.
        keep_prob: rho.
    """
    n = np.geomspace(100, 1e7, 61)
    k = np.unique([*np.geomspace(2, n_hidden, 33).round().astype(int), *n_active])
    known = {"n_hidden": n_hidden, "keep_prob": keep_prob}
    table = np.empty((len(SLABS), k.size, n.size, len(NETS)))
    for i, slab in enumerate(SLABS):
        for j, count in enumerate(k):
            for net, q in enumerate(NETS.values()):
                table[i, j, :, net] = curve(slab, int(count), n, **known, net_keep_prob=q)
    dims = ("slab", "curve_n_active", "curve_n_visible", "net")
    return xr.Dataset({"curve": (dims, table)}, {"curve_n_active": k, "curve_n_visible": n})


def curve(
    slab: str,
    n_active: int,
    n_visible: Float[np.ndarray, " size"],
    *,
    n_hidden: int,
    keep_prob: float,
    net_keep_prob: float,
) -> Float[np.ndarray, " size"]:
    """The finite-size curve averaged over h, relative to E||h||^2 = k.

    One active unit stands for all, the energy of the others having its own law, chi-squared under
    half-normal h: a product rule on quantiles, of the unit and of that energy.
    """
    if slab == "binary":
        value, others = np.ones((1, 1)), np.full((1, 1), n_active - 1.0)
    else:
        value = np.sqrt(spread_out(chi2(1), UNIT_NODES))[:, None]
        others = spread_out(chi2(n_active - 1), ENERGY_NODES)[None, :]
    known = {"keep_prob": keep_prob, "net_keep_prob": net_keep_prob}
    return np.asarray(_error(value, others, n_active, n_visible, n_hidden, **known)) / n_active


@partial(jax.jit, static_argnames="n_hidden")
def _error(value, others, n_active, n_visible, n_hidden, *, keep_prob, net_keep_prob):
    """The curve over n: k active units with these values, and those that are silent."""
    energy = others + value**2
    value = jnp.broadcast_to(value, energy.shape)
    known = {"keep_prob": keep_prob, "net_keep_prob": net_keep_prob}

    def at(n):
        active = unit_error(value, energy, n_hidden, n, **known).mean()
        silent = unit_error(jnp.zeros_like(value), energy, n_hidden, n, **known).mean()
        return n_active * active + (n_hidden - n_active) * silent

    return jax.lax.map(at, n_visible)


def spread_out(law: rv_frozen, number: int) -> Float[np.ndarray, " node"]:
    """Equally likely nodes: quantiles of a positive law, scaled to its mean."""
    nodes = law.ppf((np.arange(number) + 0.5) / number)
    return nodes * law.mean() / nodes.mean()


class Onset(NamedTuple):
    """Where the asymptote begins.

    Attributes:
        in_n: the curve's d log error / d log n.
        in_k: the curve's d log error / d log k.
        n_visible: smallest n from which on in_n is within `CLOSE` of -1 and in_k of 1, dims
            (slab, curve_n_active, net); NaN where that is nowhere on the grid.
        inside: whether k < rho n < k^2 there.
    """

    in_n: xr.DataArray
    in_k: xr.DataArray
    n_visible: xr.DataArray
    inside: xr.DataArray


def find_onset(data: xr.Dataset) -> Onset:
    """Where the curve's local exponents come close to the theorem's, for good."""
    in_n, in_k = (local_exponent(data, dim) for dim in ("curve_n_visible", "curve_n_active"))
    close = (abs(in_n + 1) < CLOSE) & (abs(in_k - 1) < CLOSE)
    downwards = close.isel(curve_n_visible=slice(None, None, -1))
    for_good = downwards.cumprod("curve_n_visible").astype(bool)
    n = data.curve_n_visible.where(for_good).min("curve_n_visible")
    return Onset(in_n, in_k, n, is_inside(n.curve_n_active, n, data.keep_prob))


def local_exponent(data: xr.Dataset, dim: str) -> xr.DataArray:
    """The curve's d log error / d log size."""
    axis = data.curve.dims.index(dim)
    slope = np.gradient(np.log(data.curve.to_numpy()), np.log(data[dim].to_numpy()), axis=axis)
    return data.curve.copy(data=slope)


def is_inside(k: xr.DataArray, n: xr.DataArray, keep_prob: float) -> xr.DataArray:
    """Whether k < rho n < k^2, the theorem's condition."""
    return (k < keep_prob * n) & (keep_prob * n < k**2)


class Steps(NamedTuple):
    """Measured exponents from one size to the next.

    Attributes:
        exponent: dims (slab, net, the other size, steps of the size that moves).
        middle: geometric mean of the two sizes of each step.
        beyond: whether both ends lie beyond the curve's onset, same dims as the exponents.
        inside: whether both ends meet the theorem's condition.
    """

    exponent: Exponent
    middle: np.ndarray
    beyond: xr.DataArray
    inside: xr.DataArray


def measured_steps(data: xr.Dataset, onset: Onset, dim: str) -> Steps:
    """Exponents along "n_visible" or "n_active"."""
    order = ("slab", "net", *(d for d in ("n_active", "n_visible") if d != dim), dim)
    error, std_error = data.error.transpose(*order), data.error_std_error.transpose(*order)
    start = onset.n_visible.sel(curve_n_active=data.n_active.values).drop_vars("curve_n_active")
    start = start.rename(curve_n_active="n_active")
    beyond = (data.n_visible >= start).transpose(*order)
    inside = is_inside(data.n_active, data.n_visible, data.keep_prob).broadcast_like(error)
    size = data[dim].to_numpy()
    lower, upper = {dim: slice(None, -1)}, {dim: slice(1, None)}

    def both(at: xr.DataArray) -> xr.DataArray:
        return at.isel(lower) & at.isel(upper).assign_coords({dim: at.isel(lower)[dim]})

    exponent = step_exponents(size, error.to_numpy(), std_error.to_numpy())
    return Steps(
        exponent, np.sqrt(size[1:] * size[:-1]), both(beyond), both(inside.transpose(*order))
    )
