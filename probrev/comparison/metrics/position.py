"""Where an estimate, or the truth, lies within the posterior of each unit."""

import arviz as az
import numpy as np
import xarray as xr

from probrev.comparison.metrics.case import POSTERIOR, Case, Measured, row_of_share
from probrev.comparison.metrics.family import MetricFamily
from probrev.plumbing.arviz_defaults import arviz_defaults

CREDIBLE_PROB = 0.9


@arviz_defaults()
def position(case: Case) -> Measured:
    """Randomised PIT, z-score, and shares inside the central 90 % interval of each unit.

    Ties at the atom are broken at random, so that the PIT of the truth is uniform. Central
    intervals over-cover at an atom, so `truth_in_interval` is to be held against
    `interval_mass`, the posterior's own mass in the same intervals, not against 90 %.
    """
    interval = az.eti(case.posterior.draws, prob=CREDIBLE_PROB, dim=["chain", "draw"])
    low, high = (interval.isel(ci_bound=bound, drop=True) for bound in (0, 1))
    rng = case.rng("position/ties")
    spread = np.sqrt(case.posterior.var)
    # A unit whose posterior is a point has no z-score.
    zscore = ((case.estimates - case.posterior.mean) / spread).where(spread > 0)
    pits = [randomized_pit(case.draws, estimate, rng) for estimate in case.estimates]
    inside = (case.estimates >= low) & (case.estimates <= high)
    arrays = {
        "interval_low": low,
        "interval_high": high,
        "zscore": zscore,
        "pit": xr.concat(pits, dim=case.estimates["inverse"]),
    }
    rows = [
        row_of_share("inside_interval", name, inside.sel(inverse=name).mean("hidden").to_numpy())
        for name in case.estimates["inverse"].to_numpy()
    ]
    mass = ((case.draws >= low) & (case.draws <= high)).mean(("sample", "hidden"))
    rows.append(row_of_share("interval_mass", POSTERIOR, mass.to_numpy()))
    if case.truth is not None:
        covered = ((case.truth >= low) & (case.truth <= high)).mean("hidden")
        arrays["truth_pit"] = randomized_pit(case.draws, case.truth, rng)
        rows.append(row_of_share("truth_in_interval", POSTERIOR, covered.to_numpy()))
    return Measured(arrays, rows)


POSITION = MetricFamily(
    position,
    {
        "inside_interval": "Share of an estimate's units inside the posterior's central 90 % "
        "interval.",
        "interval_mass": "The posterior's own mass in its central 90 % intervals: more than 90 % "
        "where an interval ends on the atom at 0.",
        "truth_in_interval": "Share of true units inside the 90 % intervals; to be held against "
        "interval_mass, not against 90 %.",
    },
)


def randomized_pit(
    draws: xr.DataArray, value: xr.DataArray, rng: np.random.Generator
) -> xr.DataArray:
    """Rank of a value among draws, ties broken at random, as a number in (0, 1).

    Args:
        draws: (sample, obs, hidden).
        value: (obs, hidden).
        rng: for the ties.
    """
    less, equal = (draws < value).sum("sample"), (draws == value).sum("sample")
    uniform = xr.DataArray(rng.uniform(size=less.shape), dims=less.dims)
    return (less + uniform * (equal + 1)) / (draws.sizes["sample"] + 1)
