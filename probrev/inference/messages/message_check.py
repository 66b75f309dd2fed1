"""What a few Gibbs sweeps make of message passing's own answer."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.inference.gibbs.coordinate import augment, update_units
from probrev.inference.gibbs.layered_sweep import unit_prior
from probrev.inference.messages.messages import find_meshes
from probrev.inference.messages.row_stream import weigh_squares
from probrev.model.layered_model import LayeredModel
from probrev.model.spread import RowMesh
from probrev.posterior.posterior import Moments

# Weights passed over, all sweeps together: a second's worth, or some iterations of message passing
# where the weights are many.
MAX_WEIGHTS = 2**29
FEWEST_SWEEPS, WANTED_SWEEPS, MOST_SWEEPS = 2, 24, 256
FEWEST_CHAINS, MOST_CHAINS = 4, 64
MOST_OBS = 8
# Up to here an approximation is what it is said to be: the error of an inclusion probability, and
# the squared error of the mean over the variance that is claimed for it. Where weights are not the
# iid ones that it is meant for, it has to be better than that.
MAX_GAP, MAX_ERROR_RATIO = 0.2, 1.3
STRICT_GAP, STRICT_ERROR_RATIO = 0.1, 1.2
# By how many standard errors a figure must be beyond its bound. A unit's is that of its chains and
# of so many more that differ as the belief says: few chains may agree by chance.
NUM_ERRORS, CHAINS_BELIEVED = 3.0, 4


class CheckPlan(NamedTuple):
    """Size of a check: sweeps, chains per observation, and which observations."""

    num_sweeps: int
    num_chains: int
    rows: np.ndarray

    @property
    def is_thorough(self) -> bool:
        """Whether there are enough sweeps to see more than a gross error."""
        return self.num_sweeps >= WANTED_SWEEPS


class MessageCheck(NamedTuple):
    """How far sweeps move one hidden vector away from what is believed of it, less the noise.

    Attributes:
        gap: largest change of an inclusion probability.
        error_ratio: squared distance from the believed means, over the variance that is claimed.
    """

    gap: float
    error_ratio: float

    def complaint(self, *, strict: bool = False) -> str:
        """What speaks against the beliefs, in figures; empty if nothing does.

        Args:
            strict: whether the approximation is used where it is not meant to be.
        """
        found = []
        if self.gap > (STRICT_GAP if strict else MAX_GAP):
            found.append(f"move an inclusion probability by more than {self.gap:.2f}")
        if self.error_ratio > (STRICT_ERROR_RATIO if strict else MAX_ERROR_RATIO):
            found.append(f"find {self.error_ratio:.3g} times the squared error that is claimed")
        return " and ".join(found)


def plan_check(model: LayeredModel, num_obs: int) -> CheckPlan:
    """What the number of weights allows: some sweeps, then chains, observations, more sweeps."""
    affordable, most_rows = MAX_WEIGHTS // model.num_weights, min(MOST_OBS, num_obs)
    num_sweeps = np.clip(affordable // (MOST_CHAINS * most_rows), WANTED_SWEEPS, MOST_SWEEPS)
    num_sweeps = max(FEWEST_SWEEPS, min(int(num_sweeps), affordable // FEWEST_CHAINS))
    num_chains = int(np.clip(affordable // num_sweeps, FEWEST_CHAINS, MOST_CHAINS))
    num_rows = int(np.clip(affordable // (num_sweeps * num_chains), 1, most_rows))
    rows = np.linspace(0, num_obs - 1, num_rows).round().astype(int)
    return CheckPlan(num_sweeps, num_chains, rows)


def check_messages(
    key: PRNGKeyArray,
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    beliefs: list[Moments[Array]],
    h: Float[Array, "chain obs hidden"],
    num_sweeps: int,
) -> list[MessageCheck]:
    """Runs short chains from the approximation's own draws, and sees where they go.

    Gibbs sweeps leave p(h | x) as it is; so if the beliefs are those of p, sweeps leave them as
    they are. Chains that mix slowly move less than the beliefs are wrong: what is found is there,
    what is not found may be.

    Args:
        key: random key.
        model: one that message passing can do.
        x: the observations to look at.
        beliefs: about each of their hidden vectors, the one next to x first.
        h: draws of the top vector from its belief, one for each chain.
        num_sweeps: sweeps of each chain; the first quarter is not looked at.

    Returns:
        What was found for each hidden vector, the one next to x first.
    """
    found = _run(key, model, x, beliefs, h, num_sweeps, find_meshes(model))
    return [
        _judge(belief, np.asarray(active), np.asarray(error))
        for belief, (active, error) in zip(beliefs, found, strict=True)
    ]


def _judge(belief: Moments[Array], active: np.ndarray, error: np.ndarray) -> MessageCheck:
    """The figures of one vector, from averages over the sweeps of each chain."""
    num_chains, p = len(active), np.asarray(belief.inclusion_prob)
    spread = np.square(active - active.mean(0)).sum(0) + CHAINS_BELIEVED * p * (1 - p)
    noise = np.sqrt(spread / (num_chains - 1 + CHAINS_BELIEVED) / num_chains)
    gap = (np.abs(active.mean(0) - p) - NUM_ERRORS * noise).max()
    claimed = float(belief.var.sum())
    ratio = error.sum(1) / (claimed if claimed > 0 else 1.0)
    ratio_noise = ratio.std(ddof=1) / np.sqrt(num_chains)
    return MessageCheck(float(gap), float(ratio.mean() - NUM_ERRORS * ratio_noise))


@partial(jax.jit, static_argnames=("num_sweeps", "meshes"))
def _run(
    key: PRNGKeyArray,
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    beliefs: list[Moments[Array]],
    h: Float[Array, "chain obs hidden"],
    num_sweeps: int,
    meshes: tuple[RowMesh | None, ...],
) -> list[tuple[Float[Array, "chain obs unit"], Float[Array, "chain obs"]]]:
    """Of each chain and vector: how often each unit was active, and mean squared error."""
    num_chains, num_obs = h.shape[:2]
    key_start, key_sweeps = jax.random.split(key)
    flat = lambda value: jnp.tile(value, (num_chains, 1))  # noqa: E731
    believed = [Moments(*map(flat, belief)) for belief in beliefs]
    between = [
        _rough_draw(jax.random.fold_in(key_start, level), belief)
        for level, belief in enumerate(believed[:-1])
    ]
    below = flat(x)

    def sweep(carry, step):
        signals, active, error = carry
        signals = _sweep(jax.random.fold_in(key_sweeps, step), model, meshes, below, signals)
        counts = step >= num_sweeps // 4
        active = [a + counts * (h > 0) for a, h in zip(active, signals, strict=True)]
        error = [
            e + counts * jnp.square(h - belief.mean).sum(1)
            for e, h, belief in zip(error, signals, believed, strict=True)
        ]
        return (signals, active, error), None

    signals = [*between, h.reshape(num_chains * num_obs, -1)]
    start = (
        signals, [jnp.zeros_like(h) for h in signals], [jnp.zeros_like(h[:, 0]) for h in signals]
    )  # fmt: skip
    (_, active, error), _ = jax.lax.scan(sweep, start, jnp.arange(num_sweeps))
    kept = num_sweeps - num_sweeps // 4
    unfold = lambda value: value.reshape(num_chains, num_obs, *value.shape[1:]) / kept  # noqa: E731
    return [(unfold(a), unfold(e)) for a, e in zip(active, error, strict=True)]


@dataclass(frozen=True)
class _Columns:
    """W^T as `update_units` reads it, a column of W at a time: W^T itself would be another W."""

    weights: Float[Array, "visible hidden"]

    def __getitem__(self, unit: Array) -> Float[Array, " visible"]:
        return jax.lax.dynamic_index_in_dim(self.weights, unit, axis=1, keepdims=False)


def _rough_draw(key: PRNGKeyArray, belief: Moments[Array]) -> Float[Array, "case unit"]:
    """A place to start from: active as often as believed, and then at the mean of an active one."""
    active = jax.random.bernoulli(key, belief.inclusion_prob)
    inside = belief.mean / jnp.where(active, belief.inclusion_prob, 1.0)
    return jnp.where(active, inside, 0.0)


def _sweep(
    key: PRNGKeyArray,
    model: LayeredModel,
    meshes: tuple[RowMesh | None, ...],
    x: Float[Array, "case visible"],
    signals: list[Array],
) -> list[Array]:
    """A Gibbs sweep from x up, with every row's latents drawn."""
    layers = [x, *signals]
    for level, layer in enumerate(model.layers):
        key_rows, key_units = jax.random.split(jax.random.fold_in(key, level))
        h = layers[level + 1]
        rows = augment(key_rows, layer, layer.pre_activation(h), layers[level])
        information = weigh_squares(rows.precision, layer.weights, meshes[level])
        prior = unit_prior(model, level, layers, {})
        columns: Any = _Columns(layer.weights)
        layers[level + 1], _ = update_units(key_units, prior, columns, information, h, rows)
    return layers[1:]
