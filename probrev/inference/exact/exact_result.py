"""What every exact method finds, and the groups of a posterior that it becomes."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from probrev.plumbing.progress import Progress
from probrev.plumbing.readable import readable
from probrev.posterior.diagnostics import H_DIMS
from probrev.posterior.posterior import Moments, label_sites, tabulate_intermediates
from probrev.posterior.status import Status

NUM_CHAINS = 4
# What an exact posterior may leave out, and what its integrals may err by, to be called "ok".
UNVISITED_TARGET = 5e-4
ERROR_TARGET = 1e-4


@readable
class ExactOptions(NamedTuple):
    """What every exact method is told besides the model and x; see `exact`."""

    num_draws: int
    num_top: int
    seed: int
    progress: Progress | None


@readable
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
        sites: draws of the prior program's other sites, by name, (draw, obs, ...).
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
    intermediates: Moments | None = None
    sites: Mapping[str, np.ndarray] | None = None


def solve_each(
    x: Float[Array, "obs visible"],
    solve: Callable[[int, Array], ExactResult],
    progress: Progress | None,
) -> ExactResult:
    """Solves one observation after another.

    Args:
        x: the observations.
        solve: takes an observation's number and itself, and returns arrays without the axis `obs`.
        progress: where to report progress.
    """
    each = []
    for row in x:
        each.append(solve(len(each), row))
        if progress is not None:
            progress(len(each), len(x))
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    swapped = {name: np.swapaxes(getattr(stacked, name), 0, 1) for name in ("draws", "top_states")}
    return stacked._replace(**swapped)


def summarize_points(
    points: Float[np.ndarray, "point hidden"],
    log_weight: Float[np.ndarray, " point"],
    rng: np.random.Generator,
    options: ExactOptions,
) -> ExactResult:
    """The posterior of one observation that lies on points, arrays without the axis `obs`.

    Args:
        points: values of h.
        log_weight: log p(h, x) of each.
        rng: draws from them.
        options: where there are fewer points than `num_top`, others of probability 0 follow them.
    """
    log_evidence = np.logaddexp.reduce(log_weight)
    log_prob = log_weight - log_evidence
    prob = np.exp(log_prob)
    prob /= prob.sum()
    mean = prob @ points
    order = np.argsort(-log_prob, kind="stable")[: options.num_top]
    padding = options.num_top - len(order)
    return ExactResult(
        mean=mean,
        var=prob @ (points - mean) ** 2,
        inclusion_prob=prob @ (points > 0),
        log_evidence=np.asarray(log_evidence),
        top_states=np.pad(points[order], ((0, padding), (0, 0))),
        top_log_prob=np.pad(log_prob[order], (0, padding), constant_values=-np.inf),
        unvisited_mass=np.zeros(()),
        integration_error=np.zeros(()),
        draws=points[rng.choice(len(prob), options.num_draws, p=prob)],
    )


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


def make_groups(
    result: ExactResult, site_dims: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> dict[str, xr.Dataset]:
    """The posterior's groups: `posterior` (draws as 4 chains), `exact`, `intermediates`.

    Args:
        result: with the axis `obs`.
        site_dims: names of the dims of each site after `obs`.
    """
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
    kept = {
        name: np.reshape(value, (NUM_CHAINS, num_draws // NUM_CHAINS, *np.shape(value)[1:]))
        for name, value in (result.sites or {}).items()
    }
    posterior = draws.to_dataset(name="h").assign(label_sites(kept, site_dims, draws))
    groups = {"posterior": posterior, "exact": xr.Dataset(summary, coords)}
    if result.intermediates is not None:
        groups["intermediates"] = tabulate_intermediates([result.intermediates], coords["obs"])
    return groups
