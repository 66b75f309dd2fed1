"""Fits a few parameters of an inverse by L-BFGS, never for the worse."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

NUM_STEPS = 100


def minimize(risk: Callable[[Any], Float[Array, ""]], start: Any) -> Any:
    """The parameters after 100 steps, or those of the start where that is no better.

    Args:
        risk: to be minimised, of a pytree of arrays; to be called within compiled code.
        start: where to begin.
    """
    import optax

    optimizer = optax.lbfgs()

    def step(carry, _):
        parameters, memory = carry
        value, gradient = optax.value_and_grad_from_state(risk)(parameters, state=memory)
        moves, memory = optimizer.update(
            gradient, memory, parameters, value=value, grad=gradient, value_fn=risk
        )
        return (optax.apply_updates(parameters, moves), memory), None

    (found, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=NUM_STEPS)
    better = risk(found) < risk(start)  # which NaN is not
    return jax.tree.map(lambda new, old: jnp.where(better, new, old), found, start)
