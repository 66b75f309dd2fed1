"""What a user's environment says to libraries, where it would change what a command computes."""

import os
import sys

# Settings of JAX that make other numbers of the same seed, or stop at what is well defined: a NaN
# that is masked, a float beside an integer. Workers inherit that they are gone.
_OF_JAX = (
    "JAX_DEBUG_INFS", "JAX_DEBUG_NANS", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DEFAULT_PRNG_IMPL",
    "JAX_NUMPY_DTYPE_PROMOTION", "JAX_NUMPY_RANK_PROMOTION", "JAX_RANDOM_SEED_OFFSET",
    "JAX_THREEFRY_PARTITIONABLE",
)  # fmt: skip


def settle() -> None:
    """Lets a command compute the same, and say what it says, whatever the environment.

    For commands: the library leaves the settings of a user's own process alone.
    """
    for name in _OF_JAX:
        os.environ.pop(name, None)
    os.environ["MPLBACKEND"] = "agg"  # no figure is shown
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # where a locale has no letter for a name
