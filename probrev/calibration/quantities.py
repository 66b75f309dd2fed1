"""What is ranked: functions of h, of x and of what else the prior's program draws."""

import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from probrev.model.observations import Observations
from probrev.model.protocol import Model, has_answer
from probrev.plumbing.pytree import is_concrete
from probrev.plumbing.refusal import Refusal, TypeRefusal
from probrev.posterior.posterior import Kind, Posterior

# A user's own: (h, x) or (h, x, sites) of one observation -> a value for each h.
OwnQuantity = Callable[..., ArrayLike]
# Draws of each chain that are looked at, evenly spaced.
MOST_DRAWS = 250
FROM_MEAN = "distance from the mean"
# Densities in words; both know x, so that they see a method that does not.
SAID = {"log_likelihood": "log p(x|h)", "log_joint": "log p(h, x)"}


class Family(StrEnum):
    """Kinds of quantities, which share the level evenly.

    - `JOINT`: of the whole of h, of all the layers' h, and of x.
    - `UNITS`: each h_i.
    - `SITES`: the prior program's own sites, each number of them.
    - `OWN`: the user's.
    """

    JOINT = "joint"
    UNITS = "units"
    SITES = "sites"
    OWN = "own"


class Quantity(NamedTuple):
    """One quantity of every observation.

    Attributes:
        name: its name.
        family: its kind.
        truth: of the h that made x, (obs,).
        values: of every draw, (chain, draw, obs).
    """

    name: str
    family: Family
    truth: Float[np.ndarray, " obs"]
    values: Float[np.ndarray, "chain draw obs"]


class Draws(NamedTuple):
    """The truth and the draws of one thing, such as h or a site.

    Attributes:
        truth: (obs, ...).
        values: (chain, draw, obs, ...).
    """

    truth: np.ndarray
    values: np.ndarray


