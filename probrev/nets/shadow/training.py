"""Training classifiers, several seeds at once, so that an interrupted run goes on bit for bit."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from probrev.nets.shadow.calibration import expected_calibration_error
from probrev.nets.shadow.classifier import Classifier, start_classifier
from probrev.nets.shadow.labelled import Labelled, check_data, check_rows, label_images
from probrev.nets.shadow.recipe import Recipe
from probrev.nets.shadow.synthetic import Shadow, draw_shadow
from probrev.plumbing import door
from probrev.plumbing.checkpoint import load_checkpoint, save_checkpoint
from probrev.plumbing.progress import Progress
from probrev.plumbing.readable import readable
from probrev.plumbing.refusal import Refusal

# Children of a seed's key.
START_STREAM, EPOCH_STREAM = 0, 1
# Children of a step's key.
REAL_STREAM, DRAWING_STREAM, SYNTHETIC_STREAM = 0, 1, 2


@readable
class Curve(NamedTuple):
    """What training looked like at each check; of every seed where there are several.

    Attributes:
        num_steps: gradient steps done, (check,).
        train_loss: mean loss of real inputs, with dropout, over the epoch before, in nats.
        error: share of the held-out images whose label is wrong; NaN without such images, as are
        log_loss: mean loss of held-out images, without dropout, in nats, and
        calibration_error: expected calibration error there.
    """

    num_steps: Int[np.ndarray, " check"]
    train_loss: Float[np.ndarray, "check *seed"]
    error: Float[np.ndarray, "check *seed"]
    log_loss: Float[np.ndarray, "check *seed"]
    calibration_error: Float[np.ndarray, "check *seed"]


@readable
class Training(NamedTuple):
    """A trained classifier, or one for every seed.

    Attributes:
        net: its weights and biases; where the key is an array, they have its axis in front.
        curve: what it looked like on the way.
        finite: whether loss and weights are finite at the end; if not, training has diverged and
            the net says nothing.
    """

    net: Classifier
    curve: Curve
    finite: Bool[np.ndarray, "*seed"]


@door.guard(
    num_checks=door.count(),
    checkpoint=door.optional(door.checkpoint_path),
    progress=door.optional(door.function),
)
def train_classifier(
    key: PRNGKeyArray,
    images: Float[ArrayLike, "image visible"],
    labels: Int[ArrayLike, " image"],
    recipe: Recipe | None = None,
    *,
    shadow: Shadow | None = None,
    subsets: Int[ArrayLike, "*seed subset"] | None = None,
    held_out: tuple[ArrayLike, ArrayLike] | None = None,
    num_checks: int = 10,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> Training:
    """Trains a ReLU net with dropout to tell labels apart, with or without SHADOW.

    It minimises mean cross-entropy of (x, c), plus, with SHADOW, weight * that of (x~, c), x~ drawn
    by the net from its own hidden layer. The same key gives the same start, batches and dropout of
    the real inputs with SHADOW and without, so that what differs is SHADOW.

    Args:
        key: random key; an array of keys, (seed,), trains a net for each in one compiled program.
        images: inputs; their floating type is that of the net.
        labels: of every image, 0 and up; the largest sets the number of labels.
        recipe: widths, epochs and all that is tuned; by default `Recipe()`.
        shadow: how to train on drawn inputs too; needs a hidden layer and images of at least 0.
        subsets: rows of the images that each seed is trained on; by default all.
        held_out: images and labels that each check is done on.
        num_checks: how often the curve is measured, at most once an epoch.
        checkpoint: file that is written after each check; if it exists, training goes on from
            there, and ends with the very numbers of a run that was not interrupted.
        progress: called after each check with the gradient steps done and in all.

    Raises:
        ValueError: arguments that do not fit each other, or a checkpoint of another run.
        TypeError: a key of the old kind.
    """
    recipe = Recipe() if recipe is None else recipe
    data, held = label_images(images, labels), None if held_out is None else label_images(*held_out)
    check_data(key, data, held, recipe, shadow)
    rows = np.arange(len(data.labels)) if subsets is None else np.asarray(subsets)
    check_rows(key, rows, data, recipe)
    if num_checks < 1:
        raise Refusal(f"num_checks must be at least 1; got {num_checks}")
    keys, many_rows = jnp.atleast_1d(key), jnp.asarray(rows)
    widths = (data.images.shape[1], *recipe.hidden, int(data.labels.max()) + 1)
    state = _begin(keys, widths, data.images.dtype, recipe, many_rows)
    run = ("classifier", state, keys, data, many_rows, held, recipe, shadow)
    # Placeholders have the shape of what a check keeps.
    done, kept = 0, []
    if checkpoint is not None and Path(checkpoint).exists():
        state, done, kept = load_checkpoint(checkpoint, run, _Check(*[0.0] * len(_Check._fields)))
    stops = np.unique(np.linspace(0, recipe.num_epochs, num_checks + 1).round().astype(int))[1:]
    total = recipe.count_steps(rows.shape[-1])
    for stop in stops[stops > done]:
        state = _train(state, keys, data, many_rows, done, int(stop), recipe, shadow)
        done = int(stop)
        kept.append(jax.tree.map(lambda leaf: np.asarray(leaf)[None], _check(state, held)))
        if checkpoint is not None:
            save_checkpoint(checkpoint, run, state, done, kept)
        if progress is not None:
            progress(total * done // recipe.num_epochs, total)
    return _finish(state.net, kept, stops * (total // recipe.num_epochs), key.ndim == 0)


class _State(NamedTuple):
    """Where training is, per seed: net, the optimiser's memory, loss of the last epoch."""

    net: Classifier
    memory: Any
    loss: Float[Array, ""]


