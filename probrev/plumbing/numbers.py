"""JAX's arithmetic as this library is written for it, whatever its user has set for other work."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import jax


@contextmanager
def plain_numbers() -> Iterator[None]:
    """Lets types be promoted, and NaN be: it may be masked where nothing is amiss."""
    with ExitStack() as stack:
        if jax.config.jax_numpy_dtype_promotion != "standard":
            stack.enter_context(jax.numpy_dtype_promotion("standard"))
        if jax.config.jax_debug_nans:
            stack.enter_context(jax.debug_nans(False))
        if jax.config.jax_debug_infs:
            stack.enter_context(jax.debug_infs(False))
        yield
