"""Random keys of a run: one per use, so that one more posterior changes no other."""

import jax

from probrev.methods import METHODS

STREAMS = ("simulate", "ladder", *METHODS, "dropout")


def streams(seed: int, weight_draw: int = 0) -> dict[str, jax.Array]:
    """Independent random keys by use.

    Args:
        seed: the run's seed.
        weight_draw: number of the draw of the weights, where a run has several.
    """
    root = jax.random.fold_in(jax.random.key(seed), weight_draw)
    return {name: jax.random.fold_in(root, index) for index, name in enumerate(STREAMS)}
