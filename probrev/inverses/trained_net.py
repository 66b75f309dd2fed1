"""A trained net: one ReLU layer whose weights are fitted to draws from the model."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.inverses.feedforward import FeedforwardNet
from probrev.model.layer import Layer
from probrev.model.layered_model import LayeredModel
from probrev.model.observations import Observations
from probrev.model.protocol import NUM_SIMULATED
from probrev.plumbing import door
from probrev.plumbing.arrays import own
from probrev.plumbing.pytree import pytree
from probrev.plumbing.refusal import Refusal

BATCH_SIZE = 64
LEARNING_RATE = 0.02
# Of NUM_SIMULATED draws each; the net is checked on held-out ones after each.
NUM_BLOCKS = 24
# The key's other children are the calibration's.
TRAINING_STREAM = 2


@pytree(data=("layer", "weights", "offset", "multiple", "scale"))
@dataclass(frozen=True)
class TrainedNet:
    """h = r(A x + b - c * readout_std(x)): a ReLU layer with weights and biases of its own.

    readout_std(x) is that of the model's layer, a multiple of ||x||_2. With A the layer's readout,
    b = 0 and c the same for all units this is the net with "universal" or "calibrated" bias.

    Attributes:
        layer: the layer that it inverts, for readout_std.
        weights: A.
        offset: b.
        multiple: c.
        scale: of the readout whose standard deviation it is; by default the layer's.
    """

    layer: Layer
    weights: Float[Array, "hidden visible"]
    offset: Float[Array, " hidden"]
    multiple: Float[Array, " hidden"]
    scale: Array | None = None

    def __post_init__(self):
        for name in ("weights", "offset", "multiple"):
            object.__setattr__(self, name, own(getattr(self, name)))

    @jax.jit
    def __call__(self, x: Float[Array, "*batch visible"]) -> Float[Array, "*batch hidden"]:
        """The estimate of h."""
        readout = x @ self.weights.T
        offset, multiple = (
            jnp.broadcast_to(part, readout.shape) for part in (self.offset, self.multiple)
        )
        return jax.nn.relu(readout + offset - multiple * self.layer.readout_std(x, self.scale))


@door.guard(key=door.random_key, model=door.instance_of(LayeredModel, "a probrev.LayeredModel"))
def train_net(key: PRNGKeyArray, model: LayeredModel) -> TrainedNet:
    """Trains a one-layer ReLU net to invert a model, in squared error, on draws from the model.

    It starts as the net with "calibrated" bias (the one that the same key gives), and is kept as it
    was when its risk on held-out draws was least, the start included: there it is not worse.
    Squared error of a rectifier has several minima, so that nothing more is promised.

    Adam, 1536 steps of 64 fresh draws each, at a learning rate that falls from .02 to 0 as a
    cosine, in units where A, b and c are of order 1. At 400 x 24 its relative risk is then .155
    (noise_std = 1.4) and .037 (.35); with 2.6 times as many draws it is .152 and .036, with half as
    many .157 and .039.

    Args:
        key: random key; the net is a function of it and the model.
        model: one layer, under any prior that can be simulated.

    Raises:
        ValueError: several layers.
    """
    if len(model.layers) != 1:
        raise Refusal(
            f"train_net trains a net of one layer; got a model with {len(model.layers)}: "
            "use FeedforwardNet.from_model"
        )
    start = contain_net(FeedforwardNet.from_model(key, model, "calibrated"))
    keys = jax.random.split(jax.random.fold_in(key, TRAINING_STREAM), NUM_BLOCKS + 1)
    held_out = model.simulate(keys[0], NUM_SIMULATED)
    progress = _begin(start, held_out)
    for key_block in keys[1:]:
        # Drawn apart, by the program that calibration has compiled already.
        draws = model.simulate(key_block, NUM_SIMULATED)
        progress = _train_on(progress, start, draws, held_out)
    return TrainedNet(start.layer, *progress.best, scale=start.scale)


def contain_net(net: FeedforwardNet) -> TrainedNet:
    """A deterministic net of one layer, written as a trained one."""
    (layer,), (scale,), (bias,) = net.layers, net.scales, net.biases
    offset, multiple = (
        jnp.broadcast_to(jnp.asarray(part, float), layer.n_hidden)
        for part in (bias.offset, bias.multiple)
    )
    return TrainedNet(layer, scale * layer.weights.T, offset, multiple, scale)


class _Progress(NamedTuple):
    """Where training is, and the best that it has come by; A, b and c each."""

    parameters: tuple[Array, ...]
    memory: Any
    best: tuple[Array, ...]
    least: Float[Array, ""]


@jax.jit
def _begin(start: TrainedNet, held_out: Observations) -> _Progress:
    first = start.weights, start.offset, start.multiple
    return _Progress(first, _optimizer().init(first), first, _risk(first, start, held_out))


@jax.jit
def _train_on(
    now: _Progress, start: TrainedNet, draws: Observations, held_out: Observations
) -> _Progress:
    """A pass over the draws, and a check."""
    optimizer = _optimizer()
    layer, scale = start.layer, start.scale
    assert scale is not None
    units = scale * layer.weight_std, layer.readout_std(held_out.x, scale).mean(), 1.0

    def step(carry, batch):
        parameters, memory = carry
        moves, memory = optimizer.update(jax.grad(_risk)(parameters, start, batch), memory)
        parameters = jax.tree.map(lambda p, move, unit: p + unit * move, parameters, moves, units)
        return (parameters, memory), None

    pairs = Observations(draws.x, draws.h)
    batches = jax.tree.map(lambda leaf: leaf.reshape(-1, BATCH_SIZE, leaf.shape[-1]), pairs)
    (parameters, memory), _ = jax.lax.scan(step, (now.parameters, now.memory), batches)
    found = _risk(parameters, start, held_out)
    better = found < now.least  # which NaN is not
    best, least = jax.tree.map(
        lambda new, old: jnp.where(better, new, old), (parameters, found), (now.best, now.least)
    )
    return _Progress(parameters, memory, best, least)


def _optimizer():
    import optax

    steps = NUM_BLOCKS * NUM_SIMULATED // BATCH_SIZE
    return optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, steps))


def _risk(parameters: tuple[Array, ...], start: TrainedNet, obs: Observations) -> Float[Array, ""]:
    """Mean squared error."""
    net = TrainedNet(start.layer, *parameters, scale=start.scale)
    return ((net(obs.x) - obs.h) ** 2).sum(-1).mean()
