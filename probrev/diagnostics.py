"""Convergence diagnostics that know about units which never switch on, or are stuck.

ArviZ's R-hat is NaN on a constant chain, and chains stuck at different constants pass
`az.diagnose`. Here every unit is first told apart by what it did, then diagnosed.
"""

import arviz as az
import numpy as np
import xarray as xr

H_DIMS = ("chain", "draw", "obs", "hidden")
R_HAT_MAX = 1.01
ESS_MIN = 400


def diagnose(draws: xr.DataArray) -> xr.Dataset:
    """Diagnostics of h per observation and unit.

    Variables over (obs, hidden): `r_hat` (rank-normalised), `ess_bulk`, `ess_tail`, `ess_active`
    (bulk ESS of the indicator h_i > 0), `mcse_mean`, `num_flips` (how often the unit switched on or
    off, all chains together) and `behaviour`: "mixes", "constant" (one value in every draw of
    every chain) or "stuck" (constant within each chain, but not the same in all). Constant units
    have no R-hat and no ESS: those are NaN there, and `status` says how many there are.

    Args:
        draws: h, dims (chain, draw, obs, hidden).

    Source: Vehtari, Gelman, Simpson, Carpenter and Bürkner 2021, through ArviZ.
    """
    values = draws.to_numpy()
    active = draws.copy(data=(values > 0).astype(np.int64))
    flips = np.abs(np.diff(active.to_numpy(), axis=1)).sum(axis=(0, 1))
    still = (values == values[:, :1]).all(axis=(0, 1))
    same = (values == values[:1, :1]).all(axis=(0, 1))
    behaviour = np.where(same, "constant", np.where(still, "stuck", "mixes"))
    with np.errstate(invalid="ignore", divide="ignore"):
        r_hat, mcse = az.rhat(draws), az.mcse(draws)
        bulk, tail = az.ess(draws, method="bulk"), az.ess(draws, method="tail")
        # Ranks of an indicator are the indicator, so its bulk ESS is that of its mean.
        ess_active = az.ess(active, method="mean")
    moving = xr.DataArray(~still, dims=("obs", "hidden"))
    return xr.Dataset(
        {
            "r_hat": r_hat.where(moving),
            "ess_bulk": bulk.where(moving),
            "ess_tail": tail.where(moving),
            "ess_active": ess_active.where(xr.DataArray(flips > 0, dims=("obs", "hidden"))),
            "mcse_mean": mcse.where(moving),
            "num_flips": (("obs", "hidden"), flips),
            "behaviour": (("obs", "hidden"), behaviour),
        }
    )


def status_of(diagnostics: xr.Dataset, num_divergences: int = 0) -> tuple[str, str]:
    """A sampler's status and the reason in words.

    Returns:
        ("ok" | "stuck" | "not converged", reason). "ok" asks that every unit that moves has
        R-hat <= 1.01 and bulk and tail ESS >= 400, that none is stuck, and no divergence.
    """
    behaviour = diagnostics["behaviour"].to_numpy()
    num_stuck, num_constant = (behaviour == "stuck").sum(), (behaviour == "constant").sum()
    moving = behaviour == "mixes"
    never = f"; {num_constant} of {behaviour.size} units never moved" if num_constant else ""
    if num_stuck:
        units = "unit is" if num_stuck == 1 else "units are"
        return "stuck", f"{num_stuck} {units} stuck at different values in different chains"
    if not moving.any():
        return "ok", f"every unit has one value in every draw of every chain{never}"
    r_hat = float(diagnostics["r_hat"].max())
    ess = float(min(diagnostics["ess_bulk"].min(), diagnostics["ess_tail"].min()))
    figures = f"largest R-hat {r_hat:.3f}, smallest ESS {ess:.0f}"
    if num_divergences:
        return "not converged", f"{num_divergences} of the transitions diverged; {figures}{never}"
    if not (r_hat <= R_HAT_MAX and ess >= ESS_MIN):
        wanted = f"wanted at most {R_HAT_MAX} and at least {ESS_MIN}"
        return "not converged", f"{figures} ({wanted}): draw more samples{never}"
    return "ok", figures + never
