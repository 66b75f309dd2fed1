"""Groups that a posterior has on request, by ArviZ's names: densities and draws of every draw."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, PRNGKeyArray

from probrev.model.kinds import check_one_law, refusal
from probrev.model.protocol import DENSITIES, NUM_SIMULATED, Model, method_of, simulate
from probrev.model.sites import log_densities, missing_sites, prior_program
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import stream
from probrev.posterior.ties import untie, untie_rows

# Most bytes that a group may take.
MOST_BYTES = 2**31


class Draws(NamedTuple):
    """A posterior as its groups need it.

    Attributes:
        model: what it was computed under.
        values: draws of h, of the program's sites and of vectors between x and h, by name, dims
            (chain, draw, obs, ...).
        x: what it is conditioned on, (obs, visible).
    """

    model: Model
    values: dict[str, xr.DataArray]
    x: xr.DataArray

    @property
    def h(self) -> xr.DataArray:
        """Draws of h."""
        return self.values["h"]


def log_likelihood(key: PRNGKeyArray, draws: Draws) -> xr.Dataset:
    """Log p(x_j | h) of every draw, `x` (chain, draw, obs, visible).

    Where it is the same in every draw, as it often is of rows that are 0, noise of standard
    deviation 1e-10 is added, without which `az.loo` raises: see `untie_rows`.

    Raises:
        ValueError: the model has no law of one row given what was kept; says what is missing.
    """
    _check_size("log_likelihood", draws, draws.x.sizes["visible"])
    values = untie_rows(_generator(key), _pointwise(draws))
    return _labelled({"x": values}, draws, {"x": ("visible",)})


def _pointwise(draws: Draws) -> np.ndarray:
    """Log p(x_j | h), float64, (chain, draw, obs, visible)."""
    model, x = draws.model, jnp.asarray(draws.x.to_numpy())
    check_one_law(model, uses=("pointwise_log_likelihood", "program"), others=DENSITIES)
    own = getattr(model, "pointwise_log_likelihood", None)
    try:
        if own is None:
            raise Refusal(f"{type(model).__name__} has no pointwise_log_likelihood(h, x)")
        h = jnp.asarray(draws.h.to_numpy())
        jax.eval_shape(own, h[0, 0], x)
        found = jax.jit(lambda h, x: jax.lax.map(lambda one: own(one, x), h))(
            h.reshape(-1, *h.shape[2:]), x
        )
        return np.asarray(found, float).reshape(*h.shape[:2], *x.shape)
    except ValueError as error:
        return _by_program(draws, str(error))


def _by_program(draws: Draws, why: str) -> np.ndarray:
    """The same by the model's program, where all that x depends on was kept."""
    program = getattr(draws.model, "program", None)
    if program is None:
        raise refusal(
            "log_likelihood", draws.model,
            "needs a model with a method pointwise_log_likelihood(h, x) or a program",
        )  # fmt: skip
    one = {name: jnp.asarray(values[0, 0, 0].to_numpy()) for name, values in draws.values.items()}
    x = jnp.asarray(draws.x.to_numpy())
    missing = missing_sites(program, one, x[0], below_h=True)
    if missing:
        raise Refusal(
            f"log_likelihood: {why}, and draws of {', '.join(missing)}, which the program needs, "
            "are not kept with this posterior: gibbs(..., keep_layers=True) keeps those of h_1, ..."
        )

    def density(values: Mapping[str, Array], x: Array) -> Array:
        found = log_densities(program, values, x)
        if "x" not in found or found["x"].shape != x.shape:
            raise Refusal(
                "log_likelihood needs a program whose site x has a density for each row: a plate "
                "over rows, and no event dims"
            )
        return found["x"]

    return np.asarray(_each(density, draws, x), float)


def log_prior(key: PRNGKeyArray, draws: Draws) -> xr.Dataset:
    """Log density under the prior of every site, h too, given those before it, (chain, draw, obs).

    Ties of their sum are broken as those of `log_likelihood` are.

    Raises:
        ValueError: the prior has no density at what was kept; says what is missing.
    """
    program = prior_program(draws.model)
    one = {name: jnp.asarray(values[0, 0, 0].to_numpy()) for name, values in draws.values.items()}
    missing = [name for name in missing_sites(program, one) if name != "x"]
    if missing:
        raise Refusal(
            f"log_prior needs draws of {', '.join(missing)}, which are not kept with this "
            'posterior: end a prior by numpyro.sample("h", pr.SpikeAndSlab(...))'
        )

    def density(values: Mapping[str, Array], x: Array) -> dict[str, Array]:
        del x
        return {name: value.sum() for name, value in log_densities(program, values).items()}

    found = _each(density, draws, jnp.asarray(draws.x.to_numpy()))
    values = {name: np.asarray(value, float) for name, value in found.items()}
    total, last = sum(values.values(), np.zeros(draws.h.shape[:3])), [*values][-1]
    values[last] = values[last] + (untie(_generator(key), total) - total)
    return _labelled(values, draws, {})


