"""One batch of simulations: h and x drawn, posteriors of all x at once, ranks of h in them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float, PRNGKeyArray

from probrev.calibration.quantities import OwnQuantity, Quantity, measure_quantities
from probrev.calibration.ranks import rank, thinning
from probrev.inference.starts import compare_starts
from probrev.inverses.estimates import RandomInverse, sample_inverses
from probrev.model.observations import Observations
from probrev.model.protocol import Model, simulate
from probrev.plumbing.refusal import Refusal, TypeRefusal
from probrev.plumbing.streams import stream
from probrev.posterior.diagnostics import status_of
from probrev.posterior.posterior import Kind, Posterior
from probrev.posterior.status import Status

# (key, model, obs) -> the posteriors of these observations.
Method = Callable[[PRNGKeyArray, Any, Observations], Posterior]
# What samples of random inverses are measured from.
REFERENCES = ("a random draw", "the mean")


class Subject(NamedTuple):
    """What is checked.

    Attributes:
        model: the model of the posteriors.
        method: what computes them, blind to h.
        simulate_from: the model that h and x are drawn from.
        from_truth: the same method, its chains started at the h and sites of its observations;
            None where there is no such.
        quantities: the user's own, by name.
        random_inverses: callables (x, key) -> h, by name.
    """

    model: Model
    method: Method
    simulate_from: Model
    from_truth: Method | None
    quantities: Mapping[str, OwnQuantity]
    random_inverses: Mapping[str, RandomInverse]


def simulate_batch(
    subject: Subject, key: PRNGKeyArray, num_obs: int, *, with_starts: bool
) -> xr.Dataset:
    """Simulates, infers and ranks, each simulation independent of all others.

    Args:
        subject: what is checked.
        key: of this batch.
        num_obs: simulations in it.
        with_starts: whether to hold chains from the truth against blind ones too.

    Returns:
        Over `simulation`: `rank` (quantity), `varies` (quantity; whether draws or truth differ),
        `num_draws` that the truth was ranked among, `status` with its `reason`, `claimed_risk`
        and `actual_risk` of the posterior mean, `inverse_rank` (inverse, reference): ranks of the
        distance from each of `REFERENCES`. Attributes: seconds, and what `compare_starts` found.

    Raises:
        ValueError: the method does not return posteriors of all observations, or what it refuses.
        TypeError: it returns something else.
    """
    obs = simulate(subject.simulate_from, stream(key, "simulate"), num_obs)
    model = subject.model
    # The method is not told what made x.
    posterior = subject.method(stream(key, "posterior"), model, Observations(obs.x))
    _check(posterior, obs)
    references = simulate(subject.simulate_from, stream(key, "references"), num_obs)
    centers = np.asarray(references.h), posterior.mean.to_numpy()
    found = measure_quantities(model, obs, posterior, centers[0], subject.quantities)
    steps = np.ones(num_obs, dtype=int)
    if posterior.sampling != "iid":
        steps = thinning([one.values for one in found])
    chains, draws = found[0].values.shape[:2]
    status = _status(posterior)
    claimed, actual = _risks(posterior, np.asarray(obs.h))
    table = xr.Dataset(
        {
            "rank": (("simulation", "quantity"), _ranks(key, found, steps)),
            "varies": (("simulation", "quantity"), np.stack([_varies(q) for q in found], -1)),
            "num_draws": ("simulation", chains * -(-draws // steps)),
            "status": ("simulation", [str(word) for word, _ in status]),
            "reason": ("simulation", [reason for _, reason in status]),
            "claimed_risk": ("simulation", claimed),
            "actual_risk": ("simulation", actual),
            "inverse_rank": (
                ("simulation", "inverse", "reference"), _inverse_ranks(key, subject, obs, centers)
            ),
        },
        coords={
            "quantity": [one.name for one in found],
            "family": ("quantity", [str(one.family) for one in found]),
            "inverse": np.array(list(subject.random_inverses), dtype=str),
            "reference": list(REFERENCES),
        },
    )  # fmt: skip
    names = ("run_seconds", "compile_seconds")
    table.attrs = {name: float(posterior.tree.attrs.get(name, np.nan)) for name in names}
    if with_starts and subject.from_truth is not None:
        table.attrs |= compare_starts(
            stream(key, "starts"), model, obs, posterior, subject.from_truth
        )
    return table


def _check(posterior: Any, obs: Observations) -> None:
    if not isinstance(posterior, Posterior):
        raise TypeRefusal(
            "method must return a probrev.Posterior, such as probrev.from_draws makes; got "
            f"{type(posterior).__name__}"
        )
    if list(posterior.obs) != list(range(obs.num_obs)):
        raise Refusal(
            f"method must return posteriors of all {obs.num_obs} observations that it is given, in "
            f"their order; got {len(posterior.obs)}"
        )
    assert obs.h is not None
    if posterior.draws.sizes["hidden"] != obs.h.shape[1]:
        raise Refusal(
            f"method must return draws of all {obs.h.shape[1]} hidden units; got "
            f"{posterior.draws.sizes['hidden']}"
        )


def _ranks(
    key: PRNGKeyArray, found: list[Quantity], steps: np.ndarray
) -> Float[np.ndarray, "simulation quantity"]:
    columns = [rank(stream(key, f"ties/{one.name}"), one.truth, one.values, steps) for one in found]
    return np.stack(columns, axis=-1)


def _varies(quantity: Quantity) -> np.ndarray:
    return (quantity.values != quantity.truth).any((0, 1))


def _status(posterior: Posterior) -> list[tuple[Status, str]]:
    """The status of each observation's draws; of what is no sampler's that of all."""
    overall = posterior.status, posterior.status_reason
    if posterior.kind is not Kind.SAMPLED:
        return [overall] * len(posterior.obs)
    attrs, diagnostics = posterior.tree.attrs, posterior.tree["diagnostics"].to_dataset()
    diverging = np.zeros(len(posterior.obs), dtype=int)
    if "sample_stats" in posterior.tree:
        stats = posterior.tree["sample_stats"].to_dataset()
        if "diverging" in stats:
            diverging = stats["diverging"].sum(("chain", "draw")).to_numpy()
    apart = bool(attrs.get("starts_apart", False))
    found = []
    for index in range(len(posterior.obs)):
        own = diagnostics.isel(obs=[index])
        one = status_of(
            posterior.draws.isel(obs=[index]), own, num_divergences=int(diverging[index]),
            sampling=posterior.sampling, starts_apart=apart,
        )  # fmt: skip
        # Chains that started apart and came to rest at one value have said something.
        at_rest = bool((own["behaviour"] == "constant").all())
        if apart and at_rest and overall[0] is not Status.UNCHECKED:
            one = Status.OK, "all chains came to rest at one value"
        found.append(one)
    return found


def _risks(
    posterior: Posterior, truth: Float[np.ndarray, "obs hidden"]
) -> tuple[np.ndarray, np.ndarray]:
    """Of each observation the posterior's total variance, and the squared error of its mean.

    Both without the Monte Carlo error of the mean, which the one lacks and the other has.
    """
    noise = posterior.mean_error_var.sum("hidden").to_numpy()
    claimed = posterior.var.sum("hidden").to_numpy() + noise
    return claimed, ((posterior.mean.to_numpy() - truth) ** 2).sum(-1) - noise


def _inverse_ranks(
    key: PRNGKeyArray, subject: Subject, obs: Observations, centers: tuple[np.ndarray, np.ndarray]
) -> Float[np.ndarray, "simulation inverse reference"]:
    """Ranks of the truth's distance from each reference among those of an inverse's samples."""
    shape = (obs.num_obs, len(subject.random_inverses), len(centers))
    if not subject.random_inverses:
        return np.empty(shape)
    seed = int(jax.random.bits(stream(key, "inverses")) >> 1)
    samples = sample_inverses(seed, subject.model, obs, subject.random_inverses)
    ranks = np.empty(shape)
    steps = np.ones(obs.num_obs, dtype=int)
    for index, name in enumerate(subject.random_inverses):
        drawn = samples.isel(sampler=index).to_numpy()[None]
        for place, center in enumerate(centers):
            truth = ((np.asarray(obs.h) - center) ** 2).sum(-1)
            values = ((drawn - center) ** 2).sum(-1)
            ties = stream(key, f"ties/{name}/{REFERENCES[place]}")
            ranks[:, index, place] = rank(ties, truth, values, steps)
    return ranks
