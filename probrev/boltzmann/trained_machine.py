"""A trained Boltzmann machine: persistent contrastive divergence on binary data."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.boltzmann.binary_layers import EVEN, ODD, BinaryLayers, draw_units
from probrev.boltzmann.machine import BoltzmannMachine
from probrev.model.observations import Observations
from probrev.plumbing import door
from probrev.plumbing.progress import Progress
from probrev.plumbing.refusal import Refusal

# Standard deviation of the first weights.
INIT_STD = 0.1
# Chains of the machine, and sweeps of block Gibbs in each phase of a step.
NUM_CHAINS, NUM_SWEEPS = 512, 5
CHUNK_STEPS = 100


class _Training(NamedTuple):
    """Where training is.

    Attributes:
        machine: as it is now.
        memory: the optimizer's.
        clamped: layers by level, x at each row of the data.
        free: layers by level of the machine's own chains.
        rng_key: key of the next step.
    """

    machine: BinaryLayers
    memory: Any
    clamped: dict[int, Float[Array, "obs unit"]]
    free: dict[int, Float[Array, "chain unit"]]
    rng_key: PRNGKeyArray


@door.guard(
    key=door.random_key,
    x=door.finite_array("num_obs", "n_visible"),
    widths=door.all_of(door.count()),
    num_steps=door.count(),
    learning_rate=door.positive,
    progress=door.optional(door.function),
)
def train_machine(
    key: PRNGKeyArray,
    x: ArrayLike,
    widths: Sequence[int],
    *,
    num_steps: int = 4000,
    learning_rate: float = 0.03,
    progress: Progress | None = None,
) -> BoltzmannMachine:
    """Fits a machine to binary data by maximum likelihood, both phases by persistent Gibbs chains.

    The gradient of mean log p(x) is the mean of the sufficient statistics s_l and s_l s_{l+1}^T
    with x at the data, less their mean under the machine. The first is over one chain per row of x,
    whose hidden layers go on from step to step, the second over 512 chains of all layers; five
    sweeps of block Gibbs each per step, the odd layers at their mean given the even ones. No mean
    field is in it, so that a machine can be trained by this and mean field be judged by it.

    Adam on all of the data, at a learning rate that falls from `learning_rate` to 0 as a cosine.
    Nothing here says that it has converged: hold `exact`'s or `estimate_log_evidence`'s log p(x)
    of held-out data against that of independent units.

    Args:
        key: random key.
        x: data, 0 or 1, (num_obs, n_visible).
        widths: units of h^1, h^2, ...; one number for a restricted machine.
        num_steps: steps of Adam.
        learning_rate: positive.
        progress: where to report progress, in steps.

    Raises:
        ValueError: x is not binary, no hidden layer or an empty one, no step, or the machine's
            weights have grown beyond all bounds: a smaller learning rate may do.

    Source: Tieleman 2008; for deep machines Salakhutdinov and Hinton 2009, with chains in place of
    their mean field.
    """
    if not len(widths):
        raise Refusal("widths must name at least one hidden layer; got none")
    obs = Observations(x)
    key_start, key_chains = jax.random.split(key)
    machine = _start(key_start, obs, widths)
    machine.check(obs)
    layers = BinaryLayers(machine.weights, machine.biases)
    now = _begin(key_chains, layers, obs.x, learning_rate, num_steps)
    for done in range(0, num_steps, CHUNK_STEPS):
        count = min(CHUNK_STEPS, num_steps - done)
        now = _advance(now, learning_rate, num_steps, count)
        if progress is not None:
            progress(done + count, num_steps)
    return BoltzmannMachine(now.machine.weights, now.machine.biases)


def _start(key: PRNGKeyArray, obs: Observations, widths: Sequence[int]) -> BoltzmannMachine:
    """Small random weights; units of x as often 1 as in the data, those of h as often as 0."""
    sizes = (obs.x.shape[1], *widths)
    weights = [
        INIT_STD * jax.random.normal(jax.random.fold_in(key, level), sizes[level : level + 2])
        for level in range(len(widths))
    ]
    often = (obs.x.sum(0) + 0.5) / (obs.num_obs + 1)
    biases = [np.asarray(jax.scipy.special.logit(often)), *[0.0] * len(widths)]
    biases[0] = np.nan_to_num(biases[0])  # where x is not binary at all, which is refused next
    return BoltzmannMachine(weights, biases)


@jax.jit
def _begin(
    key: PRNGKeyArray, machine: BinaryLayers, x: Array, learning_rate: Array, num_steps: Array
) -> _Training:
    """Hidden layers from fair coins, x of the machine's own chains as often 1 as in the data."""
    key_free, key_clamped, rng_key = jax.random.split(key, 3)
    odds = {level: jnp.zeros(width) for level, width in enumerate(machine.widths)}
    odds[0] = machine.biases[0]
    free = _draw(key_free, odds, NUM_CHAINS)
    clamped = _draw(key_clamped, odds, x.shape[0]) | {0: x}
    memory = _optimizer(learning_rate, num_steps).init(machine)
    return _Training(machine, memory, clamped, free, rng_key)


