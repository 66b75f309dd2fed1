"""What every inference method returns: p(h | x) as one labelled tree, with a status."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from jaxtyping import PRNGKeyArray

from probrev.model import door as model_door
from probrev.model.sites import check_site_names
from probrev.plumbing import door
from probrev.plumbing.arrays import check_real
from probrev.plumbing.readable import Table, readable
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.timing import Timing
from probrev.posterior.diagnostics import H_DIMS, Sampling, diagnose, status_of
from probrev.posterior.groups import Draws, make_group
from probrev.posterior.site_diagnostics import diagnose_sites, status_with_sites
from probrev.posterior.status import Status


class Moments[Values: np.ndarray | jax.Array](NamedTuple):
    """Marginal moments of a layer's units given x: mean, variance, P(h_i > 0), each (obs, unit)."""

    mean: Values
    var: Values
    inclusion_prob: Values


# The top hidden vector, and those between it and x.
SIGNAL = re.compile(r"h(_\d+)?")
# The method of a posterior that another tool made.
EXTERNAL = "external"


class Kind(StrEnum):
    """What a posterior's moments are.

    - `EXACT`: those of p(h | x), to rounding or to an error that is reported.
    - `SAMPLED`: averages of draws from p(h | x).
    - `APPROXIMATE`: those of another law than p(h | x), however many draws are taken of it.
    """

    EXACT = "exact"
    SAMPLED = "sampled"
    APPROXIMATE = "approximate"


