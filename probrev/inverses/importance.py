"""A random inverse whose density is known, weighed into a posterior, with its k-hat."""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from arviz_stats.base.array import array_stats
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.inverses.estimates import as_estimate
from probrev.model import door as model_door
from probrev.model.observations import Observations
from probrev.model.protocol import Model, check_obs, method_of
from probrev.plumbing import door
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import generator, stream
from probrev.plumbing.timing import stopwatch
from probrev.posterior.posterior import Posterior, from_draws
from probrev.posterior.status import Status

# From here on importance weights have too heavy a tail for what is made of them.
K_HAT_MAX = 0.7
# Draws that are kept, as a share of the smallest ESS of the weights: so few are taken again from
# the samples that they are as good as independent.
KEPT_SHARE = 0.25
# Standard deviation of the noise on log weights that tie. Less leaves gaps, which look like heavy
# tails; more hides what is heavy. By itself it has k-hat about .1.
SPREAD = 0.5
# Most bytes that samples may take.
MOST_BYTES = 2**31
NUM_CHAINS = 4


class Proposal(Protocol):
    """A random inverse that knows its density."""

    def __call__(self, x: Array, key: PRNGKeyArray, /) -> ArrayLike:
        """One h, (obs, hidden), for each x, (obs, visible)."""
        ...

    def log_prob(self, h: Array, x: Array, /) -> ArrayLike:
        """Log q(h | x), (obs,), normalised: a mass where h_i = 0, a density elsewhere."""
        ...


@door.guard(
    key=door.random_key,
    model=model_door.model,
    obs=model_door.observations,
    num_samples=door.count(),
)
def importance_posterior(
    key: PRNGKeyArray,
    model: Model,
    obs: Observations,
    inverse: Proposal,
    *,
    num_samples: int = 10_000,
) -> Posterior:
    """A posterior from the samples of a random inverse whose density is known.

    Samples h are weighed by w = p(h, x) / q(h | x); the tail of the weights is smoothed by a
    generalised Pareto law, whose shape k-hat says how far they can be trusted: above .7 they
    cannot, and the posterior is "unreliable". Draws are taken again by their weights, a quarter of
    the smallest ESS 1 / sum w^2 in number, so that they are as good as independent. That the
    samples cover the posterior no weight can tell: what a proposal never visits is not missed.

    p and q must be densities with respect to one measure. That of `log_joint` is, per unit, a mass
    at 0 and length above it (a mass at each value, where a slab is finite): a proposal with units
    that are 0 gives the mass of that, and one without any has no weight under a spike.

    The tree's group `importance` has `pareto_k`, `ess`, `log_evidence` (log of the mean weight, up
    to the constant that `log_joint` leaves out) and `log_evidence_error` (its standard error), each
    (obs,).

    Args:
        key: random key.
        model: a model with `log_joint(h, x)`.
        obs: observations.
        inverse: a callable (x, key) -> h, (obs, hidden), with a method `log_prob(h, x)` -> (obs,).
        num_samples: samples of each observation.

    Raises:
        ValueError: the model has no joint density, the inverse none of its own, or it returns what
            does not fit; a sample has no density under the inverse that drew it.

    Source: Vehtari, Simpson, Gelman, Yao and Gabry 2024, Pareto smoothed importance sampling,
    through ArviZ.
    """
    check_obs(model, obs)
    log_joint = method_of(model, "log_joint")
    if not callable(getattr(inverse, "log_prob", None)):
        raise Refusal(
            f"importance_posterior needs an inverse with a method log_prob(h, x); "
            f"{type(inverse).__name__} has none"
        )
    size = 8 * num_samples * obs.num_obs * model.n_hidden
    if not 0 < size <= MOST_BYTES:
        raise Refusal(
            f"num_samples must be at least 1, and samples take 2 GiB at most; got {num_samples}, "
            f"which take {size / 2**30:.3g} GiB"
        )
    with stopwatch() as timing:
        h = _sample(stream(key, "samples"), model, obs, inverse, num_samples)
        log_weight = _densities("log_joint", log_joint, h, obs.x)
        log_proposal = _densities("log_prob of the inverse", inverse.log_prob, h, obs.x)
        if not np.all(np.isfinite(log_proposal)):
            raise Refusal(
                "log_prob of the inverse must be finite at its own samples; got NaN or infinity: "
                "it is the density of another law"
            )
        found = _weigh(log_weight - log_proposal)
        num_kept = int(KEPT_SHARE * found.ess.min()) // NUM_CHAINS * NUM_CHAINS
        draws = _resample(stream(key, "resample"), h, found.log_prob, max(NUM_CHAINS, num_kept))
    posterior = from_draws(
        "importance", draws, obs.x, model=model, settings={"num_samples": num_samples},
        timing=timing, sampling="iid",
    )  # fmt: skip
    return _judged(posterior, found, num_samples)


class _Weights(NamedTuple):
    """What the weights of every observation say.

    Attributes:
        log_prob: smoothed and normalised, (sample, obs).
        pareto_k: (obs,); infinite where too few samples have a weight at all.
        ess: 1 / sum w^2, (obs,).
        log_evidence: log of the mean weight, unsmoothed, (obs,).
        log_evidence_error: its standard error, (obs,).
    """

    log_prob: np.ndarray
    pareto_k: np.ndarray
    ess: np.ndarray
    log_evidence: np.ndarray
    log_evidence_error: np.ndarray