def _draw(key: PRNGKeyArray, odds: dict[int, Array], count: int) -> dict[int, Array]:
    return {
        level: draw_units(
            jax.random.fold_in(key, level), jnp.broadcast_to(own, (count, own.shape[-1]))
        )
        for level, own in odds.items()
    }


@partial(jax.jit, static_argnames="count")
def _advance(now: _Training, learning_rate: Array, num_steps: Array, count: int) -> _Training:
    """So many steps of Adam."""
    optimizer = _optimizer(learning_rate, num_steps)

    def step(now: _Training, _: None) -> tuple[_Training, None]:
        rng_key, key_clamped, key_free = jax.random.split(now.rng_key, 3)
        clamped = _sweep(key_clamped, now.machine, now.clamped, hidden_only=True)
        free = _sweep(key_free, now.machine, now.free, hidden_only=False)
        known, dreamt = (statistics(now.machine, layers) for layers in (clamped, free))
        downhill = jax.tree.map(jnp.subtract, dreamt, known)
        moves, memory = optimizer.update(downhill, now.memory, now.machine)
        machine = jax.tree.map(jnp.add, now.machine, moves)
        return _Training(machine, memory, clamped, free, rng_key), None

    return jax.lax.scan(step, now, length=count)[0]


def _sweep(
    key: PRNGKeyArray, machine: BinaryLayers, layers: dict[int, Array], *, hidden_only: bool
) -> dict[int, Array]:
    """Sweeps of block Gibbs; the even layers last, so that `statistics` can average the odd."""

    def sweep(number: Array, layers: dict[int, Array]) -> dict[int, Array]:
        key_odd, key_even = jax.random.split(jax.random.fold_in(key, number))
        layers = machine.renew(key_odd, layers, machine.levels(ODD))
        return machine.renew(key_even, layers, machine.levels(EVEN)[hidden_only:])

    return jax.lax.fori_loop(0, NUM_SWEEPS, sweep, layers)


def statistics(machine: BinaryLayers, layers: dict[int, Array]) -> BinaryLayers:
    """Means of s_l and s_l s_{l+1}^T over rows, the odd layers averaged out given the even ones.

    Of the layers that the machine's law makes of x these are the derivatives of log Z.

    Args:
        machine: the machine.
        layers: by level, (row, unit); of the odd ones only the place is used.

    Returns:
        The means, where the machine has its biases and weights.
    """
    even = {level: layers[level] for level in machine.levels(EVEN)}
    means = even | {
        level: jax.nn.sigmoid(machine.field(level, even)) for level in machine.levels(ODD)
    }
    count = len(layers[0])
    weights = tuple(
        means[level].T @ means[level + 1] / count for level in range(len(machine.weights))
    )
    return BinaryLayers(weights, tuple(means[level].mean(0) for level in range(len(means))))


def _optimizer(learning_rate: Array, num_steps: Array) -> Any:
    import optax

    # Not cosine_decay_schedule: it needs the number of steps when it is compiled.
    schedule = lambda step: learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * step / num_steps))  # noqa: E731
    return optax.adam(schedule)
