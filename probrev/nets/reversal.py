"""Reversal: real h down through the transposed weights and up again, and how much comes back.

Through one layer of a trained net, h = r(W^T x + b), with the real h of a real input x:

    down   x~ = alpha r(W h) d / keep_prob,   d ~ Bernoulli(keep_prob)
    up     h^ = r(W^T x~ + b)

with alpha = sum r(W h) x / sum r(W h)^2 over all units and observations, at which alpha r(W h) is
nearest to x; and through l layers, down l times and then up l times. h -> x~ -> h^ asks whether the
net inverts its own generative direction; x -> h -> x~ whether that direction makes what the net has
seen. Layers of a net come with another gain, 2 / (keep_prob sum W^2 / m), at which Gaussian weights
give E[W^T x~] = h; `fit_gains` gives them this one.

Source: Arora, Liang and Ma 2015 (arXiv:1511.05653), section 1.1 and the experiments on trained
nets; alpha, shuffled pairs, centred correlations and live units are ours.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.inverses.feedforward import FeedforwardNet
from probrev.nets.similarity import measure_similarity, shuffle_pairs
from probrev.plumbing import door
from probrev.plumbing.arrays import check_real
from probrev.plumbing.readable import readable
from probrev.plumbing.refusal import Refusal
from probrev.theory.net_risk import raw_rectified_moments


@readable
class Reversal(NamedTuple):
    """What a trip down and up left at every level.

    Attributes:
        down: generated signals, the one next to h first, the lowest last.
        up: the net's estimates of the levels above the lowest, h's own last.
    """

    down: tuple[Float[Array, "obs _"], ...]
    up: tuple[Float[Array, "obs _"], ...]


@door.guard(
    key=door.random_key,
    net=door.instance_of(FeedforwardNet, "a probrev.FeedforwardNet"),
    h=door.finite_array("num_obs", "n_hidden"),
    depth=door.count(),
    top=door.optional(door.count()),
)
def reverse(
    key: PRNGKeyArray, net: FeedforwardNet, h: ArrayLike, *, depth: int = 1, top: int | None = None
) -> Reversal:
    """Takes h down some layers of a trained net and up again.

    Args:
        key: random key, of the dropout on the way down.
        net: the trained net, see `FeedforwardNet.from_weights`.
        h: activations of level `top`, (obs, width), nonnegative.
        depth: layers to go through, in [1, top].
        top: level of h; level 0 is x, and the default is the net's last.

    Raises:
        ValueError: a level or depth that the net has not, h negative or of another width.
    """
    top = len(net.layers) if top is None else top
    if not 1 <= top <= len(net.layers):
        raise Refusal(f"top must lie in [1, {len(net.layers)}], the net's layers; got {top}")
    if not 1 <= depth <= top:
        raise Refusal(f"depth must lie in [1, top = {top}]; got {depth}")
    h = _check_activations("h", h, net.layers[top - 1].n_hidden, top)
    path = slice(top - depth, top)
    return _reverse(
        key, FeedforwardNet(net.layers[path], net.biases[path], scales=net.scales[path]), h
    )


@jax.jit
def _reverse(key: PRNGKeyArray, net: FeedforwardNet, h: Array) -> Reversal:
    down = [h]
    for level in reversed(range(len(net.layers))):
        x, _ = net.layers[level].generate(jax.random.fold_in(key, level), down[-1])
        down.append(x)
    return Reversal(tuple(down[1:]), tuple(net.activations(down[-1])[1:]))


def fit_gains(net: FeedforwardNet, activations: Sequence[ArrayLike]) -> FeedforwardNet:
    """The net with the gain of each layer at alpha / keep_prob; upwards it is the same function.

    Args:
        net: its layers are ReLU layers.
        activations: real ones, x first.

    Raises:
        ValueError: W h is nowhere positive where x is, so that there is no such gain.
    """
    layers = []
    for level, layer in enumerate(net.layers):
        x, h = (np.asarray(one, float) for one in activations[level : level + 2])
        made = np.maximum(h @ np.asarray(layer.weights).T, 0)
        if not (made * x).any():
            raise Refusal(
                f"activations[{level}] must be positive somewhere where W h of activations"
                f"[{level + 1}] is; no gain makes one like the other"
            )
        alpha = (made * x).sum() / (made**2).sum()
        layers.append(replace(layer, given_gain=alpha / layer.keep_prob))
    return replace(net, layers=tuple(layers))


@door.guard(key=door.random_key, net=door.instance_of(FeedforwardNet, "a probrev.FeedforwardNet"))
def measure_reversal(
    key: PRNGKeyArray, net: FeedforwardNet, activations: Sequence[ArrayLike]
) -> pd.DataFrame:
    """Measures reversal from every level through every number of layers.

    Gains are fitted to the activations, see `fit_gains`.

    Args:
        key: random key.
        net: the net that h goes down and up through.
        activations: real activations of the trained net, x first: `net.activations(x)`.

    Returns:
        A tidy table. `top`, `depth`: the path; `compared`: "h" for h^ beside h at level top, "x"
        for x~ beside x at level top - depth; `units`: "all", or "live" for those that fire for at
        least one observation; `pairs`: "matched", or "shuffled" for the baseline, where the truth
        is another observation's; `num_units`; and the numbers of `Similarity.summary`.

    Raises:
        ValueError: activations that are negative, of the wrong number or widths, or fewer than two.
    """
    widths = [net.layers[0].n_visible, *(layer.n_hidden for layer in net.layers)]
    if len(activations) != len(widths):
        raise Refusal(
            f"activations must be x and one array per layer, {len(widths)} in all; "
            f"got {len(activations)}"
        )
    real = [
        np.asarray(_check_activations(f"activations[{level}]", value, width, level))
        for level, (value, width) in enumerate(zip(activations, widths, strict=True))
    ]
    net = fit_gains(net, real)
    partner = shuffle_pairs(jax.random.fold_in(key, 0), len(real[0]))
    rows = []
    for top in range(1, len(widths)):
        for depth in range(1, top + 1):
            key_path = jax.random.fold_in(jax.random.fold_in(key, top), depth)
            made = reverse(key_path, net, real[top], depth=depth, top=top)
            for compared, estimate, level in (
                ("h", made.up[-1], top),
                ("x", made.down[-1], top - depth),
            ):
                path = {"top": top, "depth": depth, "compared": compared}
                rows += [path | row for row in _compare(np.asarray(estimate), real[level], partner)]
    return pd.DataFrame(rows)


@door.guard(n_visible=door.count(), keep_prob=door.probability)
def predict_cosine(
    h: ArrayLike, bias: ArrayLike, n_visible: int, keep_prob: float
) -> Float[np.ndarray, " obs"]:
    """The cosine of h and r(W^T x~ + b) that Gaussian weights give in expectation.

    With s^2 = ||h||^2, over weights and dropout,

        W_i^T x~ ~ N(h_i, v_i),   v_i = 2 (s^2 + 2 h_i^2) / (keep_prob n) - h_i^2 / n

    of which mean and variance are exact and the shape is that of large n; the cosine is E<h, h^> /
    (||h|| sqrt(E||h^||^2)), a ratio of expectations; NaN where h = 0.

    Args:
        h: activations, (obs, hidden).
        bias: b, (hidden,).
        n_visible: n, width of x~.
        keep_prob: dropout on the way down, in (0, 1].
    """
    check_real("h", h)
    h = np.asarray(h, dtype=float)
    energy = (h**2).sum(1, keepdims=True)
    var = 2 * (energy + 2 * h**2) / (keep_prob * n_visible) - h**2 / n_visible
    center, std = jnp.asarray(h + np.asarray(bias)), jnp.asarray(np.sqrt(var))
    mean, square = (np.asarray(moment) for moment in raw_rectified_moments(center, std))
    with np.errstate(invalid="ignore"):
        return (h * mean).sum(1) / np.sqrt(energy[:, 0] * square.sum(1))


def _compare(estimate: np.ndarray, truth: np.ndarray, partner: np.ndarray) -> list[dict]:
    """Rows for all units and live ones, for pairs that belong together and shuffled ones."""
    live = (truth > 0).any(0)
    rows = []
    for units, chosen in (("all", np.ones_like(live)), ("live", live)):
        guess, wanted = estimate[:, chosen], truth[:, chosen]
        for pairs, other in (("matched", wanted), ("shuffled", wanted[partner])):
            found = measure_similarity(guess, other).summary
            about = {"units": units, "pairs": pairs, "num_units": int(chosen.sum())}
            rows.append(about | found)
    return rows


def _check_activations(name: str, value: ArrayLike, width: int, level: int) -> Array:
    check_real(name, value)
    value = jnp.asarray(value, float)
    if value.ndim != 2 or value.shape[1] != width:
        raise Refusal(
            f"{name} must have shape (num_obs, {width}), the width of level {level}; "
            f"got {value.shape}"
        )
    if not bool(jnp.isfinite(value).all()) or bool((value < 0).any()):
        before = ": give x before it is standardised" if level == 0 else ""
        raise Refusal(f"{name} must be finite and nonnegative, as ReLU activations are{before}")
    return value
