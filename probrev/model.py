"""What any model of x and h is, and what is observed of it."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.plumbing.arrays import check_real
from probrev.plumbing.pytree import is_concrete, pytree

# Draws taken to average over a model: one number everywhere, so that it is compiled once.
NUM_SIMULATED = 4096


class Origin(StrEnum):
    """Where x and h come from: what may be said of a net depends on it.

    - `MODEL`: x and h from the model, so that h is a draw from p(h | x).
    - `LAYERS`: x from the model's layers, given an h from elsewhere, such as a real net's.
    - `ELSEWHERE`: anything else; the default.
    """

    MODEL = "model"
    LAYERS = "layers"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, eq=False)
class Maker:
    """The model that made observations, compared as an object so that it can be structure.

    What one model simulates time and again has one structure: a function of it is compiled once.
    """

    model: "Model"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Maker) and self.model is other.model

    def __hash__(self) -> int:
        return id(self.model)


@pytree(data=("x", "h", "intermediates", "masks"), meta=("origin", "maker"))
@dataclass(frozen=True, init=False)
class Observations:
    """Observed vectors and, where they were simulated, what made them.

    Attributes:
        x: observations, (num_obs, n_visible).
        h: the hidden vectors that made them, (num_obs, n_hidden); None for real data.
        intermediates: hidden vectors between x and h, the one next to x first.
        masks: dropout masks (True: survived), of x first, then of each intermediate.
        origin: where x and h come from. A model's `simulate` and `observe_from` set it.
        maker: the model that made them, where it is known.
    """

    x: Float[Array, "obs visible"]
    h: Float[Array, "obs hidden"] | None
    intermediates: tuple[Array, ...]
    masks: tuple[Array, ...]
    origin: Origin
    maker: Maker | None

    def __init__(
        self,
        x: ArrayLike,
        h: ArrayLike | None = None,
        intermediates: tuple[Array, ...] = (),
        masks: tuple[Array, ...] = (),
        origin: Origin | str = Origin.ELSEWHERE,
        maker: Maker | None = None,
    ):
        if origin not in list(Origin):
            raise ValueError(f"origin must be one of {', '.join(Origin)}; got {origin!r}")
        object.__setattr__(self, "x", _as_rows("x", x, "n_visible"))
        object.__setattr__(self, "h", None if h is None else _as_rows("h", h, "n_hidden"))
        object.__setattr__(self, "intermediates", intermediates)
        object.__setattr__(self, "masks", masks)
        object.__setattr__(self, "origin", Origin(origin))
        object.__setattr__(self, "maker", maker)
        if self.h is None and self.origin is not Origin.ELSEWHERE:
            raise ValueError(f"origin {self.origin.value!r} says how h made x, but there is no h")
        if self.h is not None and len(self.h) != len(self.x):
            raise ValueError(
                f"x and h must have one row per observation; got {len(self.x)} rows of x "
                f"and {len(self.h)} of h"
            )

    @property
    def num_obs(self) -> int:
        """Number of observations."""
        return self.x.shape[0]

    def __getitem__(self, rows: slice) -> "Observations":
        """A slice of the observations."""
        return jax.tree.map(lambda leaf: leaf[rows], self)

    def simulated_by(self, model: "Model") -> "Observations":
        """These observations as a model's `simulate` returned them, marked if it did not do so."""
        is_marked = self.h is None or self.origin is not Origin.ELSEWHERE
        return self if is_marked else self.made_by(model)

    def made_by(self, model: "Model", origin: Origin = Origin.MODEL) -> "Observations":
        """These observations, marked as made by a model; traced ones carry no mark."""
        return replace(self, origin=origin, maker=Maker(model)) if is_concrete(model) else self

    def origin_under(self, model: "Model") -> Origin:
        """Where they come from as seen from a model, which need not be the one that made them.

        What another model simulated comes from the layers alone where these are the same, and from
        elsewhere where they are not.
        """
        if self.maker is None or self.origin is Origin.ELSEWHERE:
            return self.origin
        made = self.maker.model
        if same_numbers(made, model):
            return self.origin
        layers, own = getattr(made, "layers", None), getattr(model, "layers", None)
        shares_layers = layers is not None and same_numbers(layers, own)
        return Origin.LAYERS if shares_layers else Origin.ELSEWHERE


def same_numbers(one: Any, other: Any) -> bool:
    """Whether two models or their parts are one object, or have equal structure and numbers."""
    if one is other:
        return True
    (leaves, structure), (others, other_structure) = map(jax.tree.flatten, (one, other))
    return structure == other_structure and all(map(np.array_equal, leaves, others))


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


def _as_rows(name: str, value: ArrayLike, width: str) -> Array:
    check_real(name, value)
    rows = jnp.asarray(value, dtype=float)
    if rows.ndim != 2:
        raise ValueError(f"{name} must have shape (num_obs, {width}); got shape {rows.shape}")
    return rows
