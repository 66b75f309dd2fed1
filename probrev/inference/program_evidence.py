"""The evidence of any NumPyro program: its likelihood raised to powers from 0 to 1."""

from collections.abc import Callable
from functools import partial
from typing import Any, override

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jaxtyping import Array, Float, Int, PRNGKeyArray
from numpyro.infer.util import log_density
from numpyro.primitives import Messenger

from probrev.inference.hmc import sampled_program
from probrev.inference.partition import Estimate, estimate_log_mean
from probrev.inference.populations import NUM_POPULATIONS, check_populations, resample
from probrev.model.auxiliary_updates import move_smooth
from probrev.model.observations import Observations
from probrev.model.prior_program import Switches, find_switches
from probrev.model.protocol import Model
from probrev.plumbing.refusal import Refusal

# Powers of the likelihood are those of equal steps to this: the first of it say most.
PATH_EXPONENT = 3


class _Tempered(Messenger):
    """Raises the density of what is observed to a power."""

    def __init__(self, fn: Callable[..., Any], power: Array | float):
        super().__init__(fn)
        self._power = power

    @override
    def process_message(self, msg: Any) -> None:
        if msg["type"] == "sample" and msg["is_observed"]:
            msg["scale"] = self._power if msg["scale"] is None else msg["scale"] * self._power


def program_log_evidence(
    key: PRNGKeyArray, model: Model, obs: Observations, num_chains: int, num_temperatures: int
) -> Estimate:
    """Log p(x) by annealing particles through the model's program; see `estimate_log_evidence`."""
    check_populations(num_chains)
    program, (smooth, switches) = sampled_program(model), check_tempered(model)
    anneal = jax.jit(partial(_anneal, program, smooth, switches, num_chains, num_temperatures))
    keys = jax.random.split(key, obs.num_obs)
    estimates = [np.asarray(anneal(one, x)) for one, x in zip(keys, obs.x, strict=True)]
    return estimate_log_mean(np.stack(estimates))


def check_tempered(model: Model) -> tuple[tuple[str, ...], tuple[Switches, ...]]:
    """Names of the continuous sites that a model's program draws, and its discrete ones.

    Raises:
        ValueError: it has no program, does not observe x, or a discrete site has not finitely many
            values.
    """
    sites = _trace(sampled_program(model), jnp.zeros(model.n_visible), {}, jax.random.key(0))
    drawn = {name: site for name, site in sites.items() if site["type"] == "sample"}
    if not any(site["is_observed"] for site in drawn.values()):
        raise Refusal("estimate_log_evidence needs a program that observes x, by obs=x; none does")
    latent = {name: site for name, site in drawn.items() if not site["is_observed"]}
    discrete = [name for name, site in latent.items() if site["fn"].support.is_discrete]
    switches = tuple(
        find_switches("estimate_log_evidence", name, latent[name]) for name in discrete
    )
    return tuple(name for name in latent if name not in discrete), switches


def _anneal(
    program: Callable[..., Any],
    smooth: tuple[str, ...],
    switches: tuple[Switches, ...],
    num_chains: int,
    num_temperatures: int,
    key: PRNGKeyArray,
    x: Float[Array, " visible"],
) -> Float[Array, " population"]:
    """Log p(x) by each population."""
    powers = (jnp.arange(num_temperatures + 1) / num_temperatures) ** PATH_EXPONENT
    shape = (NUM_POPULATIONS, num_chains // NUM_POPULATIONS)

    def start(key: PRNGKeyArray) -> dict[str, Array]:
        sites = _trace(program, x, {}, key)
        return {name: sites[name]["value"] for name in (*smooth, *(s.site for s in switches))}

    def log_likelihood(values: dict[str, Array]) -> Array:
        sites = _trace(program, x, values, key).values()
        seen = (site for site in sites if site["type"] == "sample" and site["is_observed"])
        return sum((site["fn"].log_prob(site["value"]).sum() for site in seen), jnp.zeros(()))

    def move(key: PRNGKeyArray, values: dict[str, Array], power: Array) -> dict[str, Array]:
        tempered = _Tempered(program, power)
        density = lambda values: jnp.asarray(log_density(tempered, (x,), {}, values)[0])  # noqa: E731
        key_smooth, key_switch = jax.random.split(key)
        values = _switch_each(key_switch, switches, density, values)
        if not smooth:
            return values
        trace = _trace(program, x, values, key)
        return move_smooth(key_smooth, {n: trace[n]["fn"] for n in smooth}, density, values)

    def step(carry: tuple, number: Int[Array, ""]) -> tuple[tuple, None]:
        values, log_evidence = carry
        key_resample, key_move = jax.random.split(jax.random.fold_in(key, number))
        gained = (powers[number + 1] - powers[number]) * jax.vmap(log_likelihood)(values)
        gained = gained.reshape(shape)
        log_evidence += jax.nn.logsumexp(gained, axis=1) - jnp.log(shape[1])
        parent = resample(key_resample, gained)
        values = jax.tree.map(lambda leaf: leaf[parent], values)
        keys = jax.random.split(key_move, num_chains)
        values = jax.vmap(move, in_axes=(0, 0, None))(keys, values, powers[number + 1])
        return (values, log_evidence), None

    keys = jax.random.split(jax.random.fold_in(key, num_temperatures), num_chains)
    first = jax.vmap(start)(keys), jnp.zeros(NUM_POPULATIONS)
    (_, log_evidence), _ = jax.lax.scan(step, first, jnp.arange(num_temperatures))
    return log_evidence


def _switch_each(
    key: PRNGKeyArray,
    switches: tuple[Switches, ...],
    density: Callable[[dict[str, Array]], Array],
    values: dict[str, Array],
) -> dict[str, Array]:
    """A Metropolis proposal of another value for each discrete variable, one after the other."""
    for number, one in enumerate(switches):

        def attempt(
            index: Array, carry: tuple, one: Switches = one, number: int = number
        ) -> tuple[dict[str, Array], Array]:
            values, now = carry
            key_one = jax.random.fold_in(jax.random.fold_in(key, number), index)
            key_other, key_coin = jax.random.split(key_one)
            other = {**values, one.site: one.propose(key_other, values[one.site], index)}
            then = density(other)
            taken = jnp.log(jax.random.uniform(key_coin)) < then - now
            return jax.tree.map(lambda new, old: jnp.where(taken, new, old), (other, then), carry)

        values, _ = jax.lax.fori_loop(0, one.size, attempt, (values, density(values)))
    return values


def _trace(
    program: Callable[..., Any], x: Array, values: dict[str, Array], key: PRNGKeyArray
) -> dict[str, Any]:
    """The sites of a program given x, those with a value at it."""
    seeded = numpyro.handlers.seed(numpyro.handlers.substitute(program, data=values), key)
    with numpyro.handlers.block():
        return numpyro.handlers.trace(seeded).get_trace(x)
