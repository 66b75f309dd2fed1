"""Posteriors of several batches of observations, put together as one."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from probrev.posterior.diagnostics import H_DIMS, diagnose, status_of
from probrev.posterior.posterior import Kind, Posterior
from probrev.posterior.site_diagnostics import diagnose_sites, status_with_sites
from probrev.posterior.status import Status

# Of two batches the status that is further down stands for both.
SEVERITY = [
    Status.OK, Status.UNCHECKED, Status.INACCURATE, Status.NOT_CONVERGED, Status.STUCK,
    Status.UNRELIABLE, Status.DIVERGED,
]  # fmt: skip


def join_posteriors(batches: Sequence[Posterior], starts: Sequence[int]) -> Posterior:
    """One posterior of all observations, in the order of the batches.

    Batches with more draws than others are thinned evenly to as many as the fewest. A sampled
    posterior is diagnosed anew from all draws; else the worst status of a batch stands for all.

    Args:
        batches: of one method under one model, each of observations of its own, counted from 0.
        starts: how many observations there are before those of each batch.
    """
    first = batches[0]
    if len(batches) == 1:
        return first
    fewest = min(one.draws.sizes["draw"] for one in batches)
    groups = {
        name: _join_group([_shift(one.tree[name].to_dataset(), start, fewest)
                           for one, start in zip(batches, starts, strict=True)])
        for name in first.tree.children
    }  # fmt: skip
    attrs = {**first.tree.attrs, **_join_status(batches)}
    for name in ("run_seconds", "compile_seconds"):
        if name in attrs:
            attrs[name] = sum(one.tree.attrs[name] for one in batches)
    if first.kind is Kind.SAMPLED:
        draws, sampling = groups["posterior"]["h"], first.sampling
        groups["diagnostics"] = diagnose(draws, sampling)
        diverging = groups.get("sample_stats", xr.Dataset()).get("diverging")
        of_h = status_of(
            draws, groups["diagnostics"], sampling=sampling,
            num_divergences=0 if diverging is None else int(diverging.sum()),
            starts_apart=bool(attrs.get("starts_apart", False)),
        )  # fmt: skip
        mixing = diagnose_sites({name: groups["posterior"][name] for name in first.sites}, sampling)
        if first.sites:
            groups["site_diagnostics"] = mixing
        status, reason = status_with_sites(of_h, mixing, draws[:, :, 0, 0].size, sampling)
        attrs |= {"status": status.value, "status_reason": reason}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = attrs
    return Posterior(tree, first.model)


def _shift(group: xr.Dataset, start: int, num_draws: int) -> xr.Dataset:
    """A batch's group with its observations numbered from `start` on, and so many draws."""
    if "obs" in group.dims:
        numbers = (
            group["obs"].to_numpy() if "obs" in group.coords else np.arange(group.sizes["obs"])
        )
        group = group.assign_coords(obs=start + numbers)
    if "draw" in group.dims and group.sizes["draw"] > num_draws:
        picked = np.linspace(0, group.sizes["draw"] - 1, num_draws).round().astype(int)
        group = group.isel(draw=picked).assign_coords(draw=np.arange(num_draws))
    return group


def _join_group(parts: list[xr.Dataset]) -> xr.Dataset:
    """Variables along `obs` one after another; those without it from the first batch."""
    joined = xr.concat(
        parts, dim="obs", data_vars="minimal", coords="minimal", compat="override", join="override"
    )
    names = [name for name in H_DIMS if name in joined.dims]
    return joined.transpose(*names, ...) if set(H_DIMS) <= set(joined.dims) else joined


def _join_status(batches: Sequence[Posterior]) -> dict[str, str]:
    worst = max(batches, key=lambda one: SEVERITY.index(one.status))
    return {"status": worst.status.value, "status_reason": worst.status_reason}
