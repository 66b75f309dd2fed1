"""The rungs of a Boltzmann machine: from a pass of sigmoids up to mean field."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.boltzmann.binary_layers import draw_units
from probrev.boltzmann.machine import BoltzmannMachine
from probrev.inverses.estimates import Inverse
from probrev.inverses.ladder.rungs import Rungs, Samplers, rungs_of, samplers_of
from probrev.inverses.minimize import minimize
from probrev.inverses.rung_names import BINARY
from probrev.model.protocol import NUM_SIMULATED
from probrev.plumbing.pytree import pytree

# Mean field: share of the old value that is kept, and when to stop.
DAMPING, TOLERANCE, MAX_ITERATIONS = 0.5, 1e-12, 2000


@rungs_of.register
def binary_rungs(machine: BoltzmannMachine) -> Rungs:
    """The rungs that a machine has, lowest first.

    "sigmoid" is the pass up, exact for a restricted machine; "bottom_up" the same with doubled
    input from below, where a layer above is yet to speak; "affine" the pass with slope and offset
    of each unit calibrated; "mean_field" the fixed point of all layers. A restricted machine has
    nothing above, so "bottom_up" and "mean_field" would be "sigmoid" again.
    """
    names = BINARY if len(machine.weights) > 1 else ("sigmoid", "affine")
    return {name: partial(_build_rung, machine=machine, name=name) for name in names}


def _build_rung(key: PRNGKeyArray, machine: BoltzmannMachine, name: str) -> Inverse:
    """A rung by name; see `binary_rungs`."""
    if name == "affine":
        return calibrate_pass(key, machine)
    if name == "mean_field":
        return MeanField(machine)
    return plain_pass(machine, doubled=name == "bottom_up")


@samplers_of.register
def binary_samplers(machine: BoltzmannMachine) -> Samplers:
    """The pass up whose units are drawn, not averaged."""
    return {"stochastic": lambda _: StochasticPass(machine)}


@pytree(data=("machine", "slopes", "offsets"))
@dataclass(frozen=True)
class SigmoidPass:
    """h^l = sigmoid(slope_l W_{l-1}^T h^{l-1} + offset_l), from x up: no word from above.

    Attributes:
        machine: whose weights it uses.
        slopes: of every hidden layer, (width,).
        offsets: of every hidden layer, (width,).
    """

    machine: BoltzmannMachine
    slopes: tuple[Float[Array, " unit"], ...]
    offsets: tuple[Float[Array, " unit"], ...]

    @jax.jit
    def __call__(self, x: Float[Array, "obs visible"]) -> Float[Array, "obs hidden"]:
        """The estimate of all hidden units."""
        below, hidden = jnp.asarray(x, float), []
        for matrix, slope, offset in zip(
            self.machine.weights, self.slopes, self.offsets, strict=True
        ):
            below = _activate(below @ matrix, slope, offset)
            hidden.append(below)
        return jnp.concatenate(hidden, axis=-1)


def plain_pass(machine: BoltzmannMachine, *, doubled: bool = False) -> SigmoidPass:
    """The pass with the machine's own weights and biases.

    Args:
        machine: the machine.
        doubled: count input from below twice in every layer that has one above, in place of what
            that would say (Salakhutdinov and Hinton 2009, section 3.2).
    """
    top = len(machine.weights)
    slopes = tuple(
        jnp.full(width, 2.0 if doubled and level < top else 1.0)
        for level, width in enumerate(machine.widths[1:], start=1)
    )
    return SigmoidPass(machine, slopes, machine.biases[1:])


def calibrate_pass(key: PRNGKeyArray, machine: BoltzmannMachine) -> SigmoidPass:
    """The pass with slopes and offsets that minimise squared error on draws from the machine.

    Layer by layer, from x up, by L-BFGS from the better of the two plain passes; a layer that came
    out worse than its start is left as it was. So on those draws it is not worse than either in
    the first layer.

    Args:
        key: random key of the draws.
        machine: the machine.
    """
    draws = machine.simulate(key, NUM_SIMULATED)
    assert draws.h is not None
    below, slopes, offsets = draws.x, [], []
    starts = [plain_pass(machine), plain_pass(machine, doubled=True)]
    for level, target in enumerate(machine.split(draws.h)):
        drive = below @ machine.weights[level]
        candidates = [(start.slopes[level], start.offsets[level]) for start in starts]
        best = min(candidates, key=lambda pair: float(_risk(pair, drive, target)))
        slope, offset = _minimize(best, drive, target)
        below = _activate(drive, slope, offset)
        slopes.append(slope)
        offsets.append(offset)
    return SigmoidPass(machine, tuple(slopes), tuple(offsets))


def _activate(drive: Array, slope: Array, offset: Array) -> Array:
    return jax.nn.sigmoid(drive * slope[None, :] + offset[None, :])


def _risk(pair: tuple[Array, Array], drive: Array, target: Array) -> Float[Array, ""]:
    """Mean squared error of a layer."""
    return jnp.square(_activate(drive, *pair) - target).sum(-1).mean()


@jax.jit
def _minimize(
    start: tuple[Array, Array], drive: Float[Array, "draw unit"], target: Array
) -> tuple[Array, Array]:
    """Slope and offset of every unit of a layer, started from `start` and not worse."""
    return minimize(lambda pair: _risk(pair, drive, target), start)


@pytree(data=("machine",))
@dataclass(frozen=True)
class MeanField:
    """q_i = sigmoid(field of i at q), the fixed point reached by damping from the bottom-up pass.

    The factorised q that, locally, is closest to p(h | x) in KL(q || p). Every round renews the odd
    layers, then the even ones, keeping half of the old value, until nothing moves by more than
    1e-12 or for 2000 rounds.

    Source: Salakhutdinov and Hinton 2009, section 3.1.
    """

    machine: BoltzmannMachine

    @jax.jit
    def __call__(self, x: Float[Array, "obs visible"]) -> Float[Array, "obs hidden"]:
        """The estimate of all hidden units."""
        machine, x = self.machine, jnp.asarray(x, float)
        start = machine.split(plain_pass(machine, doubled=True)(x))
        hidden = range(1, len(machine.widths))

        def renew(carry):
            layers, _, count = carry
            new = dict(layers)
            for level in (*hidden[::2], *hidden[1::2]):
                target = jax.nn.sigmoid(machine.field(level, new))
                new[level] = DAMPING * new[level] + (1 - DAMPING) * target
            moved = jnp.max(jnp.stack([jnp.abs(new[i] - layers[i]).max() for i in hidden]))
            return new, moved, count + 1

        def unfinished(carry):
            return (carry[1] > TOLERANCE) & (carry[2] < MAX_ITERATIONS)

        first = dict(enumerate((x, *start)))
        layers, _, _ = jax.lax.while_loop(unfinished, renew, (first, jnp.inf, 0))
        return jnp.concatenate([layers[level] for level in hidden], axis=-1)


@pytree(data=("machine",))
@dataclass(frozen=True)
class StochasticPass:
    """Each layer drawn from its sigmoids given the drawn one below; exact for a restricted machine.

    With the machine's own weights and no word from above.
    """

    machine: BoltzmannMachine

    @jax.jit
    def __call__(
        self, x: Float[Array, "obs visible"], key: PRNGKeyArray
    ) -> Float[Array, "obs hidden"]:
        """A draw of all hidden units."""
        below, hidden = jnp.asarray(x, float), []
        for level in range(1, len(self.machine.widths)):
            field = self.machine.field(level, {level - 1: below})
            below = draw_units(jax.random.fold_in(key, level), field)
            hidden.append(below)
        return jnp.concatenate(hidden, axis=-1)

    @jax.jit
    def log_prob(
        self, h: Float[Array, "obs hidden"], x: Float[Array, "obs visible"]
    ) -> Float[Array, " obs"]:
        """Log probability of h among its draws given x."""
        layers, total = [jnp.asarray(x, float), *self.machine.split(h)], jnp.zeros(len(h))
        for level, units in enumerate(layers[1:], start=1):
            field = self.machine.field(level, {level - 1: layers[level - 1]})
            total += (units * field - jax.nn.softplus(field)).sum(-1)
        return total
