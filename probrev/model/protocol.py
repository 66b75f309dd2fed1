"""What any model of x and h is."""

from typing import Any, Protocol

import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.model.observations import Observations
from probrev.plumbing.pytree import is_concrete

# Draws taken to average over a model: one number everywhere, so that it is compiled once.
NUM_SIMULATED = 4096


class States(Protocol):
    """A numbered list of states: `FiniteStates`, or simply an array (num_states, n_hidden)."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: Int[Array, " state"], /) -> Float[Array, "state hidden"]: ...


class Model(Protocol):
    """What `compare`, reports, the command line and enumeration ask of a model.

    Densities broadcast over leading axes: h (..., n_hidden), x (..., n_visible). `log_joint` may
    leave out a constant. Of `states`, `program` and `log_likelihood` those that a model does not
    have raise ValueError. It may also have `visible_mean(h)`, E[x | h], which raises alike;
    `setting`, in words what a verdict holds for; `log_joint_table(h, x)`; and `check_draws(h)`,
    which raises ValueError for draws of h that the model cannot have, and returns what is odd about
    those that it can, or an empty string. Models are passed to
    compiled functions, so they are pytrees: a NamedTuple of arrays, or a class registered with
    `jax.tree_util.register_dataclass`.
    """

    @property
    def n_visible(self) -> int:
        """Length of x."""
        ...

    @property
    def n_hidden(self) -> int:
        """Length of h."""
        ...

    def check(self, obs: Observations) -> None:
        """Raises ValueError for observations that the model cannot have made."""
        ...

    def log_joint(self, h: Array, x: Array) -> Array:
        """Log p(h, x)."""
        ...

    def log_likelihood(self, h: Array, x: Array) -> Array:
        """Log p(x | h)."""
        ...

    def simulate(self, key: PRNGKeyArray, num_obs: int) -> Observations:
        """Draws h from the prior and x given h, marked by `Observations.made_by`."""
        ...

    def generate(self, key: PRNGKeyArray, h: Array) -> Array:
        """Draws x given h."""
        ...

    def states(self) -> States:
        """Every h of positive probability."""
        ...

    def program(self, x: Array | None = None) -> Any:
        """The NumPyro program of one observation, with a site `h`."""
        ...


def check_pytree(model: Model) -> None:
    """Raises ValueError unless the model can be passed to compiled functions."""
    if not is_concrete(model):
        raise ValueError(
            f"{type(model).__name__} is no JAX pytree of arrays: make it a NamedTuple, or register "
            "it with jax.tree_util.register_dataclass"
        )


def check_shape(model: Model, obs: Observations) -> None:
    """Raises ValueError unless x is finite and as wide as the model (and h, where there is one)."""
    for name, value, width in (("x", obs.x, model.n_visible), ("h", obs.h, model.n_hidden)):
        if value is None:
            continue
        if value.shape[-1] != width:
            raise ValueError(
                f"{name} has {value.shape[-1]} columns, but the model has {width}; "
                f"{name} must have shape (num_obs, {width})"
            )
        bad = np.flatnonzero(~np.isfinite(np.asarray(value)).all(-1))
        if bad.size:
            raise ValueError(
                f"{name} must be finite; got NaN or infinity in observation {bad[0]}"
                + (f" and {bad.size - 1} more" if bad.size > 1 else "")
            )