def spaced_draws(posterior: Posterior, name: str = "h") -> np.ndarray:
    """At most 250 evenly spaced draws of each chain, (chain, draw, obs, ...)."""
    found = posterior.tree["posterior"].to_dataset()[name]
    step = -(-found.sizes["draw"] // MOST_DRAWS)
    return (
        found.transpose("chain", "draw", "obs", ...).isel(draw=slice(None, None, step)).to_numpy()
    )


def measure_quantities(
    model: Model,
    obs: Observations,
    posterior: Posterior,
    references: Float[np.ndarray, "obs hidden"],
    own: Mapping[str, OwnQuantity],
) -> list[Quantity]:
    """Every quantity of the truth and of the draws, always the same ones in the same order.

    Joint ones: the sum and the norm of h, the number active, log p(x|h) and log p(h, x) where the
    model has them, the distance of h from a random draw and from the posterior mean, both squared,
    and the sums of the layers between x and h whose draws are kept, with log p(x|h_1). The distance
    from the mean is the most sensitive to a posterior that is too narrow or wide; its mean is that
    of other chains. The norm sees a slab's scale.

    Args:
        model: the model of the posterior.
        obs: what was simulated, h and sites too.
        posterior: draws for these x.
        references: a random draw for each observation, independent of its h.
        own: the user's, by name.

    Raises:
        ValueError: a user's quantity does not give a number for each h, or has a name that is
            taken.

    Source: Modrák, Moon, Kim, Bürkner, Huurre, Faltejsková, Gelman and Vehtari 2023,
    Simulation-Based Calibration Checking for Bayesian Computation: the choice of test quantities
    shapes sensitivity; the distance from a random draw is that of Lemos, Coogan, Hezaveh and
    Perreault-Levasseur 2023, Sampling-Based Accuracy Testing of Posterior Estimators.
    """
    h = Draws(np.asarray(obs.h), spaced_draws(posterior))
    sites = _sites(obs, posterior)
    joint = partial(Quantity, family=Family.JOINT)
    found = [
        joint("sum of h", truth=h.truth.sum(-1), values=h.values.sum(-1)),
        joint("norm of h", truth=_norm(h.truth), values=_norm(h.values)),
        joint("number active", truth=_active(h.truth), values=_active(h.values)),
    ]
    for name, said in SAID.items():
        if has_answer(model, name, jnp.asarray(h.truth[:1]), obs.x[:1]):
            density = getattr(model, name)
            found.append(_evaluate(said, Family.JOINT, density, model, obs, h))
    found += [
        _distance("distance from a random draw", h, references),
        distance_from_mean(posterior, h),
        *_between(model, obs, posterior),
    ]
    for index in range(h.truth.shape[-1]):
        of_unit = h.truth[:, index], h.values[..., index]
        found.append(Quantity(f"h[{index}]", Family.UNITS, *of_unit))
    for name, site in sites.items():
        found += _of_site(name, site)
    for name, function in own.items():
        found.append(_of_user(name, function, obs, h, sites))
    names = [one.name for one in found]
    for name in own:
        if names.count(name) > 1:
            raise Refusal(f"quantities has {name!r}, which is measured in any case: rename it")
    return found


def distance_from_mean(posterior: Posterior, h: Draws) -> Quantity:
    """|h - mean|², the mean of draws in the first half of the chains, or known."""
    if posterior.kind is not Kind.SAMPLED:
        return _distance(FROM_MEAN, h, posterior.mean.to_numpy())
    num_chains, num_draws = h.values.shape[:2]
    if num_chains > 1:
        first, rest = h.values[: num_chains // 2], h.values[num_chains // 2 :]
    else:
        first, rest = h.values[:, : num_draws // 2], h.values[:, num_draws // 2 :]
    return _distance(FROM_MEAN, Draws(h.truth, rest), first.mean((0, 1)))


def _distance(name: str, h: Draws, center: np.ndarray) -> Quantity:
    truth, values = (((one - center) ** 2).sum(-1) for one in h)
    return Quantity(name, Family.JOINT, truth, values)


def _norm(h: np.ndarray) -> np.ndarray:
    return np.linalg.norm(h, axis=-1)


def _active(h: np.ndarray) -> np.ndarray:
    return (h > 0).sum(-1).astype(float)


def _sites(obs: Observations, posterior: Posterior) -> dict[str, Draws]:
    """Sites that were simulated and that the posterior has draws of."""
    kept = posterior.tree["posterior"].to_dataset()
    return {
        name: Draws(np.asarray(truth), spaced_draws(posterior, name))
        for name, truth in obs.sites.items()
        if name in kept and name != "h"
    }


def _of_site(name: str, site: Draws) -> list[Quantity]:
    """Each number of a site."""
    truth, values = (one.astype(float) for one in site)
    if truth.ndim == 1:
        return [Quantity(name, Family.SITES, truth, values)]
    return [
        Quantity(
            f"{name}[{', '.join(map(str, place))}]", Family.SITES,
            truth[:, *place], values[:, :, :, *place],
        )
        for place in np.ndindex(truth.shape[1:])
    ]  # fmt: skip


def _between(model: Any, obs: Observations, posterior: Posterior) -> list[Quantity]:
    """Sums of the layers between x and h, and log p(x|h_1), where their draws are kept."""
    kept = posterior.tree["posterior"].to_dataset()
    found = []
    for level, truth in enumerate(obs.intermediates, start=1):
        name = f"h_{level}"
        if name in kept:
            draws = Draws(np.asarray(truth), spaced_draws(posterior, name))
            sums = (one.sum(-1) for one in draws)
            found.append(Quantity(f"sum of {name}", Family.JOINT, *sums))
            if level == 1:
                lowest = model.layers[0]
                said = f"log p(x|{name})"
                density = lowest.log_likelihood
                found.append(_evaluate(said, Family.JOINT, density, lowest, obs, draws))
    return found


def _evaluate(
    name: str, family: Family, density: Callable[..., Any], owner: Any, obs: Observations, h: Draws
) -> Quantity:
    """A density of the truth and of the draws of each observation, by the same compiled call."""
    run = partial(_density, owner, density.__name__) if is_concrete(owner) else density
    rows = _rows(h)
    values = np.stack([run(one, x[None]) for one, x in zip(rows, obs.x, strict=True)], axis=-1)
    return Quantity(name, family, values[0], values[1:].reshape(h.values.shape[:3]))


@partial(jax.jit, static_argnames="name")
def _density(model: Any, name: str, h: jax.Array, x: jax.Array) -> jax.Array:
    return getattr(model, name)(h, x)


def _of_user(
    name: str, function: OwnQuantity, obs: Observations, h: Draws, sites: Mapping[str, Draws]
) -> Quantity:
    takes_sites = len(inspect.signature(function).parameters) > 2
    by_site = {site: _rows(draws) for site, draws in sites.items()}
    values = []
    for index, (rows, x) in enumerate(zip(_rows(h), obs.x, strict=True)):
        named = {site: all_rows[index] for site, all_rows in by_site.items()}
        returned = function(rows, x[None], named) if takes_sites else function(rows, x[None])
        found = np.asarray(returned, dtype=float)
        if found.shape != (len(rows),) or np.isnan(found).any():
            raise Refusal(
                f"quantity {name!r} must give a number for each h: of h {rows.shape} an array "
                f"({len(rows)},); got {found.shape}" + (" with NaN" * bool(np.isnan(found).any()))
            )
        values.append(found)
    stacked = np.stack(values, axis=-1)
    return Quantity(name, Family.OWN, stacked[0], stacked[1:].reshape(h.values.shape[:3]))


def _rows(draws: Draws) -> list[jax.Array]:
    """Of each observation the truth and then its draws, (1 + draws, ...)."""
    flat = draws.values.reshape(-1, *draws.values.shape[2:])
    both = np.concatenate([draws.truth[None], flat])
    return [jnp.asarray(both[:, index]) for index in range(both.shape[1])]


def check_quantities(own: Mapping[str, OwnQuantity]) -> None:
    """Raises TypeError unless every quantity of the user's is callable."""
    for name, function in own.items():
        if not callable(function):
            raise TypeRefusal(
                f"quantities[{name!r}] must be a function of (h, x) or (h, x, sites); got "
                f"{type(function).__name__}"
            )
