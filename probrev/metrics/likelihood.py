"""How well an estimate explains x, beside draws from the posterior."""

import jax
import numpy as np
import xarray as xr

from probrev.metrics.case import Case, Measured, row_of_mean

NUM_DRAWS = 400


def likelihood(case: Case) -> Measured:
    """log p(x | g(x)) and its rank among log p(x | h), h drawn from the posterior.

    The rank is near 0 for an estimate that explains x worse than almost every draw, and near 1 for
    one that fits noise. Empty where the model's likelihood has no closed form.
    """
    log_likelihood = likelihood_of(case)
    if log_likelihood is None:
        return Measured()
    estimates = case.estimates.transpose("inverse", "obs", "hidden")
    own = xr.DataArray(
        log_likelihood(estimates.to_numpy()),
        coords={"inverse": estimates["inverse"], "obs": estimates["obs"]},
    )
    drawn = xr.DataArray(log_likelihood(thin(case.draws).to_numpy()), dims=("sample", "obs"))
    rank = (drawn < own).mean("sample") + 0.5 * (drawn == own).mean("sample")
    rows = []
    for name in estimates["inverse"].to_numpy():
        rows.append(row_of_mean("log_likelihood", name, own.sel(inverse=name).to_numpy()))
        rows.append(row_of_mean("likelihood_rank", name, rank.sel(inverse=name).to_numpy()))
    return Measured({"log_likelihood": own, "likelihood_rank": rank}, rows)


def likelihood_of(case: Case):
    """h (k, obs, hidden) -> log p(x | h) (k, obs), or None where the model has no closed form."""
    x = np.asarray(case.x)

    @jax.jit
    def per_draw(h):
        return jax.lax.map(lambda one: case.model.log_likelihood(one, x), h)

    try:
        per_draw(np.asarray(case.estimates)[:1])
    except ValueError:
        return None
    return lambda h: np.asarray(per_draw(h))


def thin(draws: xr.DataArray, num_draws: int = NUM_DRAWS) -> xr.DataArray:
    """Evenly spaced draws, from all chains."""
    size = draws.sizes["sample"]
    return draws.isel(sample=np.linspace(0, size - 1, min(num_draws, size)).astype(int))