class _Check(NamedTuple):
    train_loss: Any
    error: Any
    log_loss: Any
    calibration_error: Any


@partial(jax.jit, static_argnames=("widths", "dtype"))
def _begin(keys, widths, dtype, recipe, rows) -> _State:
    def begin(key):
        net = start_classifier(jax.random.fold_in(key, START_STREAM), widths, dtype)
        memory = _optimizer(recipe, rows.shape[-1]).init(net)
        return _State(net, memory, jnp.asarray(jnp.nan, dtype))

    return jax.vmap(begin)(keys)


@jax.jit
def _train(
    state: _State,
    keys: PRNGKeyArray,
    data: Labelled,
    rows: Int[Array, "*seed subset"],
    start: int,
    stop: int,
    recipe: Recipe,
    shadow: Shadow | None,
) -> _State:
    """Epochs `start` to `stop` - 1 of every seed."""
    optimizer = _optimizer(recipe, rows.shape[-1])
    num_batches = rows.shape[-1] // recipe.batch_size

    def step(carry, at):
        net, memory = carry
        key, batch = at
        batch = Labelled(data.images[batch], data.labels[batch])
        slope, loss = jax.grad(_loss, has_aux=True)(net, key, batch, recipe, shadow)
        moves, memory = optimizer.update(slope, memory, net)
        return (jax.tree.map(jnp.add, net, moves), memory), loss

    def epoch(number, state, key, rows):
        key_order, key_steps = jax.random.split(jax.random.fold_in(key, number))
        order = jax.random.permutation(key_order, rows)[: num_batches * recipe.batch_size]
        steps = jax.random.split(key_steps, num_batches), order.reshape(num_batches, -1)
        (net, memory), losses = jax.lax.scan(step, (state.net, state.memory), steps)
        return _State(net, memory, losses.mean())

    def train(state, key, rows):
        key = jax.random.fold_in(key, EPOCH_STREAM)
        return jax.lax.fori_loop(
            start, stop, lambda number, state: epoch(number, state, key, rows), state
        )

    return jax.vmap(train, in_axes=(0, 0, 0 if rows.ndim == 2 else None))(state, keys, rows)


def _loss(
    net: Classifier, key: PRNGKeyArray, batch: Labelled, recipe: Recipe, shadow: Shadow | None
) -> tuple[Array, Array]:
    """What is minimised, and the part of it that real inputs make."""

    def cost(stream, x, first=0):
        logits = net.dropout_logits(jax.random.fold_in(key, stream), x, recipe.keep_probs, first)
        return cross_entropy(logits, batch.labels)

    real = cost(REAL_STREAM, batch.images)
    if shadow is None:
        return real, real
    fixed = jax.lax.stop_gradient(net)
    drawn = draw_shadow(jax.random.fold_in(key, DRAWING_STREAM), fixed, batch.images, shadow)
    # Every layer's input has dropout of its own.
    costs = [cost(SYNTHETIC_STREAM + one.layer, one.x, one.layer) for one in drawn]
    weight = jnp.asarray(shadow.weight, real.dtype)
    return real + weight * (sum(costs) / len(costs)), real


def cross_entropy(
    logits: Float[Array, "image label"], labels: Int[Array, " image"]
) -> Float[Array, ""]:
    """Mean of -log softmax(logits)_label over images, in nats."""
    log_probs = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(log_probs, labels[:, None], 1).mean()


def _optimizer(recipe: Recipe, num_images: int) -> Any:
    import optax

    num_steps = recipe.count_steps(num_images)

    # optax's own wants to know the number of steps when it is compiled.
    def learning_rate(step):
        return recipe.learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * step / num_steps))

    return optax.adamw(
        learning_rate,
        weight_decay=recipe.weight_decay,
        mask=lambda net: jax.tree.map(lambda leaf: leaf.ndim > 1, net),
    )


@jax.jit
def _check(state: _State, held: Labelled | None) -> _Check:
    def check(net, loss):
        if held is None:
            return _Check(loss, *[jnp.full_like(loss, jnp.nan)] * 3)
        logits = net.logits(held.images)
        return _Check(
            loss,
            (logits.argmax(-1) != held.labels).mean(dtype=loss.dtype),
            cross_entropy(logits, held.labels),
            expected_calibration_error(logits, held.labels),
        )

    return jax.vmap(check)(state.net, state.loss)


def _finish(net: Classifier, kept: list[_Check], num_steps: np.ndarray, alone: bool) -> Training:
    checks = jax.tree.map(lambda *leaves: np.concatenate(leaves), *kept)
    finite = np.isfinite(checks.train_loss[-1])
    for leaf in jax.tree.leaves(net):
        finite &= np.isfinite(np.asarray(leaf)).reshape(len(finite), -1).all(1)
    if alone:
        net, finite = jax.tree.map(lambda leaf: leaf[0], (net, finite))
        checks = jax.tree.map(lambda leaf: leaf[:, 0], checks)
    return Training(net, Curve(num_steps, *checks), finite)
