"""What a Gibbs sweep is, and which one a model offers."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from jaxtyping import Array, Float

from probrev.model.kinds import Question, refusal
from probrev.model.protocol import Model
from probrev.plumbing.readable import readable


class State(Protocol):
    """State of a group of chains: a pytree, such as a NamedTuple, with its random key in it."""

    @property
    def h(self) -> Float[Array, "chain obs hidden"]:
        """The top hidden vectors."""
        ...


def _as_it_is(model: Any) -> Any:
    return model


@readable
class Sweep(NamedTuple):
    """How Gibbs samples a model, all chains of all observations together.

    A state is a pytree, such as a NamedTuple, with `h` (chain, obs, hidden), whatever `step` needs,
    the random key too, and, where there are hidden vectors between x and h, a tuple
    `intermediates` of them, the one next to x first. A dict `auxiliary` of further variables, by
    name, each (chain, obs, ...), is kept with h.

    Attributes:
        init: (key, model, x, num_chains, num_warmup) -> the state at the start; chains should start
            as far apart as the prior's draws, and blind to x.
        step: (state, model, x) -> the state after one sweep, which must leave p(h | x) as it is. A
            function of a module, not a lambda or a partial: it is compiled once, by its name.
        seconds: about how many it takes at default settings for each observation; NaN if unknown.
        size: how much there is to do, in words: "9,600 weights".
        lay_out: model -> what `step` is given in its place, made once for a run: the model itself
            unless told otherwise.
    """

    init: Callable[..., Any]
    step: Callable[..., Any]
    seconds: float = math.nan
    size: str = ""
    lay_out: Callable[[Any], Any] = _as_it_is


# Of a sweep over weights, for each of them at default settings, and for each quadrature of a sweep:
# rounded up from runs on 2 CPU cores.
SECONDS_PER_WEIGHT, SECONDS_PER_QUADRATURE = 1.5e-5, 0.2


def weights_sweep(
    init: Callable[..., Any], step: Callable[..., Any], num_weights: int, num_quadratures: int = 0
) -> Sweep:
    """A sweep that costs what its weights cost, and the slabs that have no closed form."""
    seconds = num_weights * SECONDS_PER_WEIGHT + num_quadratures * SECONDS_PER_QUADRATURE
    return Sweep(init, step, seconds, f"{num_weights:,} weights")


@Question("gibbs_sweep", Sweep)
def sweep_of(model: Model) -> Sweep:
    """The sweep that a model offers by its method `gibbs_sweep`, or that of its class.

    Raises:
        ValueError: it offers none, or Gibbs cannot sample it; says what can.
    """
    raise refusal(
        "gibbs",
        model,
        "samples a LayeredModel, a BoltzmannMachine, or a model with a method gibbs_sweep that "
        "returns a probrev.Sweep; hmc runs any program",
    )
