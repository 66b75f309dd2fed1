"""The ladder of inverses: from a plain net towards Bayesian inference, rung by rung.

Each kind of model has its rungs in a file of its own: their names, lowest first, how to build one,
and the random inverses that go with them. A new kind of model is a new file, and an entry here.
"""

from collections.abc import Sequence
from types import ModuleType

from jaxtyping import PRNGKeyArray

from probrev.boltzmann.machine import BoltzmannMachine
from probrev.inverses.estimates import Inverse, RandomInverse
from probrev.inverses.ladder import binary, layered
from probrev.model.layered_model import LayeredModel
from probrev.model.protocol import Model

RUNGS = (*layered.RUNGS, *binary.RUNGS)
_KINDS: dict[type, ModuleType] = {LayeredModel: layered, BoltzmannMachine: binary}


def build_ladder(
    key: PRNGKeyArray, model: Model, names: Sequence[str] | None = None
) -> dict[str, Inverse]:
    """The rungs that a model has, lowest first; see `list_rungs`.

    Args:
        key: random key, for what is calibrated or trained on draws from the model.
        model: the model to invert.
        names: the rungs to build; by default all.

    Raises:
        ValueError: the model has no rung of that name.
    """
    kind, known = _kind_of(model), list_rungs(model)
    wanted = known if names is None else names
    for name in wanted:
        if name not in known:
            raise ValueError(
                f"this model has no rung {name!r}; it has {', '.join(known) or 'none'}"
            )
    if kind is None:
        return {}
    return {name: kind.build_rung(key, model, name) for name in known if name in wanted}


def list_rungs(model: Model) -> tuple[str, ...]:
    """Names of the rungs that a model has, lowest first; of a user's own Model none.

    See `ladder.layered.list_rungs` and `ladder.binary.list_rungs`.
    """
    kind = _kind_of(model)
    return () if kind is None else kind.list_rungs(model)


def build_samplers(key: PRNGKeyArray, model: Model) -> dict[str, RandomInverse]:
    """The random inverses of a model, by name: might they be posterior samplers?"""
    kind = _kind_of(model)
    return {} if kind is None else kind.build_samplers(key, model)


def _kind_of(model: Model) -> ModuleType | None:
    return next((kind for type_, kind in _KINDS.items() if isinstance(model, type_)), None)
