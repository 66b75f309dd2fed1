"""How well an estimate explains x, beside draws from the posterior."""

from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from probrev.comparison.metrics.case import Case, Measured, row_of_mean, row_of_share
from probrev.comparison.metrics.family import MetricFamily
from probrev.model.layered_model import has_layered_law
from probrev.model.protocol import has_answer

# Draws of an observation: the more observations, the fewer, since figures are pooled over them.
FEWEST_DRAWS, MOST_DRAWS = 100, 400
NUM_PAIRS = 2**16  # of a draw and an observation


def likelihood(case: Case) -> Measured:
    """Log p(x | g(x)) and its rank among log p(x | h), h drawn from the posterior.

    The rank is near 0 for an estimate that explains x worse than almost every draw, and near 1 for
    one that fits noise. Empty where the model's likelihood has no closed form.
    """
    if not has_likelihood(case):
        return Measured()
    estimates = case.estimates.transpose("inverse", "obs", "hidden")
    h = np.concatenate([estimates.to_numpy(), thin_pooled(case.draws).to_numpy()])
    found = np.asarray(log_likelihoods(case.model, h, case.x.to_numpy()))
    coords = {"inverse": estimates["inverse"], "obs": estimates["obs"]}
    own = xr.DataArray(found[: len(estimates)], coords=coords)
    drawn = xr.DataArray(found[len(estimates) :], dims=("sample", "obs"))
    rank = (drawn < own).mean("sample") + 0.5 * (drawn == own).mean("sample")
    rows = []
    for name in estimates["inverse"].to_numpy():
        rows.append(row_of_mean("log_likelihood", name, own.sel(inverse=name).to_numpy()))
        rows.append(row_of_share("likelihood_rank", name, rank.sel(inverse=name).to_numpy()))
    return Measured({"log_likelihood": own, "likelihood_rank": rank}, rows)


LIKELIHOOD = MetricFamily(
    likelihood,
    {
        "log_likelihood": "log p(x | ĥ), mean over observations.",
        "likelihood_rank": "Share of posterior draws that explain x worse than the estimate: near "
        "0 it explains x worse than almost every draw, near 1 it fits noise.",
    },
)


def has_likelihood(case: Case) -> bool:
    """Whether the model's likelihood has a closed form; the model says so itself."""
    h, x = case.estimates[0].to_numpy(), case.x.to_numpy()
    return has_answer(case.model, "log_likelihood", h, x)


@jax.jit
def log_likelihoods(
    model: Any,
    h: Float[Array, "draw obs hidden"],
    x: Float[Array, "obs visible"] | Float[Array, "draw obs visible"],
) -> Float[Array, "draw obs"]:
    """Log p(x | h), draw by draw, so that memory stays that of one."""
    likelihood = model.log_likelihood
    if has_layered_law(model) and len(model.layers) == 1:
        likelihood = model.layers[0].log_likelihood_quick
    if x.ndim == 3:
        return jax.lax.map(lambda pair: likelihood(*pair), (h, x))
    return jax.lax.map(lambda one: likelihood(one, x), h)


def thin_pooled(draws: xr.DataArray) -> xr.DataArray:
    """Evenly spaced draws, 400 of up to 163 observations, and down to 100 of more."""
    num_draws = np.clip(NUM_PAIRS // draws.sizes["obs"], FEWEST_DRAWS, MOST_DRAWS)
    return thin(draws, int(num_draws))


def thin(draws: xr.DataArray, num_draws: int) -> xr.DataArray:
    """Evenly spaced draws, from all chains."""
    size = draws.sizes["sample"]
    return draws.isel(sample=np.linspace(0, size - 1, min(num_draws, size)).astype(int))
