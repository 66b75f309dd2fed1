"""What every exact method finds, and the groups of a posterior that it becomes."""

from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float

from probrev.posterior.diagnostics import H_DIMS
from probrev.posterior.status import Status

NUM_CHAINS = 4
# What an exact posterior may leave out, and what its integrals may err by, to be called "ok".
UNVISITED_TARGET = 5e-4
ERROR_TARGET = 1e-4


class Intermediates(NamedTuple):
    """Moments of the layer next to x where another lies above: mean, variance, P(h_i > 0)."""

    mean: Float[np.ndarray, "obs hidden_1"]
    var: Float[np.ndarray, "obs hidden_1"]
    inclusion_prob: Float[np.ndarray, "obs hidden_1"]


class ExactResult(NamedTuple):
    """Moments, evidence, the heaviest states and iid draws of an exact posterior.

    Attributes:
        mean: E[h | x], (obs, hidden).
        var: Var[h_i | x], (obs, hidden).
        inclusion_prob: P(h_i > 0 | x), (obs, hidden).
        log_evidence: log p(x), (obs,).
        top_states: the heaviest states, (state, obs, hidden); of a continuous slab the heaviest
            supports, each as its posterior mean.
        top_log_prob: their log posterior probabilities, descending, (obs, state).
        unvisited_mass: upper bound, proved, on the posterior mass of what was left out: states or
            supports not visited, and what lies around the boxes of integrals, (obs,).
        integration_error: estimate of the relative error of the integrals, two rules compared,
            (obs,). Never to be added to the former: one is a proof, the other is not.
        draws: iid draws of h, (draw, obs, hidden), the number of draws a multiple of 4.
        intermediates: moments of the layer between, where there is one.
    """

    mean: Float[np.ndarray, "obs hidden"]
    var: Float[np.ndarray, "obs hidden"]
    inclusion_prob: Float[np.ndarray, "obs hidden"]
    log_evidence: Float[np.ndarray, " obs"]
    top_states: Float[np.ndarray, "state obs hidden"]
    top_log_prob: Float[np.ndarray, "obs state"]
    unvisited_mass: Float[np.ndarray, " obs"]
    integration_error: Float[np.ndarray, " obs"]
    draws: Float[np.ndarray, "draw obs hidden"]
    intermediates: Intermediates | None = None


def stack_results(each: list[ExactResult]) -> ExactResult:
    """Puts the results of single observations, arrays without the axis `obs`, together."""
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    swapped = {name: np.swapaxes(getattr(stacked, name), 0, 1) for name in ("draws", "top_states")}
    return stacked._replace(**swapped)


def judge(result: ExactResult, done: str) -> tuple[Status, str]:
    """The status of an exact posterior, and why.

    "ok" where every observation's `unvisited_mass` and `integration_error` meet their targets, 5e-4
    and 1e-4; else "inaccurate". What is not a number meets none.

    Args:
        result: with the axis `obs`.
        done: what was done, in words: the reason where all is well, and its beginning otherwise.
    """
    missed = []
    for name, target in (
        ("unvisited_mass", UNVISITED_TARGET),
        ("integration_error", ERROR_TARGET),
    ):
        values = np.atleast_1d(getattr(result, name))
        above = ~(values <= target)
        if above.any():
            missed.append(
                f"{name} is up to {values.max():.2g} (target {target:g}), above it in "
                f"{above.sum()} of {len(values)} observations"
            )
    if missed:
        return Status.INACCURATE, "; ".join([done, *missed])
    return Status.OK, done


def make_groups(result: ExactResult) -> dict[str, xr.Dataset]:
    """The posterior's groups: `posterior` (draws as 4 chains), `exact`, `intermediates`."""
    num_draws, num_obs, n_hidden = result.draws.shape
    h = result.draws.reshape(NUM_CHAINS, num_draws // NUM_CHAINS, num_obs, n_hidden)
    dims = {
        "mean": ("obs", "hidden"),
        "var": ("obs", "hidden"),
        "inclusion_prob": ("obs", "hidden"),
        "log_evidence": ("obs",),
        "top_states": ("state", "obs", "hidden"),
        "top_log_prob": ("obs", "state"),
        "unvisited_mass": ("obs",),
        "integration_error": ("obs",),
    }
    coords = {dim: np.arange(size) for dim, size in zip(H_DIMS, h.shape, strict=True)}
    draws = xr.DataArray(h, dims=H_DIMS, coords=coords)
    coords = {dim: coords[dim] for dim in ("obs", "hidden")}
    summary = {name: (names, getattr(result, name)) for name, names in dims.items()}
    groups = {"posterior": draws.to_dataset(name="h"), "exact": xr.Dataset(summary, coords)}
    if result.intermediates is not None:
        below = result.intermediates
        moments = {
            f"h_1_{name}": (("obs", "hidden_1"), getattr(below, name)) for name in below._fields
        }
        coords = {"obs": coords["obs"], "hidden_1": np.arange(below.mean.shape[1])}
        groups["intermediates"] = xr.Dataset(moments, coords)
    return groups
