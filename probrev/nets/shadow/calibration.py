"""How far a classifier's confidence is from how often it is right."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from probrev.plumbing import door

NUM_BINS = 15


@door.guard(num_bins=door.count())
def expected_calibration_error(
    logits: Float[Array, "image label"], labels: Int[Array, " image"], num_bins: int = NUM_BINS
) -> Float[Array, ""]:
    """Mean over images of |accuracy - confidence| of the bin that the image is in.

    Confidence is the largest softmax probability; bin b of B holds those in (b / B, (b + 1) / B],
    bins of equal width. sum_b (n_b / N) |accuracy_b - confidence_b|, in [0, 1]. A finite sample
    biases it upwards, by about sqrt(2 p (1 - p) n_b / pi) / N in every bin.

    Args:
        logits: of every image.
        labels: the right ones.
        num_bins: B, at least 1.

    Source: Guo, Pleiss, Sun and Weinberger 2017 (arXiv:1706.04599), eq. 3.
    """
    confidence = jax.nn.softmax(logits).max(-1)
    right = (logits.argmax(-1) == labels).astype(confidence.dtype)
    bins = jnp.clip(jnp.ceil(confidence * num_bins) - 1, 0, num_bins - 1).astype(int)
    gaps = jnp.zeros(num_bins, confidence.dtype).at[bins].add(right - confidence)
    return jnp.abs(gaps).sum() / len(labels)
