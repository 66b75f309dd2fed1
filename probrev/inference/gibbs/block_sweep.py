"""Sweeps of block Gibbs over the hidden layers of a Boltzmann machine, all chains together."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.boltzmann.binary_layers import EVEN, ODD, draw_units
from probrev.boltzmann.machine import BoltzmannMachine
from probrev.inference.gibbs.sweep import Sweep, sweep_of, weights_sweep

# Sweeps a step of a deep machine: they are cheap, and at strong couplings neighbours are alike.
NUM_SWEEPS = 20


class BlockState(NamedTuple):
    """State of all chains.

    Attributes:
        h: all hidden units, (chain, obs, hidden).
        rng_key: key of the next step.
        intermediates: none: h has every layer.
    """

    h: Float[Array, "chain obs hidden"]
    rng_key: PRNGKeyArray
    intermediates: tuple[()] = ()


@partial(jax.jit, static_argnames="num_chains")
def init_block(
    key: PRNGKeyArray,
    machine: BoltzmannMachine,
    x: Float[Array, "obs visible"],
    num_chains: int,
    num_warmup: int,
) -> BlockState:
    """Starts the chains of a group from fair coins: over-dispersed, and blind to x."""
    del num_warmup
    key_start, rng_key = jax.random.split(key)
    coins = jnp.zeros((num_chains, x.shape[0], machine.n_hidden))
    return BlockState(draw_units(key_start, coins), rng_key)


def block_step(
    state: BlockState, machine: BoltzmannMachine, x: Float[Array, "obs visible"]
) -> BlockState:
    """Twenty sweeps of a deep machine; of a restricted one a single sweep, an independent draw."""
    rng_key, key_sweeps = jax.random.split(state.rng_key)
    below = jnp.broadcast_to(x, (*state.h.shape[:2], x.shape[-1]))

    def sweep(number, layers):
        """The odd layers given the others, then the even ones above x."""
        key_odd, key_even = jax.random.split(jax.random.fold_in(key_sweeps, number))
        layers = machine.renew(key_odd, layers, machine.levels(ODD))
        return machine.renew(key_even, layers, machine.levels(EVEN)[1:])

    start = dict(enumerate((below, *machine.split(state.h))))
    layers = jax.lax.fori_loop(0, NUM_SWEEPS if len(machine.weights) > 1 else 1, sweep, start)
    h = jnp.concatenate([layers[level] for level in range(1, len(layers))], axis=-1)
    return BlockState(h, rng_key)


@sweep_of.register
def block_sweep(machine: BoltzmannMachine) -> Sweep:
    """The sweep of a machine."""
    return weights_sweep(init_block, block_step, machine.num_weights)