def _sample(
    key: PRNGKeyArray, model: Model, obs: Observations, inverse: Proposal, num_samples: int
) -> Float[Array, "sample obs hidden"]:
    """Samples of the inverse: compiled where JAX can trace it, one call after another otherwise."""
    keys = jax.random.split(key, num_samples)
    first = as_estimate("the random inverse", inverse(obs.x, keys[0]), model, obs)

    def draw(key: PRNGKeyArray) -> Array:
        return jnp.asarray(inverse(obs.x, key), first.dtype)

    h = _map(draw, keys)
    as_estimate("the random inverse", h.sum(0), model, obs)
    return h


def _densities(
    name: str, density: Callable[..., ArrayLike], h: Float[Array, "sample obs hidden"], x: Array
) -> Float[np.ndarray, "sample obs"]:
    """A log density of every sample; -inf is one, NaN is none."""
    found = np.asarray(_map(lambda one: jnp.asarray(density(one, x)), h), float)
    if found.shape != h.shape[:2]:
        raise Refusal(
            f"{name} must return shape {h.shape[1:2]} for h of shape {h.shape[1:]}; got "
            f"{found.shape[1:]}"
        )
    if np.isnan(found).any():
        raise Refusal(f"{name} returned NaN for a sample of the inverse")
    return found


def _map(function: Callable[[Array], Array], values: Array) -> Array:
    """A function of each value, one after another."""
    try:
        return jax.jit(lambda values: jax.lax.map(function, values))(values)
    except jax.errors.JAXTypeError:  # NumPy or Python decides on values there
        return jnp.stack([function(value) for value in values])


def _weigh(log_weight: Float[np.ndarray, "sample obs"]) -> _Weights:
    """Pareto-smoothed weights, observation by observation."""
    each = [_weigh_one(column) for column in log_weight.T]
    log_prob, k, log_evidence, error = (np.array(part) for part in zip(*each, strict=True))
    ess = 1 / np.square(np.exp(log_prob)).sum(1)
    return _Weights(log_prob.T, k, ess, log_evidence, error)


def _weigh_one(log_weight: Float[np.ndarray, " sample"]) -> tuple[np.ndarray, float, float, float]:
    """Normalised log weights, k-hat, log evidence and its error of one observation."""
    num_samples, top = len(log_weight), log_weight.max()
    if not np.isfinite(top):
        return np.full(num_samples, -np.log(num_samples)), np.inf, -np.inf, np.inf
    weight = np.exp(log_weight - top)
    mean = weight.mean()
    error = weight.std() / (mean * np.sqrt(num_samples))
    some = np.flatnonzero(weight)
    log_prob = np.full(num_samples, -np.inf)
    log_prob[some], k = _smooth(log_weight[some] - top)
    return log_prob, k, float(top + np.log(mean)), float(error)


def _smooth(log_weight: Float[np.ndarray, " sample"]) -> tuple[np.ndarray, float]:
    """Log weights with a smooth tail, normalised, and k-hat.

    Those of h with masses tie, where no tail can be fitted. The weights stay as they are then, and
    k-hat is that of weights times independent lognormal noise, which closes the gaps between ties
    and leaves the index of a tail as it is.

    Source: Breiman 1965, for the index of a product.
    """
    size = math.ceil(min(len(log_weight) / 5, 3 * math.sqrt(len(log_weight))))
    tail = np.sort(log_weight)[-size:].round(9)
    ties = len(np.unique(tail)) < size
    noise = SPREAD * np.random.default_rng(0).normal(size=len(log_weight)) if ties else 0.0
    try:
        # ArviZ takes log likelihoods, whose inverses the weights are.
        smooth, k = array_stats.psislw(-(log_weight + noise))
    except ValueError:  # fewer samples than a tail needs
        smooth, k = log_weight, np.inf
    return (log_weight - np.logaddexp.reduce(log_weight) if ties else smooth), float(k)


def _resample(
    key: PRNGKeyArray,
    h: Float[Array, "sample obs hidden"],
    log_prob: Float[np.ndarray, "sample obs"],
    num_draws: int,
) -> Float[np.ndarray, "chain draw obs hidden"]:
    """Draws by their weights, independent given the samples."""
    rng, values = generator(int(jax.random.bits(key)), "resample"), np.asarray(h)
    draws = [
        values[rng.choice(len(values), num_draws, p=prob / prob.sum()), row]
        for row, prob in enumerate(np.exp(log_prob).T)
    ]
    stacked = np.stack(draws, axis=1)
    return stacked.reshape(NUM_CHAINS, num_draws // NUM_CHAINS, *stacked.shape[1:])


def _judged(posterior: Posterior, found: _Weights, num_samples: int) -> Posterior:
    """The posterior with what its weights say: in a group, and in its status."""
    tree, k = posterior.tree, found.pareto_k
    columns = {
        name: ("obs", values) for name, values in found._asdict().items() if name != "log_prob"
    }
    tree["importance"] = xr.DataTree(xr.Dataset(columns, {"obs": posterior.obs}))
    bad = ~(k <= K_HAT_MAX)
    said = f"{num_samples} weighed samples, largest Pareto k-hat {np.max(k):.2f}"
    ess = f"smallest ESS of the weights {found.ess.min():.0f}"
    if bad.any():
        tree.attrs["status"] = Status.UNRELIABLE.value
        tree.attrs["status_reason"] = (
            f"{said}, above {K_HAT_MAX} in {bad.sum()} of {k.size} observations: the inverse is "
            f"too far from the posterior to be weighed into it; {ess}"
        )
    else:
        reason = posterior.status_reason.removeprefix("declared iid by the user; ")
        tree.attrs["status_reason"] = f"{said}, {ess}; {reason}"
    return posterior
