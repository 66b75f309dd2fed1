"""Small loops compiled into one CPU kernel, where XLA would dispatch every operation by itself."""

from collections.abc import Callable

import jax
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array, Bool

# Numbers of the largest array in such a kernel: of 4096 and more XLA does not compile it.
MOST_NUMBERS = 4000


def one_kernel[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """A function whose CPU code is one kernel: no dispatch between its operations, and one thread.

    XLA marks small loops so by itself; it does not say so in its documentation. Where the mark is
    ignored the code is slower, not wrong. The function must hold no matrix product, sort, scatter
    or call of a library, and compute no array of more than `MOST_NUMBERS`.
    """
    compiled = jax.jit(function)

    def marked(*args: P.args, **kwargs: P.kwargs) -> R:
        # Of an operand that is a constant the compiler ends the process.
        args, kwargs = jax.lax.optimization_barrier((args, kwargs))
        with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
            return compiled(*args, **kwargs)

    return marked


def do_if[T](condition: Bool[Array, ""], change: Callable[[T], T], state: T) -> T:
    """The state changed, or left where it is.

    `lax.cond` alone would copy it, and out of a loop alone the compiler would move what does not
    depend on the state, and do it in any case.
    """

    def once(index: Array, state: T) -> T:
        del index
        return jax.lax.cond(condition, change, lambda state: state, state)

    return jax.lax.fori_loop(0, condition.astype(int), once, state)