@readable
@dataclass(frozen=True)
class Posterior:
    """Posteriors p(h | x), one per observation, batched.

    The tree is what ArviZ takes. Its groups: `posterior` with `h` (chain, draw, obs, hidden);
    and the program's own sites (chain, draw, obs, ...); `sample_stats`; `diagnostics` (samplers;
    see `diagnostics.diagnose`) and `site_diagnostics` (see `diagnose_sites`); `exact` (enumeration:
    mean, var, inclusion_prob, log_evidence, the heaviest states, unvisited_mass,
    integration_error) or `approximation` (message passing: mean, var, inclusion_prob,
    num_iterations, num_clamped, converged); `intermediates` (several layers: moments of the hidden
    vectors between x and h, see `tabulate_intermediates`); `observed_data` with the x that it is
    conditioned on. Attributes of the root: method, settings, status, status_reason, run_seconds,
    compile_seconds, and of samplers `sampling` and `starts_apart`.

    Moments are taken from `exact` or `approximation` where they are known without draws.

    Attributes:
        tree: the labelled results.
        model: the model that it was computed under, where it is known.
    """

    tree: xr.DataTree
    model: Any = None

    def __repr__(self) -> str:
        chains, draws, obs, units = (self.draws.sizes[dim] for dim in H_DIMS)
        return (
            f"Posterior by {self.method}, {self.status}: {obs} observations, {units} units, "
            f"{chains} x {draws} draws"
        )

    def _table(self) -> Table:
        chains, draws, obs, units = (self.draws.sizes[dim] for dim in H_DIMS)
        rows = {
            "status": self.status, "why": self.status_reason, "method": self.method,
            "moments": self.kind, "observations": obs, "units": units,
            "chains x draws": f"{chains} x {draws}",
        }  # fmt: skip
        return Table("Posterior", rows)

    @property
    def method(self) -> str:
        """What computed it."""
        return self.tree.attrs["method"]

    @property
    def status(self) -> Status:
        """What can be said of it."""
        return Status(self.tree.attrs["status"])

    @property
    def status_reason(self) -> str:
        """The status in words, with its figures."""
        return self.tree.attrs["status_reason"]

    @property
    def draws(self) -> xr.DataArray:
        """h, dims (chain, draw, obs, hidden)."""
        return self._array("posterior/h")

    @property
    def sites(self) -> dict[str, xr.DataArray]:
        """What the program drew or named besides h, by name, dims (chain, draw, obs, ...)."""
        kept = self.tree["posterior"].data_vars
        return {str(name): kept[name] for name in kept if not SIGNAL.fullmatch(str(name))}

    @property
    def obs(self) -> np.ndarray:
        """Numbers of the observations that it covers."""
        return self.draws["obs"].to_numpy()

    @property
    def kind(self) -> Kind:
        """What its moments are: exact, averages of draws, or an approximation's."""
        if "exact" in self.tree:
            return Kind.EXACT
        return Kind.APPROXIMATE if "approximation" in self.tree else Kind.SAMPLED

    @property
    def sampling(self) -> Sampling:
        """How its draws were made: "iid", or "mcmc"."""
        return self.tree.attrs.get("sampling", "mcmc") if self.kind is Kind.SAMPLED else "iid"

    @property
    def mean(self) -> xr.DataArray:
        """E[h | x], (obs, hidden)."""
        if self.kind is Kind.SAMPLED:
            return self.draws.astype(float, copy=False).mean(("chain", "draw"))
        return self._known_moment("mean")

    @property
    def var(self) -> xr.DataArray:
        """Var[h_i | x], (obs, hidden)."""
        if self.kind is Kind.SAMPLED:
            return self.draws.astype(float, copy=False).var(("chain", "draw"))
        return self._known_moment("var")

    @property
    def inclusion_prob(self) -> xr.DataArray:
        """P(h_i > 0 | x), (obs, hidden)."""
        if self.kind is Kind.SAMPLED:
            return (self.draws > 0).mean(("chain", "draw"))
        return self._known_moment("inclusion_prob")

    @property
    def mean_error_var(self) -> xr.DataArray:
        """Squared Monte Carlo standard error of `mean`, (obs, hidden); 0 where it is no average.

        A unit that never moved has no estimate of its own: it counts as 0.
        """
        if self.kind is not Kind.SAMPLED:
            return xr.zeros_like(self.mean)
        return (self._array("diagnostics/mcse_mean") ** 2).fillna(0.0)

    @property
    def seconds_per_obs(self) -> float:
        """Run time per observation, compile time apart; NaN where it is unknown."""
        return self.tree.attrs.get("run_seconds", np.nan) / len(self.obs)

    @door.guard(obs=door.sequence)
    def of(self, obs: Sequence[int]) -> "Posterior":
        """The posterior of some of its observations, by their numbers; its status stays.

        ArviZ's functions take all variables of a tree to be one posterior. Observations are
        posteriors of their own, so give it one: `posterior.tree.sel(obs=3)`.

        Raises:
            ValueError: it does not cover one of them.
        """
        for one in obs:
            door.count(0)("the number of an observation", one)
        missing = sorted({*map(int, obs)} - {*map(int, self.obs)})
        if missing:
            raise Refusal(f"this posterior does not cover observation {missing[0]}")
        tree = self.tree.sel(obs=list(obs))
        tree.attrs = dict(self.tree.attrs)
        for name in ("run_seconds", "compile_seconds"):
            if name in tree.attrs:
                tree.attrs[name] *= len(obs) / len(self.obs)
        return Posterior(tree, self.model)

    @door.guard(key=door.random_key, groups=door.sequence)
    def with_groups(self, key: PRNGKeyArray, groups: Sequence[str]) -> "Posterior":
        """The posterior with further groups in its tree, for what ArviZ does with them.

        - `log_likelihood`: log p(x_j | h), `x` (chain, draw, obs, visible), for `az.loo`.
        - `log_prior`: of every site of the prior's program and h, (chain, draw, obs), for
          `az.psense_summary`.
        - `posterior_predictive`: `x` (chain, draw, obs, visible), for `az.plot_ppc_dist`.
        - `prior`: 4096 draws of h and the sites, (chain, draw, ...), for `az.plot_prior_posterior`.

        Each is of every draw, so of many observations take some: `posterior.of([0, 1])`.

        Args:
            key: random key; each group has a stream of its own.
            groups: names of them.

        Raises:
            ValueError: the model is not known, or does not say what a group needs; no such group;
                or more than 2 GiB.
        """
        if self.model is None:
            raise Refusal("with_groups needs a posterior whose model is known")
        kept = self.tree["posterior"].data_vars
        values = {str(name): kept[name] for name in kept}
        draws = Draws(self.model, values, self._array("observed_data/x"))
        tree = self.tree.copy()
        for name in groups:
            tree[name] = xr.DataTree(make_group(key, name, draws))
        return Posterior(tree, self.model)

    def _known_moment(self, name: str) -> xr.DataArray:
        group = "exact" if self.kind is Kind.EXACT else "approximation"
        return self._array(f"{group}/{name}")

    def _array(self, path: str) -> xr.DataArray:
        found = self.tree[path]
        assert isinstance(found, xr.DataArray)
        return found


