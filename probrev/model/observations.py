"""What is observed of a model: x, the h that made it where that is known, and who made both."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from probrev.plumbing.arrays import as_floats, check_real, own
from probrev.plumbing.door import shown
from probrev.plumbing.pytree import is_concrete, pytree
from probrev.plumbing.refusal import Refusal, TypeRefusal


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

    model: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Maker) and self.model is other.model

    def __hash__(self) -> int:
        return id(self.model)

    def __repr__(self) -> str:
        return type(self.model).__name__


@pytree(data=("x", "h", "intermediates", "masks", "sites"), meta=("origin", "maker"))
@dataclass(frozen=True, init=False)
class Observations:
    """Observed vectors and, where they were simulated, what made them.

    Attributes:
        x: observations, (num_obs, n_visible).
        h: the hidden vectors that made them, (num_obs, n_hidden); None for real data.
        intermediates: hidden vectors between x and h, the one next to x first.
        masks: dropout masks (True: survived), of x first, then of each intermediate.
        sites: what else the prior's program drew or named, by site, (num_obs, ...).
        origin: where x and h come from. A model's `simulate` and `observe_from` set it.
        maker: the model that made them, where it is known.
    """

    x: Float[Array, "obs visible"]
    h: Float[Array, "obs hidden"] | None
    intermediates: tuple[Array, ...]
    masks: tuple[Array, ...]
    sites: Mapping[str, Array]
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
        sites: Mapping[str, Array] = MappingProxyType({}),
    ):
        if origin not in list(Origin):
            raise Refusal(f"origin must be one of {', '.join(Origin)}; got {origin!r}")
        object.__setattr__(self, "x", _as_rows("x", x, "n_visible"))
        object.__setattr__(self, "h", None if h is None else _as_rows("h", h, "n_hidden"))
        object.__setattr__(self, "intermediates", own(intermediates))
        object.__setattr__(self, "masks", own(masks))
        object.__setattr__(self, "sites", own(dict(sites)))
        object.__setattr__(self, "origin", Origin(origin))
        object.__setattr__(self, "maker", maker)
        if self.h is None and self.origin is not Origin.ELSEWHERE:
            raise Refusal(f"origin {self.origin.value!r} says how h made x, but there is no h")
        if self.h is not None and len(self.h) != len(self.x):
            raise Refusal(
                f"x and h must have one row per observation; got {len(self.x)} rows of x "
                f"and {len(self.h)} of h"
            )

    @property
    def num_obs(self) -> int:
        """Number of observations."""
        return self.x.shape[0]

    def __getitem__(self, rows: slice) -> "Observations":
        """A slice of the observations."""
        if not isinstance(rows, slice):
            raise TypeRefusal(f"observations are taken by a slice, as obs[:8]; got {shown(rows)}")
        return jax.tree.map(lambda leaf: leaf[rows], self)

    def simulated_by(self, model: Any) -> "Observations":
        """These observations as a model's `simulate` returned them, marked if it did not do so."""
        is_marked = self.h is None or self.origin is not Origin.ELSEWHERE
        return self if is_marked else self.made_by(model)

    def made_by(self, model: Any, origin: Origin = Origin.MODEL) -> "Observations":
        """These observations, marked as made by a model; traced ones carry no mark."""
        return replace(self, origin=origin, maker=Maker(model)) if is_concrete(model) else self

    def origin_under(self, model: Any) -> Origin:
        """Where they come from as seen from a model, which need not be the one that made them.

        What another model simulated comes from the layers alone where these are the same, and from
        elsewhere where they are not.
        """
        if self.maker is None or self.origin is Origin.ELSEWHERE:
            return self.origin
        made = self.maker.model
        if same_numbers(made, model):
            return self.origin
        layers, own = (
            None if getattr(one, "law_changes", ()) else getattr(one, "layers", None)
            for one in (made, model)
        )
        shares_layers = layers is not None and same_numbers(layers, own)
        return Origin.LAYERS if shares_layers else Origin.ELSEWHERE


def same_numbers(one: Any, other: Any) -> bool:
    """Whether two models or their parts are one object, or have equal structure and numbers."""
    if one is other:
        return True
    (leaves, structure), (others, other_structure) = map(jax.tree.flatten, (one, other))
    return structure == other_structure and all(map(np.array_equal, leaves, others))


def _as_rows(name: str, value: ArrayLike, width: str) -> Array:
    check_real(name, value)
    rows = as_floats(value)
    if rows.ndim != 2:
        raise Refusal(f"{name} must have shape (num_obs, {width}); got shape {rows.shape}")
    return rows
