"""Enumeration beside NumPyro's log_density and a bare erfc pass."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpyro.infer.util import log_density

import probrev as pr
from analyses.benchmarks.timings import medians
from probrev.runs import registry

STATES_OF_LOG_DENSITY = 4096


def enumerations(*, num_obs: tuple[int, ...] = (1, 32), **parameters: Any) -> list[dict[str, Any]]:
    """Zero-row terms per second of `exact`, of NumPyro's log_density and of a bare erfc pass.

    A term is the log mass of one silent row under one state: states x silent rows. Observations
    share the terms, so they count once for each observation that uses them.

    Args:
        num_obs: how many observations to do at once, a row for each.
        **parameters: of the model `one_layer`.
    """
    model = registry.load("one_layer")(**parameters)
    obs = model.simulate(jax.random.key(0), max(num_obs))
    rows = []
    for number in num_obs:
        part = obs[:number]
        check(model, part)
        silent = int((part.x == 0).sum())
        terms = model.states().count * silent
        few = min(STATES_OF_LOG_DENSITY, model.states().count)
        numbers = jnp.linspace(-4.0, 4.0, min(terms, 2**24))
        erfc = jax.jit(lambda t: jax.scipy.special.erfc(t).sum())
        by_numpyro = jax.jit(lambda x, model=model, few=few: density(model, x, jnp.arange(few)))
        seconds = medians(
            lambda part=part: pr.exact(model, part, num_draws=4).mean.to_numpy(),
            lambda part=part, call=by_numpyro: call(part.x),
            lambda numbers=numbers, erfc=erfc: erfc(numbers),
        )
        ours, numpyro, bare = np.divide([terms, few * silent, numbers.size], seconds)
        rows.append(
            {
                "obs": number,
                "states": model.states().count,
                "terms": terms,
                "seconds": seconds[0],
                "terms_per_second": ours,
                "over_log_density": ours / numpyro,
                "over_erfc": ours / bare,
            }
        )
    return rows


def density(model: pr.LayeredModel, x: jax.Array, index: jax.Array) -> jax.Array:
    """NumPyro's log density of some states with every x, (state, obs)."""
    h = model.states()[index]
    slab = model.sparse_prior.slab
    assert isinstance(slab, pr.FiniteSlab)
    levels = (h[..., None] == slab.values[None, None, :]).argmax(-1) + 1
    levels = jnp.where(h > 0, levels, 0)

    def one(level: jax.Array, x: jax.Array) -> jax.Array:
        return jnp.asarray(log_density(model.program, (x,), {}, {"level": level})[0])

    return jax.vmap(lambda level: jax.vmap(lambda x: one(level, x))(x))(levels)


def check(model: pr.LayeredModel, obs: pr.Observations) -> None:
    """Asserts that `exact` tabulates NumPyro's density, on states drawn at random."""
    index = jax.random.randint(jax.random.key(1), (100,), 0, model.states().count)
    ours = model.log_joint_table(model.states()[index], obs.x)
    np.testing.assert_allclose(ours, density(model, obs.x, index), rtol=1e-10)