@door.guard(
    method=door.text,
    h=door.finite_array(*H_DIMS),
    x=door.finite_array("obs", "visible"),
    model=door.optional(model_door.model),
    settings=door.optional(door.by_name(door.anything)),
    sites=door.by_name(door.anything),
    sampling=door.one_of("mcmc", "iid"),
    starts_apart=door.flag,
)
def from_draws(
    method: str,
    h: ArrayLike,
    x: ArrayLike,
    *,
    model: Any = None,
    settings: Mapping[str, Any] | None = None,
    timing: Timing | None = None,
    sampling: Sampling = "mcmc",
    starts_apart: bool = False,
    obs: ArrayLike | None = None,
    sample_stats: Mapping[str, np.ndarray] | None = None,
    intermediates: Sequence[Moments] = (),
    intermediate_draws: Sequence[np.ndarray] = (),
    sites: Mapping[str, np.ndarray] = MappingProxyType({}),
    site_dims: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Posterior:
    """A sampler's posterior: draws, their diagnostics and status.

    Args:
        method: name of the method.
        h: draws, (chain, draw, obs, hidden).
        x: the observations, (obs, visible).
        model: what it was computed under.
        settings: what was asked for, JSON-able.
        timing: run and compile time.
        sampling: "iid" for draws that are independent by declaration.
        starts_apart: whether chains started from points as far apart as the prior's.
        obs: numbers of the observations; by default they are counted from 0.
        sample_stats: further values per draw, (chain, draw, obs); `diverging` is looked at.
        intermediates: moments of the hidden vectors between x and h, the one next to x first.
        intermediate_draws: their draws, (chain, draw, obs, unit), where they were kept.
        sites: draws of the program's other sites, by name, (chain, draw, obs, ...); they are kept
            beside h, and count for the status as it does.
        site_dims: names of the dims of each site after `obs` (see `site_dims` in `model.sites`);
            by default `<site>_dim_0`, ...

    Raises:
        ValueError: h, x or a site is not of real numbers, a site has a name that stands for
            something else or does not fit h, or `sampling` is neither of the two.
    """
    check_real("h", h)
    if np.shape(x)[0] != np.shape(h)[2]:
        raise Refusal(
            f"x must have a row for each of the {np.shape(h)[2]} observations that h has draws of; "
            f"got {np.shape(x)[0]}"
        )
    coords = _counts(np.shape(h), H_DIMS, obs)
    draws = xr.DataArray(np.array(h), dims=H_DIMS, name="h", coords=coords)
    stats = {name: (H_DIMS[:3], np.array(values)) for name, values in (sample_stats or {}).items()}
    diagnostics = diagnose(draws, sampling)
    num_divergences = int(stats["diverging"][1].sum()) if "diverging" in stats else 0
    of_h = status_of(
        draws, diagnostics, num_divergences=num_divergences, sampling=sampling,
        starts_apart=starts_apart,
    )  # fmt: skip
    labelled = label_sites(sites, site_dims, draws)
    mixing = diagnose_sites(labelled, sampling)
    status, reason = status_with_sites(of_h, mixing, draws[:, :, 0, 0].size, sampling)
    kept = {
        f"h_{level}": ((*H_DIMS[:3], f"hidden_{level}"), np.array(values))
        for level, values in enumerate(intermediate_draws, start=1)
    }
    groups = {
        "posterior": draws.to_dataset().assign(kept | labelled), "diagnostics": diagnostics
    }  # fmt: skip
    if labelled:
        groups["site_diagnostics"] = mixing
    if intermediates:
        groups["intermediates"] = tabulate_intermediates(intermediates, coords["obs"])
    if stats:
        groups["sample_stats"] = xr.Dataset(stats)
    tree = make_tree(method, groups, x, status, reason, settings, timing, obs)
    tree.attrs |= {"sampling": sampling, "starts_apart": int(starts_apart)}
    return Posterior(tree, model)


def label_sites(
    sites: Mapping[str, np.ndarray], dims: Mapping[str, Sequence[str]], draws: xr.DataArray
) -> dict[str, xr.DataArray]:
    """Draws of a program's sites, labelled as those of h are.

    Args:
        sites: see `from_draws`.
        dims: see `from_draws`.
        draws: h, (chain, draw, obs, hidden).

    Raises:
        ValueError: see `from_draws`.
    """
    check_site_names(sites)
    labelled = {}
    for name, given in sites.items():
        check_real(f"site {name!r}", given)
        values = np.array(given)
        # ArviZ has no tail of truth values, and no summary.
        values = values.astype(np.int64) if values.dtype == bool else values
        own = dims.get(name, [f"{name}_dim_{axis}" for axis in range(values.ndim - 3)])
        names = (*H_DIMS[:3], *own)
        if values.ndim != len(names) or values.shape[:3] != draws.shape[:3]:
            raise Refusal(
                f"site {name!r} must have dims {names} with the chains, draws and observations of "
                f"h, {draws.shape[:3]}; got shape {values.shape}"
            )
        sizes = zip(names, values.shape, strict=True)
        coords = {dim: draws[dim] if dim in H_DIMS else np.arange(size) for dim, size in sizes}
        labelled[name] = xr.DataArray(values, dims=names, coords=coords, name=name)
    return labelled


def make_tree(
    method: str,
    groups: Mapping[str, xr.Dataset],
    x: ArrayLike,
    status: Status,
    status_reason: str,
    settings: Mapping[str, Any] | None = None,
    timing: Timing | None = None,
    obs: ArrayLike | None = None,
) -> xr.DataTree:
    """Puts the groups of a posterior together with the x they belong to, and its attributes."""
    check_real("x", x)
    x, dims = np.array(x), ("obs", "visible")
    observed = xr.Dataset({"x": (dims, x)}, coords=_counts(x.shape, dims, obs))
    tree = xr.DataTree.from_dict({**groups, "observed_data": observed})
    tree.attrs = {
        "method": method,
        "status": status.value,
        "status_reason": status_reason,
        "settings": json.dumps(dict(settings or {})),
    }
    if timing is not None:
        tree.attrs["run_seconds"] = timing.run_seconds
        tree.attrs["compile_seconds"] = timing.compile_seconds
    return tree


def tabulate_intermediates(layers: Sequence[Moments], obs: ArrayLike) -> xr.Dataset:
    """The group `intermediates`: `h_1_mean`, `h_1_var`, `h_1_inclusion_prob` (obs, hidden_1), ...

    Args:
        layers: moments of the hidden vectors between x and h, the one next to x first.
        obs: numbers of the observations.
    """
    table = {
        f"h_{level}_{name}": (("obs", f"hidden_{level}"), np.asarray(values))
        for level, moments in enumerate(layers, start=1)
        for name, values in moments._asdict().items()
    }
    return xr.Dataset(table, {"obs": np.asarray(obs)})


def _counts(
    shape: tuple[int, ...], dims: tuple[str, ...], obs: ArrayLike | None
) -> dict[str, np.ndarray]:
    """Numbers along each dimension, from 0 but for observations that have numbers of their own."""
    counts = {dim: np.arange(size) for dim, size in zip(dims, shape, strict=True)}
    return counts if obs is None else {**counts, "obs": np.array(obs)}
