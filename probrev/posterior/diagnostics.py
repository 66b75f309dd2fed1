"""Convergence diagnostics that know about units which never switch on, or are stuck.

ArviZ's R-hat is NaN on a constant chain, and chains stuck at different constants pass
`az.diagnose`. Here every unit is first told apart by what it did, then diagnosed.
"""

from typing import Literal

import arviz as az
import numpy as np
import xarray as xr

from probrev.plumbing.arviz_defaults import arviz_defaults
from probrev.posterior.convergence import ess_of_mean, measure_convergence
from probrev.posterior.status import Status

H_DIMS = ("chain", "draw", "obs", "hidden")
R_HAT_MAX = 1.01
ESS_MIN = 400
# Draws declared independent whose smallest ESS is below this share of their number are not:
# of independent draws the estimate stays well above it, whatever the number of units.
IID_ESS_SHARE = 0.25

# How draws were made: by Markov chains, or independently of one another.
Sampling = Literal["mcmc", "iid"]


def diagnose(draws: xr.DataArray, sampling: Sampling = "mcmc") -> xr.Dataset:
    """Diagnostics of h per observation and unit.

    Variables over (obs, hidden): `r_hat` (rank-normalised), `ess_bulk`, `ess_tail`, `ess_active`
    (bulk ESS of the indicator h_i > 0), `mcse_mean`, `num_flips` (how often the unit switched on or
    off, all chains together) and `behaviour`: "mixes", "constant" (one value in every draw of
    every chain) or "stuck" (constant within each chain, but not the same in all). Constant units
    have no R-hat and no ESS: those are NaN there, and `status` says how many there are.

    `mcse_mean` of several chains is that of their means' spread, sqrt(s^2(chain means) / C), whose
    square is unbiased whatever the autocorrelation; of independent draws it is sd / sqrt(N).

    Args:
        draws: h, dims (chain, draw, obs, hidden).
        sampling: how they were made.

    Source: Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021.
    """
    mixing = measure_mixing(draws, sampling)
    active = draws.to_numpy() > 0
    flips = (active[:, 1:] != active[:, :-1]).sum(axis=(0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        # Ranks of an indicator are the indicator, so its bulk ESS is that of its mean.
        ess_active = np.where(flips > 0, ess_of_mean(active), np.nan)
    return xr.Dataset(
        {
            **{name: mixing[name] for name in ("r_hat", "ess_bulk", "ess_tail")},
            "ess_active": (("obs", "hidden"), ess_active),
            "mcse_mean": mixing["mcse_mean"],
            "num_flips": (("obs", "hidden"), flips),
            "behaviour": mixing["behaviour"],
        }
    )


def measure_mixing(draws: xr.DataArray, sampling: Sampling) -> xr.Dataset:
    """`r_hat`, `ess_bulk`, `ess_tail`, `mcse_mean` and `behaviour` of each variable.

    Args:
        draws: of any variable, dims (chain, draw, ...).
        sampling: how they were made.
    """
    values = draws.to_numpy()
    still = (values == values[:, :1]).all(axis=(0, 1))
    same = (values == values[:1, :1]).all(axis=(0, 1))
    behaviour = np.where(same, "constant", np.where(still, "stuck", "mixes"))
    with np.errstate(invalid="ignore", divide="ignore"):
        figures, mcse = measure_convergence(values), _mean_error(draws, sampling)
    dims = draws.dims[2:]
    found = {name: (dims, values) for name, values in figures._asdict().items()}
    found = xr.Dataset(found | {"mcse_mean": mcse}).where(xr.DataArray(~still, dims=dims))
    return found.assign(behaviour=(dims, behaviour))


@arviz_defaults()
def _mean_error(draws: xr.DataArray, sampling: Sampling) -> xr.DataArray:
    """Monte Carlo standard error of the mean, (obs, hidden)."""
    if sampling == "iid":
        num_draws = draws.sizes["chain"] * draws.sizes["draw"]
        return draws.std(("chain", "draw"), ddof=min(1, num_draws - 1)) / np.sqrt(num_draws)
    if draws.sizes["chain"] > 1:
        return draws.mean("draw").std("chain", ddof=1) / np.sqrt(draws.sizes["chain"])
    return az.mcse(draws)


def status_of(
    draws: xr.DataArray,
    diagnostics: xr.Dataset,
    *,
    num_divergences: int = 0,
    sampling: Sampling = "mcmc",
    starts_apart: bool = False,
) -> tuple[Status, str]:
    """A sampler's status and the reason in words.

    "ok" is earned: every unit that moves has R-hat <= 1.01 and bulk and tail ESS >= 400, none is
    stuck, and nothing diverged. A unit that never switches on is normal; a chain in which nothing
    moves is not, and neither one chain nor fewer draws than the ESS asked for can be checked:
    "unchecked". Where chains are known to have started apart, that they all came to rest at one
    value for some of the observations says something, and only a chain that is at rest for every
    observation is unchecked.

    Args:
        draws: h, dims (chain, draw, obs, hidden).
        diagnostics: what `diagnose` found for them.
        num_divergences: transitions of the sampler that diverged.
        sampling: "iid" where the user declares the draws independent: one chain will do, and what
            speaks against it makes them "unreliable".
        starts_apart: whether chains started from points as far apart as the prior's.
    """
    num_chains, num_draws = draws.sizes["chain"], draws.sizes["chain"] * draws.sizes["draw"]
    declared = "declared iid by the user; " if sampling == "iid" else ""
    behaviour = diagnostics["behaviour"].to_numpy()
    num_stuck, num_constant = (behaviour == "stuck").sum(), (behaviour == "constant").sum()
    never = ""
    if num_constant:
        never = f"; {num_constant} of {behaviour.size} units have one value in every draw"
    if num_stuck:
        units = "unit is" if num_stuck == 1 else "units are"
        first = _place(diagnostics["behaviour"] == "stuck")
        said = f"{num_stuck} {units} stuck at different values in different chains ({first})"
        return Status.STUCK, declared + said
    unchecked = _why_unchecked(draws, sampling, starts_apart)
    if unchecked:
        return Status.UNCHECKED, f"{declared}{unchecked}{never}"
    r_hat = float(diagnostics["r_hat"].max())
    least = xr.apply_ufunc(np.fmin, diagnostics["ess_bulk"], diagnostics["ess_tail"])
    ess = float(least.min())
    figures = f"smallest ESS {ess:.0f}{never}"
    if num_chains > 1:
        figures = f"largest R-hat {r_hat:.3f}, {figures}"
    if num_divergences:
        return Status.NOT_CONVERGED, f"{num_divergences} of the transitions diverged; {figures}"
    if sampling == "iid":
        if ess < IID_ESS_SHARE * num_draws or r_hat > R_HAT_MAX:
            return Status.UNRELIABLE, f"{declared}{num_draws} draws do not look it: {figures}"
        return Status.OK, f"{declared}{num_draws} draws{never}"
    if not (r_hat <= R_HAT_MAX and ess >= ESS_MIN):
        figures = (
            f"largest R-hat {r_hat:.3f} ({_place(diagnostics['r_hat'])}), smallest ESS {ess:.0f} "
            f"({_place(-least)}), wanted at most {R_HAT_MAX} and at least {ESS_MIN}"
        )
        return Status.NOT_CONVERGED, f"{figures}: draw more samples{never}"
    return Status.OK, figures


def _place(figure: xr.DataArray) -> str:
    """Where the largest value stands, the first of several; NaN are passed over."""
    worst = figure.fillna(-np.inf).argmax(("obs", "hidden"))
    obs, unit = (figure[dim][worst[dim]].item() for dim in ("obs", "hidden"))  # pyright: ignore[reportArgumentType]
    return f"obs {obs}, unit {unit}"


def _why_unchecked(draws: xr.DataArray, sampling: Sampling, starts_apart: bool) -> str:
    """Why there is nothing to check draws by; empty if there is something."""
    num_chains, num_draws = draws.sizes["chain"], draws.sizes["chain"] * draws.sizes["draw"]
    if num_chains == 1 and sampling != "iid":
        return "one chain: draw several, or declare independent draws as such"
    if num_draws < ESS_MIN:
        return f"{num_draws} draws, wanted at least {ESS_MIN}"
    values = draws.transpose(*H_DIMS).to_numpy()
    moves = (values != values[:, :1]).any(axis=(1, 3))  # (chain, obs)
    if not moves.any(axis=1).all():
        return "nothing moves in some chain"
    if not starts_apart and not moves.all():
        still = int((~moves).any(axis=0).sum())
        return f"nothing moves in some chain of {still} of {moves.shape[1]} observations"
    return ""
