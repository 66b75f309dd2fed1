"""Rank plots of a sampler's worst units."""

import arviz as az
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from probrev.comparison.comparison import Comparison
from probrev.plumbing.arviz_defaults import arviz_defaults
from probrev.posterior.diagnostics import ESS_MIN, R_HAT_MAX
from probrev.posterior.posterior import Posterior
from probrev.report.plots.canvas import WIDTH, figure_of, styled

NUM_UNITS, COLUMNS = 4, 2
MAX_DRAWS = 250


@styled
@arviz_defaults()
def plot_ranks(result: Comparison, posterior: str, num_units: int = NUM_UNITS) -> Figure:
    """Δ-ECDF of the ranks of each chain, for the units that mix worst.

    Equal draws (at the atom, or of a finite slab) are ranked at random among themselves, or every
    chain would seem off. At most 250 evenly spaced draws of a chain are ranked.

    Args:
        result: a comparison.
        posterior: name of a sampler's posterior, with a unit that is not constant.
        num_units: how many units to show.

    Source: ArviZ's `plot_rank`.
    """
    draws = worst_units(result.posteriors[posterior], num_units)
    size = draws.sizes["draw"]
    draws = draws.isel(draw=np.linspace(0, size - 1, min(size, MAX_DRAWS)).astype(int))
    height = 3.8 if draws.sizes["unit"] > COLUMNS else 2.2
    ranks = draws.copy(data=_untied_ranks(draws.to_numpy()))
    collection = az.plot_rank(
        xr.DataTree.from_dict({"posterior": ranks.to_dataset(name="h")}),
        backend="matplotlib", figure_kwargs={"figsize": (WIDTH, height)},
        col_wrap=COLUMNS,
        visuals={"xlabel": {"text": "rank among all chains"}},
        labeller=_Units(),
    )  # fmt: skip
    return figure_of(collection)


def _untied_ranks(draws: np.ndarray) -> np.ndarray:
    """Rank of each draw of a unit among all its chains, ties broken at random."""
    flat = draws.reshape(-1, draws.shape[-1])
    order = np.lexsort((np.random.default_rng(0).random(flat.shape), flat), axis=0)
    return np.argsort(order, axis=0).reshape(draws.shape)


class _Units(az.labels.BaseLabeller):
    """Titles that are the unit's own name."""

    def make_label_vert(self, var_name, sel, isel):
        return str(sel["unit"])


def worst_units(posterior: Posterior, num_units: int) -> xr.DataArray:
    """Draws of the units with the lowest ESS or the highest R-hat, (chain, draw, unit).

    Constant units have neither and are left out; stuck ones come first.

    Args:
        posterior: a sampler's.
        num_units: how many at most.
    """
    found = posterior.tree["diagnostics"].to_dataset()
    r_hat, bulk, tail = (found[name].to_numpy() for name in ("r_hat", "ess_bulk", "ess_tail"))
    # 1 where a sampler stops being trusted, be it for its R-hat or for its ESS.
    badness = np.maximum((r_hat - 1) / (R_HAT_MAX - 1), ESS_MIN / np.minimum(bulk, tail))
    badness = np.where(found["behaviour"].to_numpy() == "stuck", np.inf, badness).ravel()
    # NaN, a constant unit, is sorted last.
    order = np.argsort(-badness, kind="stable")[: min(num_units, (~np.isnan(badness)).sum())]
    obs, hidden = np.unravel_index(order, r_hat.shape)
    names = [f"obs {posterior.obs[i]}, unit {j}" for i, j in zip(obs, hidden, strict=True)]
    picked = posterior.draws.isel(
        obs=xr.DataArray(obs, dims="unit"), hidden=xr.DataArray(hidden, dims="unit")
    )
    return picked.drop_vars(("obs", "hidden"), errors="ignore").assign_coords(unit=names)
