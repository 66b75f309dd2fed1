"""The partition function of binary layers: by enumeration, or by annealed importance sampling."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.boltzmann.binary_layers import BinaryLayers, draw_units
from probrev.boltzmann.machine import BoltzmannMachine
from probrev.inference.exact.enumeration.enumeration import check_count
from probrev.model.observations import Observations
from probrev.plumbing import door
from probrev.plumbing.readable import readable
from probrev.plumbing.refusal import Refusal

# Numbers in a temporary array.
BLOCK_ELEMENTS = 2**19


_IS_MACHINE = door.instance_of(BinaryLayers, "a machine, as pr.BoltzmannMachine makes")


@readable
class Estimate(NamedTuple):
    """An estimate and its standard error; arrays where there are several."""

    value: Float[np.ndarray, "*batch"]
    std_error: Float[np.ndarray, "*batch"]


@door.guard(machine=_IS_MACHINE)
def log_partition(machine: BinaryLayers) -> float:
    """Log Z = log of the sum of exp(-E) over all units, exact to rounding.

    The states of the even or of the odd layers, whichever are fewer, are enumerated; the others
    are summed out.

    Raises:
        ValueError: both are too many.
    """
    parity = machine.smaller_parity
    check_count(machine.states_of(parity))
    return float(_sum_states(machine, parity))


@partial(jax.jit, static_argnames="parity")
def _sum_states(machine: BinaryLayers, parity: int) -> Float[Array, ""]:
    states = machine.states_of(parity)
    size = min(max(1, BLOCK_ELEMENTS // sum(machine.widths)), states.count)

    def add(block: Array, total: Array) -> Array:
        index = block * size + jnp.arange(size)
        log_weight = machine.log_marginal(states[jnp.minimum(index, states.count - 1)], parity)
        log_weight = jnp.where(index < states.count, log_weight, -jnp.inf)
        return jnp.logaddexp(total, jax.nn.logsumexp(log_weight))

    return jax.lax.fori_loop(0, -(-states.count // size), add, jnp.asarray(-jnp.inf))


@door.guard(
    key=door.random_key, machine=_IS_MACHINE, num_chains=door.count(), num_temperatures=door.count()
)
def estimate_log_partition(
    key: PRNGKeyArray,
    machine: BinaryLayers,
    *,
    num_chains: int = 1000,
    num_temperatures: int = 1000,
) -> Estimate:
    """Log Z by annealed importance sampling, at any size.

    The path goes from independent units, each with the log odds that it has where its neighbours
    are at 1/2, to the machine: biases and couplings are interpolated, at evenly spaced
    temperatures, with a sweep of block Gibbs at each. Chains hold the even or the odd layers,
    whichever are fewer units; the others are summed out of every weight. The standard error is that
    of a mean of independent weights, and misses modes that no chain has visited: where doubling
    `num_temperatures` moves the value by many of them, it is too small.

    Args:
        key: random key.
        machine: the machine.
        num_chains: independent chains.
        num_temperatures: steps of the path.

    Raises:
        ValueError: fewer than two chains, or no step.

    Source: Neal 2001; for these machines Salakhutdinov and Murray 2008.
    """
    check_sizes(num_chains, num_temperatures)
    log_weights = _anneal(key, machine, num_chains, num_temperatures)
    return estimate_log_mean(np.asarray(log_weights))


def machine_log_evidence(
    key: PRNGKeyArray,
    machine: BoltzmannMachine,
    obs: Observations,
    num_chains: int,
    num_temperatures: int,
) -> Estimate:
    """Log p(x) = b_0^T x + log Z_x - log Z of every observation, Z_x that of p(h | x).

    All observations share one estimate of log Z, so that their errors are correlated; for a
    restricted machine Z_x is exact.
    """
    key_machine, key_given = jax.random.split(key)
    settings = {"num_chains": num_chains, "num_temperatures": num_temperatures}
    whole = estimate_log_partition(key_machine, machine, **settings)
    keys = jax.random.split(key_given, obs.num_obs)
    log_weights = jax.lax.map(
        lambda pair: _anneal(pair[0], machine.given(pair[1]), num_chains, num_temperatures),
        (keys, obs.x),
    )
    given = estimate_log_mean(np.asarray(log_weights))
    value = np.asarray(obs.x @ machine.biases[0]) + given.value - whole.value
    return Estimate(value, np.hypot(given.std_error, whole.std_error))


def check_sizes(num_chains: int, num_temperatures: int) -> None:
    """Raises ValueError for fewer than two chains, or no step."""
    if num_chains < 2 or num_temperatures < 1:
        raise Refusal(
            "num_chains must be at least 2 and num_temperatures at least 1; "
            f"got {num_chains} and {num_temperatures}"
        )


@partial(jax.jit, static_argnames=("num_chains", "num_temperatures"))
def _anneal(
    key: PRNGKeyArray, machine: BinaryLayers, num_chains: int, num_temperatures: int
) -> Float[Array, " chain"]:
    """Log importance weights, the base's partition function included."""
    parity = machine.smaller_parity
    base = _independent(machine)
    log_base = sum(jax.nn.softplus(bias).sum() for bias in base.biases)
    levels, others = machine.levels(parity), machine.levels(1 - parity)

    def at(temperature: Array) -> BinaryLayers:
        weights = tuple(temperature * matrix for matrix in machine.weights)
        pairs = zip(base.biases, machine.biases, strict=True)
        biases = tuple((1 - temperature) * b0 + temperature * b for b0, b in pairs)
        return BinaryLayers(weights, biases)

    def step(carry: tuple[Array, Array], number: Array) -> tuple[tuple[Array, Array], None]:
        units, log_weight = carry
        before, now = at(number / num_temperatures), at((number + 1) / num_temperatures)
        log_weight += now.log_marginal(units, parity) - before.log_marginal(units, parity)
        key_others, key_own = jax.random.split(jax.random.fold_in(key, number))
        layers = now.renew(key_others, now.place(units, parity), others)
        layers = now.renew(key_own, layers, levels)
        return (_side_by_side(layers, levels, num_chains), log_weight), None

    start = {
        level: draw_units(
            jax.random.fold_in(key, num_temperatures + level),
            jnp.broadcast_to(base.biases[level], (num_chains, base.widths[level])),
        )
        for level in levels
    }
    first = _side_by_side(start, levels, num_chains), jnp.full(num_chains, log_base)
    (_, log_weight), _ = jax.lax.scan(step, first, jnp.arange(num_temperatures))
    return log_weight


def _independent(machine: BinaryLayers) -> BinaryLayers:
    """No couplings, and each unit as it would be were its neighbours all at 1/2."""
    half = {level: jnp.full(width, 0.5) for level, width in enumerate(machine.widths)}
    biases = tuple(machine.field(level, half) for level in half)
    return BinaryLayers(tuple(map(jnp.zeros_like, machine.weights)), biases)


def _side_by_side(layers: dict[int, Array], levels: range, num_chains: int) -> Array:
    if not levels:
        return jnp.zeros((num_chains, 0))
    return jnp.concatenate([layers[level] for level in levels], axis=-1)


def estimate_log_mean(log_weights: Float[np.ndarray, "*batch chain"]) -> Estimate:
    """Log of the mean weight, and its standard error by the delta method."""
    largest = log_weights.max(-1, keepdims=True)
    weights = np.exp(log_weights - largest)
    mean = weights.mean(-1)
    relative = weights.std(-1, ddof=1) / mean / np.sqrt(weights.shape[-1])
    return Estimate(largest[..., 0] + np.log(mean), relative)
