"""Exact posteriors of a Boltzmann machine: odd layers enumerated, even ones summed out."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from probrev.boltzmann.binary_layers import EVEN, ODD, BinaryLayers
from probrev.boltzmann.machine import BoltzmannMachine
from probrev.inference.exact.enumeration.enumeration import enumerate_table
from probrev.inference.exact.exact_result import ExactOptions, ExactResult
from probrev.inference.exact.plan import (
    SECONDS_PER_STATE,
    ExactPlan,
    exact_plan_of,
    plan_enumeration,
)
from probrev.inference.partition import log_partition
from probrev.model.states import FiniteStates
from probrev.plumbing.pytree import pytree
from probrev.plumbing.streams import generator


def enumerate_collapsed(
    model: BoltzmannMachine,
    x: Float[Array, "obs visible"],
    options: ExactOptions,
) -> ExactResult:
    """p(h | x) of all hidden units; see `exact` for the arguments.

    Given h^1, h^3, ... the other layers are independent units, so that only the states of the odd
    layers are visited. A heavy "state" is one of the odd layers, with the even ones at their mean
    given it. `log_evidence` is log p(x), log Z taken off.

    Raises:
        ValueError: the states of the odd layers are too many.
    """
    found = enumerate_table(_CollapsedStates(model), x, _CollapsedTable(model, x), options)
    # Units are binary: what the sums took for values of even units are probabilities.
    prob = np.minimum(found.mean, 1)
    uniform = generator(options.seed, "exact/even").uniform(size=found.draws.shape)
    return found._replace(
        mean=prob,
        var=prob * (1 - prob),
        inclusion_prob=prob,
        log_evidence=found.log_evidence - log_partition(model),
        draws=(uniform < found.draws).astype(found.draws.dtype),
    )


@exact_plan_of.register
def plan_collapsed(model: BoltzmannMachine) -> ExactPlan:
    """The exact method for a machine.

    Raises:
        ValueError: the states of its odd layers are too many.
    """
    plan = plan_enumeration(model.states_of(ODD), SECONDS_PER_STATE)
    return plan._replace(
        method="collapsed_enumeration",
        reason=f"all {plan.size:,} states of the odd layers enumerated",
        solve=enumerate_collapsed,
    )


@pytree(data=("machine",))
@dataclass(frozen=True)
class _CollapsedStates:
    """h by number of the state of its odd layers, its even layers at their mean given those.

    The mean over these states is that over h: even units enter it through their mean alone.
    """

    machine: BoltzmannMachine

    @property
    def _odd(self) -> FiniteStates:
        return self.machine.states_of(ODD)

    def __len__(self) -> int:
        return self._odd.count

    def __getitem__(self, index: Int[Array, " state"]) -> Float[Array, "state hidden"]:
        """The states with these numbers."""
        # x, a layer below h^1, has no say in the layers above it.
        layers = self.machine.place(self._odd[index], ODD)
        hidden = range(1, len(self.machine.widths))
        means = {
            level: layers[level]
            if level in layers
            else jax.nn.sigmoid(self.machine.field(level, layers))
            for level in hidden
        }
        return jnp.concatenate([means[level] for level in hidden], axis=-1)


@pytree(data=("machine", "x"))
@dataclass(frozen=True)
class _CollapsedTable:
    """Log of the sum of exp(-E) over the even hidden layers, of odd ones with every observation."""

    machine: BoltzmannMachine
    x: Float[Array, "obs visible"]

    def __call__(self, h: Float[Array, "state hidden"]) -> Float[Array, "state obs"]:
        """For h as `_CollapsedStates` has it; of its even layers nothing is used."""
        hidden = self.machine.split(h)
        above: BinaryLayers = self.machine.above()  # h^1 is its level 0: odd and even change places
        own = above.log_marginal(jnp.concatenate(hidden[::2], axis=-1), EVEN)
        return own[:, None] + self.machine.log_coupling_table(hidden[0], self.x)
