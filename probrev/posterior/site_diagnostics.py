"""Diagnostics of what a program draws besides h: it counts for a posterior's status as h does."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import xarray as xr

from probrev.posterior.diagnostics import (
    ESS_MIN,
    IID_ESS_SHARE,
    R_HAT_MAX,
    Sampling,
    measure_mixing,
)
from probrev.posterior.status import Status

# Of two sites the one whose status is further down is named.
_ORDER = [Status.OK, Status.NOT_CONVERGED, Status.UNRELIABLE, Status.UNCHECKED, Status.STUCK]
# What is measured of each site.
_FIGURES = ("r_hat", "ess_bulk", "ess_tail", "mcse_mean", "behaviour")


def diagnose_sites(sites: Mapping[str, xr.DataArray], sampling: Sampling) -> xr.Dataset:
    """`<site>_r_hat`, `_ess_bulk`, `_ess_tail`, `_mcse_mean` and `_behaviour` of every site.

    Their dims are those of the site but for chain and draw. They are those of `diagnose`; integers
    and truth values are diagnosed as the numbers that they are. Where some draw is infinite or NaN,
    `behaviour` is "not finite" and there are no figures.

    Args:
        sites: draws by name, dims (chain, draw, obs, ...).
        sampling: how they were made.
    """
    found = {}
    for name, draws in sites.items():
        finite = xr.apply_ufunc(np.isfinite, draws).all(("chain", "draw"))
        mixing = measure_mixing(draws.astype(float).where(finite, 0.0), sampling)
        figures = mixing.drop_vars("behaviour").where(finite)
        behaviour = mixing["behaviour"].where(finite, "not finite")
        figures["behaviour"] = behaviour.astype(str)
        found |= {f"{name}_{figure}": figures[figure] for figure in _FIGURES}
    return xr.Dataset(found)


def status_with_sites(
    of_h: tuple[Status, str], sites: xr.Dataset, num_draws: int, sampling: Sampling
) -> tuple[Status, str]:
    """A posterior's status and its reason, where the sites beside h count too.

    h comes first: where it is not "ok" that stands, with what there is to say of the sites behind.
    Where it is, sites must be what h must be: none is stuck, and all that move have R-hat <= 1.01
    and bulk and tail ESS >= 400. One with draws that are not finite cannot be checked. A site of
    one value in every draw is normal.

    Args:
        of_h: what `status_of` says of h.
        sites: what `diagnose_sites` found; without any site h alone counts.
        num_draws: of all chains together.
        sampling: how they were made.
    """
    figures = map(str, sites.data_vars)
    names = [one.removesuffix("_behaviour") for one in figures if one.endswith("_behaviour")]
    if not names:
        return of_h
    status, reason = of_h
    judged = [_status_of_site(name, sites, num_draws, sampling) for name in names]
    worst, said, _ = max(judged, key=lambda one: (_ORDER.index(one.status), one.r_hat))
    if worst is Status.OK:
        known = _worst_figures(names, sites)
        return status, f"{reason}; beside h {known}" if known else reason
    return (worst, said) if status is Status.OK else (status, f"{reason}; {said}")


class _Judged(NamedTuple):
    """What is said of a site."""

    status: Status
    reason: str
    r_hat: float = 1.0


def _status_of_site(name: str, sites: xr.Dataset, num_draws: int, sampling: Sampling) -> _Judged:
    behaviours = set(map(str, np.unique(sites[f"{name}_behaviour"].to_numpy())))
    if "stuck" in behaviours:
        words = f"site {name!r} is stuck at different values in different chains"
        return _Judged(Status.STUCK, words)
    if "not finite" in behaviours:
        return _Judged(
            Status.UNCHECKED, f"site {name!r} has draws that are not finite: nothing to check it by"
        )
    r_hat, ess = _largest_r_hat(name, sites), _smallest_ess(name, sites)
    least = ESS_MIN if sampling == "mcmc" else IID_ESS_SHARE * num_draws
    if r_hat > R_HAT_MAX or ess < least:
        words = (
            f"site {name!r} has R-hat {r_hat:.3f} and ESS {ess:.0f}, wanted at most {R_HAT_MAX} "
            f"and at least {least:.0f}"
        )
        if sampling == "mcmc":
            words = f"{words}: draw more samples"
        word = Status.NOT_CONVERGED if sampling == "mcmc" else Status.UNRELIABLE
        return _Judged(word, words, float(np.nan_to_num(r_hat)))
    return _Judged(Status.OK, "")


def _worst_figures(names: list[str], sites: xr.Dataset) -> str:
    """The largest R-hat and the smallest ESS of any site, and whose they are."""
    ess = {name: _smallest_ess(name, sites) for name in names}
    ess = {name: value for name, value in ess.items() if not np.isnan(value)}
    if not ess:
        return ""
    least = min(ess, key=lambda name: ess[name])
    said = f"smallest ESS {ess[least]:.0f} (site {least!r})"
    r_hat = {name: _largest_r_hat(name, sites) for name in ess}
    most = max(r_hat, key=lambda name: np.nan_to_num(r_hat[name]))
    known = not np.isnan(r_hat[most])  # one chain has none
    return f"largest R-hat {r_hat[most]:.3f} (site {most!r}), {said}" if known else said


def _largest_r_hat(name: str, sites: xr.Dataset) -> float:
    return float(sites[f"{name}_r_hat"].max())


def _smallest_ess(name: str, sites: xr.Dataset) -> float:
    return float(min(sites[f"{name}_ess_bulk"].min(), sites[f"{name}_ess_tail"].min()))
