"""How far the samples of a random inverse are from the posterior, as laws on R^m."""

from collections.abc import Callable

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.spatial.distance import cdist, pdist

from probrev.comparison.metrics.case import (
    POSTERIOR,
    Case,
    Measured,
    Row,
    row_of_mean,
    row_of_ratio,
)
from probrev.comparison.metrics.family import MetricFamily
from probrev.comparison.metrics.likelihood import thin
from probrev.comparison.metrics.risk import RISK

NUM_DIRECTIONS = 100

Samples = Float[np.ndarray, "sample hidden"]


def distance(case: Case) -> Measured:
    """Energy and sliced Wasserstein distance of samples to draws, and the ratio of their spreads.

    The draws are cut into two halves (different chains where there are several), each thinned
    evenly to as many draws as there are samples, fewer if there are not as many. The samples are
    held against the first half, and so is the second half, under the name "posterior": neither
    distance has a natural zero, since finite samples of one law differ, but with equal sizes this
    bias is the same for the halves as for a perfect sampler. It falls as 1 / sqrt(n) with their
    number n, an attribute of the arrays, and correlation of the draws raises it.

    `spread_ratio` is sqrt(total variance of the samples / total variance of the first half), the
    total variance being summed over units, pooled over observations. Where there is a truth,
    `relative_risk` is that of the mean over samples, which is an estimate; Monte Carlo error, their
    total variance over their number, is in it. Empty where no inverse is random, or draws are few.
    """
    if case.samples is None:
        return Measured()
    draws = case.draws.sel(obs=case.samples["obs"])
    half = draws.sizes["sample"] // 2
    if half < 2:
        return Measured()
    size = min(case.samples.sizes["sample"], half)
    samples = case.samples.isel(sample=slice(size))
    first, second = (
        _by_obs(thin(draws.isel(sample=slice(start, start + half)), size)) for start in (0, half)
    )
    samplers = [*map(_by_obs, samples), second]
    coords = {"sampler": [*samples["sampler"].to_numpy(), POSTERIOR], "obs": samples["obs"]}
    directions = random_directions(case.rng("distance/directions"), first.shape[-1])
    own, variance = [_total_variance(one) for one in samplers], _total_variance(first)
    found = {
        "energy_distance": [_each(energy_distance, one, first) for one in samplers],
        "sliced_wasserstein": [
            _each(sliced_wasserstein, one, first, directions) for one in samplers
        ],
        "spread_ratio": np.sqrt(_divide(own, variance)),
    }
    arrays = {
        name: xr.DataArray(np.asarray(values), coords, attrs={"num_samples": size})
        for name, values in found.items()
    }
    rows = _risks(case, samples)
    for index, name in enumerate(coords["sampler"]):
        rows += [
            row_of_mean(metric, name, arrays[metric][index].to_numpy())
            for metric in ("energy_distance", "sliced_wasserstein")
        ]
        rows.append(_row_of_spread(name, own[index], variance, case.seed))
    return Measured(arrays, rows)


DISTANCE = MetricFamily(
    distance,
    {
        "relative_risk": RISK.sentences["relative_risk"],
        "energy_distance": "√(2 E‖h̃ − h‖ − E‖h̃ − h̃′‖ − E‖h − h′‖), h̃ samples of a random "
        "inverse and h draws of the posterior, in units of h; mean over observations. Finite "
        "samples of one law are not at 0: of “posterior” it is the same between two halves of its "
        "own draws.",
        "sliced_wasserstein": "Mean Wasserstein-1 distance of the same, projected onto random "
        "directions, in units of h; to be held against “posterior” too.",
        "spread_ratio": "Spread of the samples over that of the posterior: root of the ratio of "
        "total variances, pooled over observations. Of “posterior”: of two halves of its draws.",
    },
)


def energy_distance(first: Samples, second: Samples) -> float:
    """Sqrt(2 E|X - Y| - E|X - X'| - E|Y - Y'|) between two empirical laws, in units of h.

    A V-statistic: means are over all pairs, a point with itself among them. So it is never
    negative, in one dimension it is `scipy.stats.energy_distance`, and for samples of one law its
    square is (1 / n + 1 / k) E|X - X'| in expectation, n and k their sizes.

    Source: Székely and Rizzo 2013, Energy statistics; the square root as SciPy takes it.
    """
    squared = 2 * cdist(first, second).mean() - _dispersion(first) - _dispersion(second)
    return float(np.sqrt(max(squared, 0.0)))


def sliced_wasserstein(
    first: Samples, second: Samples, directions: Float[np.ndarray, "direction hidden"]
) -> float:
    """Wasserstein-1 distance of projections, averaged over directions, in units of h.

    Args:
        first: samples.
        second: as many samples.
        directions: unit vectors.

    Source: Bonneel, Rabin, Peyré and Pfister 2015, with exponent 1.
    """
    sorted_first, sorted_second = (np.sort(directions @ one.T) for one in (first, second))
    return float(np.abs(sorted_first - sorted_second).mean())


def random_directions(
    rng: np.random.Generator, n_hidden: int
) -> Float[np.ndarray, "direction hidden"]:
    """Unit vectors, uniform on the sphere."""
    normal = rng.normal(size=(NUM_DIRECTIONS, n_hidden))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def _by_obs(samples: xr.DataArray) -> Float[np.ndarray, "obs sample hidden"]:
    return samples.transpose("obs", "sample", "hidden").to_numpy()


def _each(statistic: Callable[..., float], samples: np.ndarray, draws: np.ndarray, *rest) -> list:
    """A statistic, observation by observation, so that memory stays that of one."""
    return [statistic(*pair, *rest) for pair in zip(samples, draws, strict=True)]


def _divide(above: list[np.ndarray], below: np.ndarray) -> np.ndarray:
    """A ratio; NaN where the posterior is a point."""
    ratio = np.full((len(above), len(below)), np.nan)
    return np.divide(above, below, out=ratio, where=below > 0)


def _dispersion(samples: Samples) -> float:
    """E|X - X'| over all ordered pairs."""
    return 2 * float(pdist(samples).sum()) / len(samples) ** 2


def _total_variance(samples: Float[np.ndarray, "obs sample hidden"]) -> np.ndarray:
    """Summed over units; of a point exactly 0, which its mean, rounded, would not give."""
    return (samples - samples[:, :1]).var(1, ddof=1).sum(-1)


def _row_of_spread(name: str, own: np.ndarray, variance: np.ndarray, seed: int) -> Row:
    """The root of a ratio of variances; its standard error by the delta method."""
    squared = row_of_ratio("spread_ratio", name, own, variance, seed)
    value, low, high = np.sqrt([squared.value, squared.low, squared.high])
    std_error = squared.std_error / (2 * value) if value > 0 else squared.std_error
    return Row("spread_ratio", name, float(value), float(std_error), float(low), float(high))


def _risks(case: Case, samples: xr.DataArray) -> list[Row]:
    """Relative risk of the mean of each sampler's samples."""
    if case.truth is None:
        return []
    truth = case.truth.sel(obs=samples["obs"])
    energy = (truth**2).sum("hidden").to_numpy()
    error = ((samples.mean("sample") - truth) ** 2).sum("hidden")
    return [
        row_of_ratio("relative_risk", name, error.sel(sampler=name).to_numpy(), energy, case.seed)
        for name in error["sampler"].to_numpy()
    ]
