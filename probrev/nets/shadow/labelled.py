"""Images with labels, and what training refuses of them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.nets.shadow.recipe import Recipe
from probrev.nets.shadow.synthetic import Shadow
from probrev.plumbing.arrays import own
from probrev.plumbing.refusal import Refusal, TypeRefusal


class Labelled(NamedTuple):
    """Images, one a row, and their labels."""

    images: Float[Array, "image visible"]
    labels: Int[Array, " image"]


def label_images(images: Any, labels: Any) -> Labelled:
    """Both as arrays, once they fit each other."""
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim != 2 or not images.size or not np.issubdtype(images.dtype, np.floating):
        raise Refusal(
            "images must be an array of floats, (image, visible); "
            f"got {images.dtype} of shape {images.shape}"
        )
    if not np.isfinite(images).all():
        raise Refusal("images must be finite; got NaN or infinity")
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise Refusal(
            f"labels must be {len(images)} whole numbers, one for each image; "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    if labels.min() < 0:
        raise Refusal(f"labels must be at least 0; got {labels.min()}")
    return Labelled(*own((images, labels)))


def check_data(
    key: Any, data: Labelled, held: Labelled | None, recipe: Recipe, shadow: Shadow | None
) -> None:
    """Refuses keys, held-out images, a recipe or SHADOW that do not fit the images."""
    if not jnp.issubdtype(jnp.asarray(key).dtype, jax.dtypes.prng_key) or key.ndim > 1:
        raise TypeRefusal("key must be one of jax.random.key(seed), or a 1-D array of such keys")
    if held is not None and (
        held.images.shape[1] != data.images.shape[1] or held.labels.max() > data.labels.max()
    ):
        raise Refusal(
            f"held_out must have images of {data.images.shape[1]} pixels and labels of at most "
            f"{data.labels.max()}; got {held.images.shape[1]} and {held.labels.max()}"
        )
    if shadow is not None and not recipe.hidden:
        raise Refusal("shadow draws from a hidden layer; the recipe has none: give hidden")
    if shadow is not None and data.images.min() < 0:
        raise Refusal(
            "shadow draws inputs of at least 0, so images must be so too; "
            f"got {float(data.images.min()):g}: shift them"
        )


def check_rows(key: PRNGKeyArray, rows: np.ndarray, data: Labelled, recipe: Recipe) -> None:
    """Refuses rows that are not of the images, not one set a key, or too few for a batch."""
    num_images = len(data.labels)
    if rows.ndim not in (1, 2) or (rows.ndim == 2 and rows.shape[:1] != key.shape):
        raise Refusal(
            "subsets must have shape (subset,), or (seed, subset) with a row for each key; "
            f"got {rows.shape} and keys of shape {key.shape}"
        )
    if not np.issubdtype(rows.dtype, np.integer) or rows.min() < 0 or rows.max() >= num_images:
        raise Refusal(f"subsets must be rows of the images, 0 to {num_images - 1}")
    if recipe.batch_size > rows.shape[-1]:
        raise Refusal(
            f"batch_size must be at most the {rows.shape[-1]} images of a seed; "
            f"got {recipe.batch_size}"
        )
