"""Renewing the variables that a spike and slab is given: closed forms, and NUTS."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float, PRNGKeyArray
from numpyro.distributions import biject_to
from numpyro.infer import NUTS
from numpyro.infer.util import log_density

# Law of a variable, h -> its law given h.
Conjugacy = Callable[[Any, Float[Array, " hidden"]], dist.Distribution]

# The scales of what is renewed are not known: steps of unconstrained variables, log-uniform in
# between. Any law of the steps leaves the posterior alone.
STEP_SIZES = (0.05, 1.0)
MAX_TREE_DEPTH = 5
# What a closed form and the density may differ by, relative to the numbers compared, and at how
# many random states.
TOLERANCE = 1e-9
NUM_CHECKED = 8


def beta_inclusion(law: Any, h: Float[Array, " hidden"]) -> dist.Distribution:
    """The rate at which units are active: Beta(a + active, b + silent)."""
    active = (h > 0).sum()
    return dist.Beta(law.concentration1 + active, law.concentration0 + h.size - active)


def gamma_rate(law: Any, h: Float[Array, " hidden"]) -> dist.Distribution:
    """The rate of exponential slabs: Gamma(a + active, b + sum h)."""
    return dist.Gamma(law.concentration + (h > 0).sum(), law.rate + h.sum())


def gamma_precision(law: Any, h: Float[Array, " hidden"]) -> dist.Distribution:
    """The precision of half-normal slabs: Gamma(a + active / 2, b + sum h^2 / 2)."""
    return dist.Gamma(law.concentration + (h > 0).sum() / 2, law.rate + jnp.square(h).sum() / 2)


def inverse_gamma_variance(law: Any, h: Float[Array, " hidden"]) -> dist.Distribution:
    """The variance of half-normal slabs: InverseGamma(a + active / 2, b + sum h^2 / 2)."""
    rate = law.rate + jnp.square(h).sum() / 2
    return dist.InverseGamma(law.concentration + (h > 0).sum() / 2, rate)


CLOSED_FORMS: tuple[tuple[type, Conjugacy], ...] = (
    (dist.Beta, beta_inclusion),
    (dist.Gamma, gamma_rate),
    (dist.Gamma, gamma_precision),
    (dist.InverseGamma, inverse_gamma_variance),
)


# The power of a site that active units go with, by its closed form; a rate of spikes scales none.
POWERS: dict[Conjugacy, float] = {
    gamma_rate: -1.0,
    gamma_precision: -0.5,
    inverse_gamma_variance: 0.5,
}


def find_conjugacies(
    program: Callable[[], Any], end: str, laws: Mapping[str, type]
) -> dict[str, Conjugacy]:
    """The closed forms of sites' laws given h and all else, where they are of those known here.

    A form is tried by what it claims: between any two values of the site, the log density of
    everything differs as the log density of the form does, at random values of all else.

    Args:
        program: the program.
        end: the site that is the spike and slab.
        laws: kinds of the laws of single numbers that it draws, by site.
    """
    tried = [(name, form) for name, kind in laws.items() for known, form in CLOSED_FORMS
             if known is kind]  # fmt: skip
    if not tried:
        return {}

    @jax.jit
    @jax.vmap
    def errors(key: PRNGKeyArray) -> Array:
        state, other = (_random_state(one, program, end) for one in jax.random.split(key))
        density, trace = log_density(program, (), {}, state)
        found = []
        for name, form in tried:
            moved, _ = log_density(program, (), {}, {**state, name: other[name]})
            given = form(trace[name]["fn"], state[end])
            now, then = (jnp.asarray(given.log_prob(at[name])) for at in (state, other))
            claimed = then - now
            scale = 1.0 + sum(jnp.abs(jnp.asarray(part)) for part in (density, moved, claimed))
            found.append(jnp.abs(moved - density - claimed) / scale)
        return jnp.stack(found)

    worst = np.asarray(errors(jax.random.split(jax.random.key(0), NUM_CHECKED))).max(0)
    holds = [pair for pair, error in zip(tried, worst, strict=True) if error <= TOLERANCE]
    return dict(reversed(holds))


def _random_state(key: PRNGKeyArray, program: Callable[[], Any], end: str) -> dict[str, Array]:
    """A draw of all sites, half of the units active that may be: all parts of the density count."""
    key_sites, key_slab, key_coins = jax.random.split(key, 3)
    with numpyro.handlers.block():
        trace = numpyro.handlers.trace(numpyro.handlers.seed(program, key_sites)).get_trace()
    state = {name: site["value"] for name, site in trace.items() if site["type"] == "sample"}
    prior = trace[end]["fn"]
    shape = () if prior.slab.batch_shape else (prior.n_hidden,)
    value = prior.slab.sample(key_slab, shape)
    fewest, most = prior.active_range
    rank = jax.random.permutation(key_coins, prior.n_hidden)
    active = rank < max(fewest, min(most, (prior.n_hidden + 1) // 2))
    active = jnp.where(jnp.isinf(prior.inclusion_logit), prior.inclusion_logit > 0, active)
    return state | {end: jnp.where(active, value, 0.0)}


def nuts_step(
    key: PRNGKeyArray, potential: Callable[[Any], Array], position: dict[str, Array]
) -> dict[str, Array]:
    """One transition of NumPyro's NUTS, its step drawn at random, nothing adapted.

    Args:
        key: random key.
        potential: minus the log density, of unconstrained variables.
        position: their values.
    """
    key_step, key_start, key_move = jax.random.split(key, 3)
    low, high = np.log(STEP_SIZES)
    step_size = jnp.exp(jax.random.uniform(key_step, minval=low, maxval=high))
    kernel = NUTS(
        potential_fn=potential, step_size=step_size, adapt_step_size=False,  # pyright: ignore[reportArgumentType]
        adapt_mass_matrix=False, max_tree_depth=MAX_TREE_DEPTH,
    )  # fmt: skip
    state = kernel.init(key_start, 0, position, (), {})
    state = state._replace(rng_key=key_move)
    return kernel.sample(state, (), {}).z


def move_smooth(
    key: PRNGKeyArray,
    laws: dict[str, Any],
    density: Callable[[dict[str, Array]], Array],
    values: dict[str, Array],
) -> dict[str, Array]:
    """A step of NUTS for some continuous sites of a program, all others held.

    Args:
        key: random key.
        laws: of those that move, by name, at the values of all others.
        density: log density of all sites, up to a constant.
        values: of all sites.
    """
    ways = {name: biject_to(law.support) for name, law in laws.items()}

    def potential(position: dict[str, Array]) -> Array:
        moved = {name: ways[name](position[name]) for name in ways}
        change = (
            ways[name].log_abs_det_jacobian(position[name], moved[name]).sum() for name in ways
        )
        return -(density({**values, **moved}) + sum(change))

    position = nuts_step(key, potential, {name: ways[name].inv(values[name]) for name in ways})
    return values | {name: ways[name](position[name]) for name in ways}
