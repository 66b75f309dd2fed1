"""What a Gibbs sweep costs beside bare passes over W, and how the cost grows."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.distributions import HalfNormal

import probrev as pr
from analyses.benchmarks.timings import medians
from probrev.inference.gibbs.chain import run_chain
from probrev.inference.gibbs.coordinate import UnitPrior, augment, update_units
from probrev.inference.gibbs.gibbs import every_layer, init_groups
from probrev.inference.gibbs.sweep import sweep_of
from probrev.plumbing.timing import stopwatch

WARMUP, SWEEPS, REPEATS = 100, 100, 20


def sweeps(
    *,
    base: dict[str, int] | None = None,
    growth: dict[str, tuple[int, ...]] | None = None,
) -> list[dict[str, Any]]:
    """Seconds per sweep and chain, of all parts and of bare passes W h and W^T r beside them.

    All are timed warm, in turn, on the same chains; a bare pass is over all chains at once too.

    Args:
        base: sizes n, m, k, depth, chains, obs.
        growth: values to try of each size, one at a time.
    """
    base = base or {"n": 1000, "m": 200, "k": 10, "depth": 1, "chains": 64, "obs": 1}
    growth = growth or {
        "n": (250, 500, 1000, 2000),
        "m": (50, 100, 200, 400),
        "k": (5, 10, 20),
        "depth": (1, 2, 3),
        "chains": (1, 4, 16, 64, 256),
    }
    settings = [base | {name: value} for name, values in growth.items() for value in values]
    settings += [base | {"chains": 4, "obs": obs} for obs in growth.get("obs", (1, 8, 64))]
    unique = [setting for index, setting in enumerate(settings) if setting not in settings[:index]]
    return [measure_sweep(**setting) for setting in unique]


def measure_sweep(n: int, m: int, k: int, depth: int, chains: int, obs: int) -> dict[str, Any]:
    """One setting; with several layers the ratio is to passes over every layer's weights."""
    model = stack(n, m, k, depth)
    x = model.simulate(jax.random.key(1), obs).x
    sweep = sweep_of(model)
    groups = init_groups(jax.random.key(2), sweep, model, x, chains, WARMUP)
    args = sweep.lay_out(model), x
    run = partial(run_chain, sweep.step, args=args, keep=every_layer, num_warmup=0)
    with stopwatch() as timing:
        groups = run(groups, num_samples=WARMUP).states
    kept = jax.tree.map(lambda *parts: jnp.concatenate(parts), *map(every_layer, groups))
    signals = (*kept.intermediates, kept.h)
    calls = [
        lambda: run(groups, num_samples=SWEEPS),
        bare_passes(model, signals),
        *parts(model, signals[0], x),
    ]
    seconds = medians(*calls)
    cases = chains * obs
    times = (SWEEPS, REPEATS, REPEATS, REPEATS)
    whole, bare, augmenting, updating = np.divide(seconds, times) / cases
    return {
        "n": n, "m": m, "k": k, "depth": depth, "chains": chains, "obs": obs,
        "sweep_us": whole * 1e6,
        "bare_us": bare * 1e6,
        "ratio": whole / bare,
        "augment_us": augmenting * 1e6,
        "coordinates_us": updating * 1e6,
        "compile_seconds": timing.compile_seconds,
    }  # fmt: skip


def stack(n: int, m: int, k: int, depth: int) -> pr.LayeredModel:
    """Layers of equal ratio n / m, noise relative to each one's signal."""
    widths = [n, *(round(m * (n / m) ** (level / depth)) for level in reversed(range(depth)))]
    energy, layers = 1.0, []
    for level in reversed(range(depth)):
        shape = widths[level], widths[level + 1]
        weights = np.random.default_rng(level).normal(size=shape)
        layers.insert(0, pr.Layer(weights, 0.5, 0.7 * np.sqrt(energy)))
        energy = 2 * 1.49 * energy / (0.5 * widths[level])
    return pr.LayeredModel(pr.SpikeAndSlab(m, k / m, HalfNormal(1 / np.sqrt(k))), layers)


def repeat(step: Callable[..., Any], state: Any, args: tuple, times: int) -> Any:
    """A step again and again, inside one compiled call."""
    return jax.lax.fori_loop(0, times, lambda _, state: step(state, *args), state)


def bare_passes(model: pr.LayeredModel, signals: Sequence[jax.Array]) -> Callable[[], Any]:
    """W h and W^T r of all chains, for every layer, as often as there are sweeps."""
    signals = [h.reshape(-1, h.shape[-1]) for h in signals]

    def down_and_up(signals, model):
        passes = [
            # A thread of dependence, so that no pass is left out or moved out of the loop.
            h + 1e-300 * (layer.pre_activation(h) @ layer.weights)
            for h, layer in zip(signals, model.layers, strict=True)
        ]
        return passes

    call = jax.jit(partial(repeat, down_and_up))
    return lambda: call(signals, (model,), REPEATS)


def parts(
    model: pr.LayeredModel, h: jax.Array, x: jax.Array
) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Augmentation and coordinate pass of the layer next to x, apart."""
    layer = model.layers[0]
    batch = h.shape[:2]
    h = h.reshape(-1, h.shape[-1])
    rows_of_x = jnp.broadcast_to(x, (*batch, x.shape[-1])).reshape(len(h), -1)
    sparse = model.sparse_prior
    logit = jnp.broadcast_to(sparse.inclusion_logit[:1], h.shape[-1:])
    prior = UnitPrior(logit, sparse.tilting_slab, (0, h.shape[-1]))
    rows = jax.jit(augment)(jax.random.key(3), layer, layer.pre_activation(h), rows_of_x)
    information, columns = rows.precision @ layer.weights**2, layer.weights.T

    def renew(carry, layer, x):
        key, h, _ = carry
        rows = augment(key, layer, layer.pre_activation(h), x)
        return jax.random.fold_in(key, 1), h, rows

    def update(carry, columns, information):
        key, h, rows = carry
        h, rows = update_units(key, prior, columns, information, h, rows)
        return jax.random.fold_in(key, 1), h, rows

    renewing, updating = jax.jit(partial(repeat, renew)), jax.jit(partial(repeat, update))
    start = (jax.random.key(4), h, rows)
    return (
        lambda: renewing(start, (layer, rows_of_x), REPEATS),
        lambda: updating(start, (columns, information), REPEATS),
    )
