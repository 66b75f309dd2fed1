"""Which rungs of the ladder a model offers, and which random inverses."""

from collections.abc import Callable, Mapping

from jaxtyping import PRNGKeyArray

from probrev.inverses.estimates import Inverse, RandomInverse
from probrev.model.kinds import Question
from probrev.model.protocol import Model

# By name, lowest first: what builds each from a random key.
Rungs = Mapping[str, Callable[[PRNGKeyArray], Inverse]]
Samplers = Mapping[str, Callable[[PRNGKeyArray], RandomInverse]]


@Question("rungs", Mapping)
def rungs_of(model: Model) -> Rungs:
    """The rungs that a model offers by its method `rungs`, or those of its class; else none."""
    del model
    return {}


@Question("samplers", Mapping)
def samplers_of(model: Model) -> Samplers:
    """The random inverses that it offers by `samplers`, or those of its class; else none."""
    del model
    return {}
