"""The ladder of inverses: from a plain net towards Bayesian inference, rung by rung.

A model offers its rungs. Those of built-in kinds are in a file each: how to build one, and the
random inverses that go with them.
"""

from collections.abc import Sequence

from jaxtyping import PRNGKeyArray

# They register the rungs of their models.
import probrev.inverses.ladder.binary
import probrev.inverses.ladder.layered  # noqa: F401
from probrev.inverses.estimates import Inverse, RandomInverse
from probrev.inverses.ladder.rungs import rungs_of, samplers_of
from probrev.model import door as model_door
from probrev.model.protocol import Model
from probrev.plumbing import door
from probrev.plumbing.refusal import Refusal


@door.guard(
    key=door.random_key, model=model_door.model, names=door.optional(door.all_of(door.text))
)
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
    rungs = rungs_of(model)
    wanted = tuple(rungs) if names is None else names
    for name in wanted:
        if name not in rungs:
            raise Refusal(f"this model has no rung {name!r}; it has {', '.join(rungs) or 'none'}")
    return {name: build(key) for name, build in rungs.items() if name in wanted}


@door.guard(model=model_door.model)
def list_rungs(model: Model) -> tuple[str, ...]:
    """Names of the rungs that a model has, lowest first: those of its class, or of its own.

    See `ladder.layered.layered_rungs` and `ladder.binary.binary_rungs`. A model of one's own has
    those that its method `rungs` returns: by name, functions of a random key that build an inverse.
    """
    return tuple(rungs_of(model))


@door.guard(key=door.random_key, model=model_door.model)
def build_samplers(key: PRNGKeyArray, model: Model) -> dict[str, RandomInverse]:
    """The random inverses of a model, by name: might they be posterior samplers?

    A model of one's own has those that its method `samplers` returns.
    """
    return {name: build(key) for name, build in samplers_of(model).items()}