def _each[Result](
    function: Callable[[dict[str, Array], Array], Result], draws: Draws, x: Array
) -> Result:
    """A function of one draw and its x, for all draws of all observations at once."""
    values = {name: jnp.asarray(one.to_numpy()) for name, one in draws.values.items()}
    over_obs = jax.vmap(function)
    over_draws = jax.vmap(over_obs, in_axes=(0, None))

    def over_chains(values: dict[str, Array], x: Array) -> Result:
        return jax.lax.map(lambda chain: over_draws(chain, x), values)

    return jax.jit(over_chains)(values, x)


def posterior_predictive(key: PRNGKeyArray, draws: Draws) -> xr.Dataset:
    """X drawn given every draw of h, `x` (chain, draw, obs, visible).

    Raises:
        ValueError: the model does not draw x given h.
    """
    _check_size("posterior_predictive", draws, draws.x.sizes["visible"])
    generate = method_of(draws.model, "generate")
    h = jnp.asarray(draws.h.to_numpy())
    keys = jax.random.split(key, h.shape[:1])
    x = jax.jit(lambda keys, h: jax.lax.map(lambda pair: generate(*pair), (keys, h)))(keys, h)
    return _labelled({"x": np.asarray(x)}, draws, {"x": ("visible",)})


def prior(key: PRNGKeyArray, draws: Draws) -> xr.Dataset:
    """4096 draws of h and of the program's sites from the prior, (chain, draw, ...), one chain.

    Raises:
        ValueError: the model does not simulate.
    """
    made = simulate(draws.model, key, NUM_SIMULATED)
    assert made.h is not None
    given = {"h": made.h, **made.sites}
    dims = {name: one.dims[3:] for name, one in draws.values.items()}
    found = {
        name: (("chain", "draw", *dims[name]), np.asarray(values)[None])
        for name, values in given.items()
        if name in dims
    }
    coords = {dim: draws.h[dim] for dim in draws.h.dims[3:]}
    return xr.Dataset(found, {**coords, "chain": [0], "draw": np.arange(NUM_SIMULATED)})


GROUPS: dict[str, Callable[[PRNGKeyArray, Draws], xr.Dataset]] = {
    "log_likelihood": log_likelihood,
    "log_prior": log_prior,
    "posterior_predictive": posterior_predictive,
    "prior": prior,
}


def make_group(key: PRNGKeyArray, name: str, draws: Draws) -> xr.Dataset:
    """The group of that name.

    Args:
        key: random key; each group has a stream of its own.
        name: one of `GROUPS`.
        draws: the posterior's.

    Raises:
        ValueError: there is no such group, or see its function.
    """
    if name not in GROUPS:
        raise Refusal(f"groups must be of {', '.join(GROUPS)}; got {name!r}")
    return GROUPS[name](stream(key, name), draws)


def _generator(key: PRNGKeyArray) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def _labelled(
    values: Mapping[str, np.ndarray], draws: Draws, dims: Mapping[str, tuple[str, ...]]
) -> xr.Dataset:
    """Values of every draw and observation, labelled as the draws are."""
    first = draws.h.dims[:3]
    found = {name: ((*first, *dims.get(name, ())), one) for name, one in values.items()}
    coords = {dim: draws.h[dim] for dim in first}
    if any(dims.values()):
        coords["visible"] = draws.x["visible"]
    return xr.Dataset(found, coords)


def _check_size(name: str, draws: Draws, width: int) -> None:
    """Raises ValueError for a group that would not fit into memory."""
    chains, num_draws, num_obs, _ = draws.h.shape
    size = 8 * chains * num_draws * num_obs * width
    if size > MOST_BYTES:
        raise Refusal(
            f"{name} would take {size / 2**30:.1f} GiB: choose observations first, as in "
            "posterior.of([0, 1])"
        )
