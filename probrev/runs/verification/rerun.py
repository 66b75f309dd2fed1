"""What made a run of the command line, made again from its provenance: x, h and the inverses."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import xarray as xr

from probrev.comparison.comparison import Comparison
from probrev.comparison.models import MODELS, StoredModels
from probrev.inverses.estimates import estimate, sample_inverses
from probrev.inverses.ladder import build_samplers
from probrev.model.observations import Observations
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import stream
from probrev.runs import registry
from probrev.runs.built_model import build_model
from probrev.runs.fault import refusing
from probrev.runs.provenance import is_of_command


class Rerun(NamedTuple):
    """What a run began with, made again.

    Attributes:
        obs: the observations.
        estimates: of the inverses on those of the run, (inverse, obs, hidden).
        samples: of its random inverses; None where it has none.
    """

    obs: Observations
    estimates: xr.DataArray
    samples: xr.DataArray | None


def rerun(result: Comparison, known: Mapping[str, Any], obs: Observations, sampled: int) -> Rerun:
    """Simulates the observations and runs the inverses of `probrev compare MODEL` again.

    The model's file is run only if it has the text which the run has.

    Args:
        result: the run, with its models.
        known: its provenance.
        obs: the run's observations, on which the inverses are run.
        sampled: of how many of them random inverses have samples.

    Raises:
        ValueError: the run is no such one, or the file is not as it was; says which.
    """
    if not is_of_command(known):
        raise Refusal("the run was made from Python, and holds no functions")
    name, parameters = known["model"], known.get("parameters")
    if not isinstance(parameters, dict) or "model_source" not in known:
        raise Refusal("the net and its inputs are not in the run")
    arrays = [key for key, value in parameters.items() if isinstance(value, dict)]
    if arrays:
        raise Refusal(f"the run has {arrays[0]} by its hash only")
    if registry.describe(name).source != known["model_source"]:
        raise Refusal(f"model file {name} is not as it was")
    if result.model is None:
        raise Refusal(result.models.why_unknown)
    make = registry.load(name)
    with refusing(name, registry.find(name)):
        built = build_model(make, parameters)
    stored = StoredModels(result.tree[MODELS].to_dataset())
    try:
        stored.offer(stored.number_of(), built.model)
    except ValueError as error:
        raise Refusal(f"model file {name} no longer builds the run's model: {error}") from None
    root = stream(int(known["seed"]), "weights/0")
    with refusing(name, registry.find(name)):
        again = built.observe(stream(root, "simulate"), known["looks"]["planned"][-1])
    inverses = built.inverses(stream(root, "ladder"), result.inverses)
    samples = None
    if result.random_inverses:
        samplers = build_samplers(stream(root, "dropout"), built.model)
        samplers = {one: samplers[one] for one in result.random_inverses}
        seed = int(known["comparison_seed"])
        samples = sample_inverses(seed, result.model, obs[:sampled], samplers)
    return Rerun(again[: obs.num_obs], estimate(result.model, obs, inverses), samples)
