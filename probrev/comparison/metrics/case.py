"""One posterior, the estimates to hold against it, and the shape of what comes out."""

import math
import re
import warnings
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.stats import DegenerateDataWarning, bootstrap, norm

from probrev.model.observations import Observations, Origin
from probrev.model.protocol import Model
from probrev.plumbing.readable import readable
from probrev.plumbing.streams import generator
from probrev.posterior.posterior import Posterior

# What is named: inverses, posteriors, metrics. Tables and files hold such names.
NAME = re.compile(r"[A-Za-z0-9_-]+")
# Label of rows that are about the posterior itself.
POSTERIOR = "posterior"
INTERVAL_PROB = 0.95
BOOTSTRAP_ELEMENTS = 2**22  # resampled at a time, so that memory is bounded


@readable
@dataclass(frozen=True)
class Case:
    """A posterior and what to compare with it, on the observations that the posterior covers.

    Attributes:
        posterior: the posterior.
        estimates: the inverses' estimates of h, (inverse, obs, hidden).
        truth: the h that made x, (obs, hidden), or None for real data.
        x: observations, (obs, visible).
        model: the model the posterior was computed under.
        seed: seed of whatever is random in a metric: ties, bootstrap, predictive draws, directions.
        samples: of every random inverse, (sampler, sample, obs, hidden); None without any.
        origin: where x and the truth come from, as seen from the model.
        interval_prob: probability of the intervals that verdicts are made of.
    """

    posterior: Posterior
    estimates: xr.DataArray
    truth: xr.DataArray | None
    x: xr.DataArray
    model: Model
    seed: int
    samples: xr.DataArray | None = None
    origin: Origin = Origin.ELSEWHERE
    interval_prob: float = INTERVAL_PROB

    @property
    def draws(self) -> xr.DataArray:
        """Draws of h, (sample, obs, hidden)."""
        stacked = self.posterior.draws.stack(sample=("chain", "draw"), create_index=False)
        return stacked.transpose("sample", "obs", "hidden")

    @property
    def has_atom(self) -> bool:
        """Whether the posterior puts mass on h_i = 0 and none below, so that it has a support."""
        draws = self.posterior.draws
        return bool((draws == 0).any()) and not bool((draws < 0).any())

    def rng(self, use: str) -> np.random.Generator:
        """The generator of one use, named "family/use"."""
        return generator(self.seed, use)


def make_case(
    model: Model,
    obs: Observations,
    estimates: xr.DataArray,
    posterior: Posterior,
    seed: int,
    interval_prob: float = INTERVAL_PROB,
) -> Case:
    """One posterior and what to hold against it, on the observations that it covers."""
    numbers = posterior.obs
    truth = None
    if obs.h is not None:
        truth = xr.DataArray(np.asarray(obs.h), dims=("obs", "hidden")).isel(obs=numbers)
        truth = truth.assign_coords(obs=numbers)
    own = model if posterior.model is None else posterior.model
    return Case(
        posterior=posterior,
        estimates=estimates.sel(obs=numbers),
        truth=truth,
        x=xr.DataArray(np.asarray(obs.x)[numbers], dims=("obs", "visible")),
        model=own,
        seed=seed,
        origin=obs.origin_under(own),
        interval_prob=interval_prob,
    )


@readable
class Row(NamedTuple):
    """One line of the summary table.

    Attributes:
        metric: what is measured.
        subject: name of the inverse, random or not, or "posterior".
        value: the figure, pooled over observations.
        std_error: its standard error; NaN where it has none.
        low: lower end of its interval: 95 %, of `risk_ratio` the one asked for.
        high: upper end.
    """

    metric: str
    subject: str
    value: float
    std_error: float = np.nan
    low: float = np.nan
    high: float = np.nan


@readable
@dataclass(frozen=True)
class Measured:
    """What a family found.

    Attributes:
        arrays: by name: per observation, unit, ...; kept beside the table.
        rows: of the table.
    """

    arrays: dict[str, xr.DataArray] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    def __or__(self, other: "Measured") -> "Measured":
        """Both."""
        return Measured(self.arrays | other.arrays, self.rows + other.rows)


def row_of_mean(metric: str, subject: str, values: np.ndarray) -> Row:
    """A row for the mean over observations, with its standard error and a normal interval."""
    values = np.asarray(values, dtype=float)
    mean = float(values.mean())
    std_error = float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else np.nan
    return Row(metric, subject, mean, std_error, mean - 1.96 * std_error, mean + 1.96 * std_error)


def row_of_share(metric: str, subject: str, values: np.ndarray) -> Row:
    """A row for the mean of values in [0, 1], with an interval that stays inside.

    Wilson's score interval, for as many yes-or-no answers as would have the values' standard error,
    which for values of 0 and 1 is their number; where all are equal it is their number too.

    Source: Wilson 1927; an effective number of answers as in Korn and Graubard 1998.
    """
    values = np.asarray(values, dtype=float)
    mean, size = float(values.mean()), float(values.size)
    if size < 2:
        return Row(metric, subject, mean)
    std_error = float(values.std(ddof=1) / np.sqrt(size))
    # Rounding may put a mean of equal values a hair outside.
    share = min(max(mean, 0.0), 1.0)
    if 0 < share < 1 and std_error > 0:
        size = share * (1 - share) / (std_error**2 * (size - 1) / size)
    z = float(norm.ppf((1 + INTERVAL_PROB) / 2))
    center = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * math.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    low, high = max(0.0, center - half), min(1.0, center + half)
    return Row(metric, subject, mean, std_error, min(low, mean), max(high, mean))


def row_of_ratio(
    metric: str,
    subject: str,
    numerator: np.ndarray,
    denominator: np.ndarray,
    seed: int,
    num_resamples: int = 4000,
) -> Row:
    """A row for sum(numerator) / sum(denominator), with a paired bootstrap over observations.

    Args:
        metric: name of the row.
        subject: whom it is about.
        numerator: one number per observation.
        denominator: the same observations' other number.
        seed: of the resampling.
        num_resamples: bootstrap resamples.
    """
    size = len(numerator)
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        value = float(np.sum(numerator) / np.sum(denominator))
        if size == 1:
            return Row(metric, subject, value)
        found = bootstrap(
            (numerator, denominator),
            lambda top, bottom, axis: top.sum(axis) / bottom.sum(axis),
            paired=True,
            n_resamples=num_resamples,
            batch=max(1, BOOTSTRAP_ELEMENTS // size),
            confidence_level=INTERVAL_PROB,
            method="percentile",
            rng=generator(seed, f"bootstrap/{metric}/{subject}"),
        )
    interval = found.confidence_interval
    if not np.all(np.isfinite(interval)):
        return Row(metric, subject, value)
    return Row(metric, subject, value, float(found.standard_error), *map(float, interval))
