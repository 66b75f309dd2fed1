"""Readouts of one layer over fresh weights, and what theory says of their size."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray

import probrev as pr
from probrev.theory.net_risk import rectified_risk

BATCH_ELEMENTS = 2**21
SLABS = ("binary", "half-normal")


def draw_h(
    key: PRNGKeyArray, slab: str, num_draws: int, n_hidden: int, n_active: int
) -> Float[Array, "draw hidden"]:
    """H with its first k units active: columns of W are alike, so it does not matter which."""
    active = jnp.arange(n_hidden) < n_active
    values = jnp.ones((num_draws, n_hidden))
    if slab == "half-normal":
        values = jnp.abs(jax.random.normal(jax.random.fold_in(key, 1), values.shape))
    return jnp.where(active[None, :], values, 0.0)


@partial(jax.jit, static_argnames="n_visible")
def simulate_readouts(
    key: PRNGKeyArray,
    h: Float[Array, "draw hidden"],
    n_visible: int,
    *,
    keep_prob: ArrayLike,
    noise_std: ArrayLike = 0.0,
    net_keep_prob: ArrayLike = 1.0,
) -> tuple[Float[Array, "draw hidden"], Float[Array, "draw hidden"]]:
    """W^T x and (1/q) W^T (x * d_q), with fresh N(0, 1) weights for every draw.

    Args:
        key: random key.
        h: hidden vectors, one a draw.
        n_visible: width n of x.
        keep_prob: rho of the model, in (0, 1].
        noise_std: sigma of the model.
        net_keep_prob: q, the net's own dropout, in (0, 1].
    """
    num_draws, n_hidden = h.shape

    def draw(given: tuple[PRNGKeyArray, Array]) -> tuple[Array, Array]:
        key, h = given
        key_weights, key_x, key_net = jax.random.split(key, 3)
        weights = jax.random.normal(key_weights, (n_visible, n_hidden))
        layer = pr.Layer(weights, keep_prob, noise_std, gain=2 / (keep_prob * n_visible))
        x, _ = layer.generate(key_x, h)
        kept = jax.random.bernoulli(key_net, net_keep_prob, x.shape)
        return x @ weights, jnp.where(kept, x / net_keep_prob, 0.0) @ weights

    batch = max(1, min(num_draws, BATCH_ELEMENTS // (n_visible * n_hidden)))
    return jax.lax.map(draw, (jax.random.split(key, num_draws), h), batch_size=batch)


def readout_var(
    h: ArrayLike,
    spread: ArrayLike,
    n_visible: ArrayLike,
    *,
    keep_prob: ArrayLike,
    net_keep_prob: ArrayLike = 1.0,
) -> Array:
    """Var[u_i] = 2 (s^2 + 2 h_i^2) / (rho q n) - h_i^2 / n over W, noise and both dropouts.

    Args:
        h: h_i.
        spread: s^2 = ||h||^2 + noise_std^2.
        n_visible: n.
        keep_prob: rho.
        net_keep_prob: q; 1 for the deterministic net.

    Source: Stein's identity; constants behind lemma 2.5 of Arora, Liang and Ma 2015.
    """
    square = jnp.square(h)
    kept = jnp.multiply(jnp.multiply(keep_prob, net_keep_prob), n_visible)
    return 2 * jnp.add(spread, 2 * square) / kept - jnp.divide(square, n_visible)


def typical_maximum(
    h_norm: ArrayLike, n_hidden: int, n_visible: ArrayLike, keep_prob: ArrayLike
) -> Array:
    """||h|| sqrt(2 log m) sqrt(2 / (rho n)), where the largest of m readout errors lies."""
    kept = jnp.multiply(keep_prob, n_visible)
    return jnp.multiply(h_norm, jnp.sqrt(2 * np.log(n_hidden))) * jnp.sqrt(2 / kept)


@partial(jax.jit, static_argnames="n_hidden")
def unit_error(
    h: Float[Array, "*shape"],
    energy: Float[Array, "*#shape"],
    n_hidden: int,
    n_visible: ArrayLike,
    *,
    keep_prob: ArrayLike,
    net_keep_prob: ArrayLike = 1.0,
) -> Float[Array, "*shape"]:
    """A unit's share of the finite-size curve: E||r(W^T x + b) - h||^2 for Gaussian readouts.

    E[(r(h_i + t_i Z - |b|) - h_i)^2], t_i^2 = Var[u_i], Z ~ N(0, 1), with the paper's constant
    b = -sqrt(2 log m) ||h|| sqrt(2 / (rho q n)) and no noise. The curve is its sum over units.

    Args:
        h: h_i.
        energy: ||h||^2 of the whole vector.
        n_hidden: m.
        n_visible: n, any positive number.
        keep_prob: rho.
        net_keep_prob: q; 1 for the deterministic net.
    """
    known = {"keep_prob": keep_prob, "net_keep_prob": net_keep_prob}
    std = jnp.sqrt(readout_var(h, energy, n_visible, **known))
    bias = typical_maximum(jnp.sqrt(energy), n_hidden, n_visible, keep_prob * net_keep_prob)
    return rectified_risk(h - bias, std, h)


def norms(h: Float[Array, "draw hidden"]) -> Float[Array, " draw"]:
    """||h|| of each."""
    return jnp.linalg.norm(h, axis=-1)
