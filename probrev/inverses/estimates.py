"""What inverses return: estimates of h, checked, and the samples of random ones."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.model.observations import Observations
from probrev.model.protocol import Model, check_obs
from probrev.plumbing.arrays import check_real
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import stream

# x (obs, visible) -> h (obs, hidden).
Inverse = Callable[[Array], ArrayLike]
# x (obs, visible) and a key -> one random h (obs, hidden).
RandomInverse = Callable[[Array, PRNGKeyArray], ArrayLike]

# Samples of a random inverse per observation. Distances cost the square of it.
NUM_SAMPLES = 500
# A call is timed so often, or until that took so long.
TIMED_CALLS, TIMED_SECONDS = 5, 1.0


class Estimates(NamedTuple):
    """What inverses made of observations.

    Attributes:
        h: (inverse, obs, hidden).
        seconds_per_obs: of each inverse, compilation left out, (inverse,).
    """

    h: xr.DataArray
    seconds_per_obs: Float[np.ndarray, " inverse"]


def run_inverses(model: Model, obs: Observations, inverses: Mapping[str, Inverse]) -> Estimates:
    """Every inverse's estimates, and how long it takes.

    Args:
        model: the model of x.
        obs: observations.
        inverses: by name, callables x -> h.

    Raises:
        ValueError: x or what an inverse returns does not fit the model, or is not finite.
    """
    h = estimate(model, obs, inverses)
    return Estimates(h, np.array([_seconds_per_obs(one, obs) for one in inverses.values()]))


def estimate(model: Model, obs: Observations, inverses: Mapping[str, Inverse]) -> xr.DataArray:
    """Every inverse's estimates, (inverse, obs, hidden); see `run_inverses`."""
    check_obs(model, obs)
    h = [as_estimate(name, inverse(obs.x), model, obs) for name, inverse in inverses.items()]
    coords = {
        "inverse": list(inverses),
        "obs": np.arange(obs.num_obs),
        "hidden": np.arange(model.n_hidden),
    }
    return xr.DataArray(np.stack(h), coords=coords)


def _seconds_per_obs(inverse: Inverse, obs: Observations) -> float:
    """Median time of a call that has been made before, so without compilation."""
    times = []
    while len(times) < TIMED_CALLS and sum(times) < TIMED_SECONDS:
        start = time.perf_counter()
        jax.block_until_ready(inverse(obs.x))
        times.append(time.perf_counter() - start)
    return float(np.median(times)) / obs.num_obs


def sample_inverses(
    seed: int, model: Model, obs: Observations, inverses: Mapping[str, RandomInverse]
) -> xr.DataArray:
    """Independent samples of every random inverse, (sampler, sample, obs, hidden).

    Args:
        seed: of the keys; each call of an inverse gets one of its own.
        model: the model of x.
        obs: observations.
        inverses: by name, callables (x, key) -> h.

    Raises:
        ValueError: what an inverse returns is not (num_obs, n_hidden), or not finite.
    """
    samples = np.empty((len(inverses), NUM_SAMPLES, obs.num_obs, model.n_hidden))
    for index, (name, inverse) in enumerate(inverses.items()):
        keys = jax.random.split(stream(seed, f"samples/{name}"), NUM_SAMPLES)
        for number, key in enumerate(keys):
            samples[index, number] = as_estimate(name, inverse(obs.x, key), model, obs)
    coords = {"sampler": list(inverses), "obs": np.arange(obs.num_obs)}
    return xr.DataArray(samples, coords, dims=("sampler", "sample", "obs", "hidden"))


def summarize_samples(samples: xr.DataArray) -> xr.Dataset:
    """Mean and standard deviation of every random inverse's samples, (sampler, obs, hidden)."""
    mean, std = samples.mean("sample"), samples.std("sample", ddof=1)
    return xr.Dataset({"mean": mean, "std": std}, attrs={"num_samples": samples.sizes["sample"]})


def as_estimate(
    name: str, returned: Any, model: Model, obs: Observations
) -> Float[np.ndarray, "obs hidden"]:
    """What an inverse returned, as an array.

    Args:
        name: name of the inverse.
        returned: its output for `obs.x`.
        model: the model of x.
        obs: observations.

    Raises:
        ValueError: its shape is not (num_obs, n_hidden), or it is not finite.
    """
    check_real(f"what inverse {name!r} returns", returned)
    estimate = np.array(returned, dtype=float)  # an inverse may use its array again
    wanted = (obs.num_obs, model.n_hidden)
    if estimate.shape != wanted:
        raise Refusal(
            f"inverse {name!r} must return h of shape (num_obs, n_hidden) = {wanted}; "
            f"got {estimate.shape}"
        )
    if not np.all(np.isfinite(estimate)):
        raise Refusal(f"inverse {name!r} returned NaN or infinity")
    return estimate
