"""What models and observations must be where they are arguments; see `plumbing.door`."""

from typing import Any

import numpy as np

from probrev.model.layer import Layer
from probrev.model.observations import Observations
from probrev.plumbing.door import instance_of, shown
from probrev.plumbing.refusal import Refusal, TypeRefusal

_is_observations = instance_of(
    Observations, "probrev.Observations, as model.simulate(key, 32) or pr.Observations(x) make"
)


def observations(name: str, value: Any) -> None:
    """Observations, at least one."""
    _is_observations(name, value)
    if not value.num_obs:
        raise Refusal(f"{name} must hold at least one observation; got none")


def model(name: str, value: Any) -> None:
    """A model: an object with two widths."""
    if isinstance(value, Layer):
        raise TypeRefusal(
            f"{name} must be a model; got a Layer: give pr.LayeredModel(prior, [layer])"
        )
    widths = [_width(value, which) for which in ("n_visible", "n_hidden")]
    if isinstance(value, type) or None in widths:
        raise TypeRefusal(
            f"{name} must be a model, such as pr.LayeredModel(prior, [layer]) or any object with "
            f"whole numbers n_visible and n_hidden; got {shown(value)}"
        )


def _width(value: Any, which: str) -> int | None:
    try:
        width = getattr(value, which, None)
    except Exception:  # a property that needs what is not there
        return None
    if isinstance(width, int | np.integer) and not isinstance(width, bool) and width > 0:
        return int(width)
    return None
