"""A ReLU net that tells classes apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.plumbing.pytree import pytree

# Of dropout: a probability is rounded to a multiple of 1/256, so that four units share a word.
MASK_LEVELS = 256
WORDS = 4


@pytree(data=("weights", "biases"))
@dataclass(frozen=True)
class Classifier:
    """h^(l) = r(W_l^T h^(l-1) + b_l), h^(0) = x; logits = W^T h + b of the last layer.

    Attributes:
        weights: W_l of every layer from x up, the last one to the logits; (below, above) each, as
            a `Layer` has them.
        biases: b_l, (above,) each.
    """

    weights: tuple[Float[Array, "below above"], ...]
    biases: tuple[Float[Array, " above"], ...]

    def hidden(self, x: Float[ArrayLike, "*batch visible"]) -> tuple[Float[Array, "*batch _"], ...]:
        """X and the activations of every hidden layer above it, h^(0) to the top."""
        below = [jnp.asarray(x)]
        for weights, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            below.append(jax.nn.relu(_affine(below[-1], weights, bias)))
        return tuple(below)

    def logits(self, x: Float[ArrayLike, "*batch visible"]) -> Float[Array, "*batch label"]:
        """Log odds of the labels, up to a constant."""
        return _affine(self.hidden(x)[-1], self.weights[-1], self.biases[-1])

    def __call__(self, x: Float[ArrayLike, "*batch visible"]) -> Int[Array, "*batch"]:
        """The likeliest label."""
        return self.logits(x).argmax(-1)

    def dropout_logits(
        self,
        key: PRNGKeyArray,
        h: Float[Array, "batch below"],
        keep_probs: Sequence[float],
        first: int = 0,
    ) -> Float[Array, "batch label"]:
        """Logits with dropout d below every layer: h^(l) = r(W_l^T (h^(l-1) * d / q) + b_l).

        Args:
            key: random key.
            h: h^(first), which layer `first` is fed with.
            keep_probs: q, of each layer's input from x up, in (0, 1].
            first: layers below this one are left out; 0 is the one next to x.
        """
        last = len(self.weights) - 1
        for layer in range(first, last + 1):
            kept = drop_units(jax.random.fold_in(key, layer), h, keep_probs[layer])
            h = _affine(kept, self.weights[layer], self.biases[layer])
            h = h if layer == last else jax.nn.relu(h)
        return h


def start_classifier(
    key: PRNGKeyArray, widths: Sequence[int], dtype: DTypeLike | None = None
) -> Classifier:
    """A net to train: W_l ~ N(0, 2 / n_(l-1)), of the logits N(0, 1 / n); biases 0.

    Args:
        key: random key.
        widths: of x, of every hidden layer and of the labels: at least two.
        dtype: of the weights; by default JAX's float.

    Source: He, Zhang, Ren and Sun 2015 (arXiv:1502.01852), eq. 10.
    """
    shapes = list(pairwise(widths))
    gains = [2.0] * (len(shapes) - 1) + [1.0]
    return Classifier(
        tuple(
            jnp.asarray((gain / shape[0]) ** 0.5, dtype) * jax.random.normal(one, shape, dtype)
            for one, shape, gain in zip(
                jax.random.split(key, len(shapes)), shapes, gains, strict=True
            )
        ),
        tuple(jnp.zeros(above, dtype) for _, above in shapes),
    )


def drop_units(
    key: PRNGKeyArray, h: Float[Array, "batch unit"], keep_prob: float
) -> Float[Array, "batch unit"]:
    """H * d / q, d ~ Bernoulli(q): dropout that leaves the mean as it is.

    Args:
        key: random key.
        h: what is dropped from.
        keep_prob: q, rounded to a multiple of 1/256; 1 drops nothing and draws nothing.
    """
    mask, kept = draw_mask(key, h.shape, keep_prob)
    return h if mask is None else jnp.where(mask, h / kept, 0)


def draw_mask(
    key: PRNGKeyArray, shape: tuple[int, ...], keep_prob: float
) -> tuple[Array | None, float]:
    """D ~ Bernoulli(q), or None for q = 1, and q rounded to a multiple of 1/256, at least that.

    A quarter of the random words that `jax.random.bernoulli` takes, which would take as long as
    the products of a net of this size.
    """
    level = max(round(keep_prob * MASK_LEVELS), 1)
    if level == MASK_LEVELS:
        return None, 1.0
    *rows, units = shape
    words = jax.random.bits(key, (*rows, -(-units // WORDS)), jnp.uint32)
    octets = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(*rows, -1)
    return octets[..., :units] < level, level / MASK_LEVELS


def _affine(x: Array, weights: Array, bias: Array) -> Array:
    product = x @ weights
    return product + jnp.broadcast_to(bias, product.shape)
