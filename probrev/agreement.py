"""When two posteriors agree: the one definition, used by every test and report."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from probrev.posterior import Kind, Posterior


class Agreement(NamedTuple):
    """How two posteriors of the same x compare, per observation.

    Attributes:
        inclusion_excess: largest |p - q| over units, in units of its tolerance: agreement is <= 1.
        total_variation: between the supports drawn from both.
        total_variation_floor: the same between as many exact draws: what agreement looks like.
        agrees: whether every unit's inclusion probability is within its tolerance.
        inclusion_gap: largest |p - q| over units, without a tolerance: the error of an
            approximation.
    """

    inclusion_excess: xr.DataArray
    total_variation: xr.DataArray
    total_variation_floor: xr.DataArray
    agrees: xr.DataArray
    inclusion_gap: xr.DataArray


def measure_agreement(posterior: Posterior, reference: Posterior, *, seed: int = 0) -> Agreement:
    """Holds one posterior against another, on the observations that both cover.

    With p from an exact reference, ESS the smallest bulk ESS of the indicators over units, a unit
    agrees if |p_mcmc - p| <= 4 sqrt(p (1 - p) / ESS) + 2 / ESS. Two samplers: variances add, and p
    is the mean of the two. Total variation is biased upwards by noise, so it is given beside the
    value that iid draws of the same number give.

    The tolerance is that of Monte Carlo error, which an approximation's own error is not: it is
    measured by `inclusion_gap`, and an approximation is never the reference.

    Args:
        posterior: the one to judge.
        reference: exact, or another sampler.
        seed: of the resampling for the floor.

    Raises:
        ValueError: no observation in common, or the reference is an approximation.
    """
    if reference.kind is Kind.APPROXIMATE:
        raise ValueError(
            f"{reference.method} is an approximation, which no posterior can be held against: "
            "pass it first, and an exact or sampled posterior as the reference"
        )
    common = np.intersect1d(posterior.obs, reference.obs)
    if not common.size:
        raise ValueError("the two posteriors have no observation in common")
    first, second = (one.inclusion_prob.sel(obs=common) for one in (posterior, reference))
    variances, floors = [], []
    pooled = (
        second
        if reference.kind is Kind.EXACT or posterior.kind is Kind.APPROXIMATE
        else (first + second) / 2
    )
    for one in (posterior, reference):
        if one.kind is Kind.SAMPLED:
            size = effective_size(one).sel(obs=common)
            variances.append(pooled * (1 - pooled) / size)
            floors.append(2 / size)
    tolerance = 4 * np.sqrt(sum(variances)) + sum(floors) + 1e-9
    gap = xr.DataArray(np.abs(first - second))
    excess = (gap / tolerance).max("hidden")
    distance, floor = _support_distances(posterior, reference, common, seed)
    return Agreement(excess, distance, floor, excess <= 1, gap.max("hidden"))


def effective_size(posterior: Posterior) -> xr.DataArray:
    """Smallest bulk ESS of the indicators h_i > 0 over the units that flip, per observation."""
    num_draws = posterior.draws.sizes["chain"] * posterior.draws.sizes["draw"]
    size = posterior.tree["diagnostics/ess_active"].min("hidden")
    return size.fillna(num_draws).clip(max=num_draws)


def _support_distances(
    posterior: Posterior, reference: Posterior, common: np.ndarray, seed: int
) -> tuple[xr.DataArray, xr.DataArray]:
    """Total variation between drawn supports, and between two halves of the reference."""
    rng = np.random.default_rng(seed)
    distances = []
    for number in common:
        own, other = (_supports(one, number) for one in (posterior, reference))
        own, other = rng.permutation(own), rng.permutation(other)
        half = min(len(own), len(other) // 2)
        judge = other[half : 2 * half]
        distances.append([_distance(own[:half], judge), _distance(other[:half], judge)])
    own, other = np.asarray(distances).T
    coords = {"obs": common}
    return xr.DataArray(own, coords=coords), xr.DataArray(other, coords=coords)


def _supports(posterior: Posterior, number: int) -> np.ndarray:
    """The support of every draw, one scalar each."""
    active = (posterior.draws.sel(obs=number) > 0).to_numpy()
    rows = np.packbits(active.reshape(-1, active.shape[-1]), axis=1)
    return np.ascontiguousarray(rows).view(f"V{rows.shape[1]}")[:, 0]


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Total variation between the empirical laws of two equally long lists."""
    _, code = np.unique(np.concatenate([first, second]), return_inverse=True)
    counts = [np.bincount(part, minlength=code.max() + 1) for part in np.split(code, 2)]
    return float(np.abs(counts[0] - counts[1]).sum() / (2 * len(first)))
