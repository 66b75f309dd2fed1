"""Draws of binary layers: exact where half of them can be enumerated, else by block Gibbs."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.boltzmann.binary_layers import EVEN, ODD, BinaryLayers, draw_units
from probrev.posterior.diagnostics import H_DIMS, diagnose, status_of
from probrev.posterior.status import Status

# States of one parity's units that are enumerated for exact draws, and so many at a time.
MAX_STATES, BLOCK_STATES = 2**16, 2**10
# Block Gibbs: chains, sweeps before the first draw, sweeps between two draws of one chain.
NUM_CHAINS, NUM_WARMUP, NUM_BETWEEN = 256, 2000, 50
FEWEST_CHAINS = 16


def simulate(
    key: PRNGKeyArray, layers: BinaryLayers, num_draws: int
) -> list[Float[Array, "draw unit"]]:
    """Draws of all layers, the lowest first.

    Where the units of the even or of the odd layers have at most 2^16 states, these are drawn by
    their exact probabilities, and the other layers given them: draws are independent. Else by block
    Gibbs: at most 256 chains from fair coins, 2000 sweeps, then draws 50 sweeps apart. Warns where
    the energy or the activity of a layer, over the second half of the 2000 sweeps, says that they
    were too few.

    Args:
        key: random key.
        layers: the machine.
        num_draws: number of draws.
    """
    parity = layers.smaller_parity
    if layers.states_of(parity).count <= MAX_STATES:
        return _draw_exactly(key, layers, parity, num_draws)
    num_chains = max(min(NUM_CHAINS, num_draws), FEWEST_CHAINS)
    num_rounds = -(-num_draws // num_chains)
    drawn, traces = _run_chains(key, layers, num_chains, num_rounds)
    late = np.asarray(traces)[NUM_WARMUP // 2 :].swapaxes(0, 1)[:, :, None, :]
    late = xr.DataArray(late, dims=H_DIMS)
    status, reason = status_of(late, diagnose(late), starts_apart=True)
    if status is not Status.OK:
        warnings.warn(
            f"block Gibbs is {status} after {NUM_WARMUP:,} sweeps, judged by its energy and the "
            f"activity of its layers: {reason}; these draws are not from the machine",
            stacklevel=3,
        )
    return [layer.reshape(-1, layer.shape[-1])[:num_draws] for layer in drawn]


@partial(jax.jit, static_argnames=("parity", "num_draws"))
def _draw_exactly(
    key: PRNGKeyArray, layers: BinaryLayers, parity: int, num_draws: int
) -> list[Array]:
    """The layers of one parity from their marginal, then the others given them."""
    key_state, key_others = jax.random.split(key)
    states = layers.states_of(parity)
    log_prob = jax.lax.map(
        lambda index: layers.log_marginal(states[index[None]][0], parity),
        jnp.arange(states.count),
        batch_size=BLOCK_STATES,
    )
    index = jax.random.choice(key_state, states.count, (num_draws,), p=jax.nn.softmax(log_prob))
    drawn = layers.place(states[index], parity)
    drawn = layers.renew(key_others, drawn, layers.levels(1 - parity))
    return [drawn[level] for level in range(len(layers.widths))]


@partial(jax.jit, static_argnames=("num_chains", "num_rounds"))
def _run_chains(
    key: PRNGKeyArray, layers: BinaryLayers, num_chains: int, num_rounds: int
) -> tuple[list[Float[Array, "round chain unit"]], Float[Array, "sweep chain statistic"]]:
    """Layers after every round; energy and active units of each layer in warm-up."""
    key_start, key_warmup, key_rounds = jax.random.split(key, 3)
    start = {
        level: draw_units(jax.random.fold_in(key_start, level), jnp.zeros((num_chains, width)))
        for level, width in enumerate(layers.widths)
    }

    def sweep(drawn, key):
        for parity in (ODD, EVEN):
            drawn = layers.renew(jax.random.fold_in(key, parity), drawn, layers.levels(parity))
        active = [layer.sum(-1) for layer in drawn.values()]
        return drawn, jnp.stack([-layers.log_weight(drawn), *active], axis=-1)

    def advance(drawn, key):
        drawn, _ = jax.lax.scan(sweep, drawn, jax.random.split(key, NUM_BETWEEN))
        return drawn, drawn

    warm, traces = jax.lax.scan(sweep, start, jax.random.split(key_warmup, NUM_WARMUP))
    _, drawn = jax.lax.scan(advance, warm, jax.random.split(key_rounds, num_rounds))
    return [drawn[level] for level in range(len(layers.widths))], traces
