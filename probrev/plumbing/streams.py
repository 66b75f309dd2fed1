"""Random streams: one per use, by name, so that a new use or method moves no other's numbers.

Everything random in a run comes from one seed. Whoever needs randomness names what it is for, and
gets a key or a generator that depends on the seed and that name alone; nothing uses the seed's own
key, so no stream can meet another by accident.
"""

from hashlib import sha256

import jax
import numpy as np
from jaxtyping import PRNGKeyArray


def stream(root: int | PRNGKeyArray, name: str) -> PRNGKeyArray:
    """The key of one use.

    Args:
        root: a run's seed, or a key that streams were taken from before, such as that of one draw
            of the weights.
        name: what it is for, such as "simulate" or "predictive/posterior".
    """
    key = root if isinstance(root, jax.Array) else jax.random.key(root)
    return jax.random.fold_in(key, _number(name))


def generator(seed: int, name: str) -> np.random.Generator:
    """The same for NumPy: a generator that depends on the seed and the name alone."""
    return np.random.default_rng([seed, _number(name)])


def _number(name: str) -> int:
    return int.from_bytes(sha256(name.encode()).digest()[:4], "big")
