"""One small model and its posteriors, made once for all tests that need any."""

import functools

import jax
import numpy as np

import probrev as pr
from probrev.posterior.posterior import Posterior, from_draws

NUM_OBS = 6
SLAB = pr.FiniteSlab([0.6, 1.7], [0.4, 0.6])
LAYER = pr.Layer(np.random.default_rng(2).normal(size=(12, 4)), 0.6, 0.9, 0.5)
MODEL = pr.LayeredModel(pr.SpikeAndSlab(4, 0.3, SLAB, max_active=2), [LAYER])
OTHER = pr.LayeredModel(pr.SpikeAndSlab(4, 0.6, SLAB), [LAYER])


@functools.cache
def observe(num_obs: int = NUM_OBS) -> pr.Observations:
    return MODEL.simulate(jax.random.key(3), num_obs)


@functools.cache
def exact(model: str = "own", num_draws: int = 4000) -> Posterior:
    chosen = {"own": MODEL, "other": OTHER}[model]
    return pr.exact(chosen, observe(), num_draws=num_draws)


@functools.cache
def sampler() -> Posterior:
    """What a perfect sampler gives: other iid draws from the exact posterior."""
    draws = pr.exact(MODEL, observe(), num_draws=4000, seed=5).draws.to_numpy()
    return from_draws("sampler", draws, observe().x, model=MODEL)


@functools.cache
def approximation() -> Posterior:
    return pr.message_passing(MODEL, observe())
