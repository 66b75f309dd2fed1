"""A planned comparison carried out: the part that needs JAX."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpyro
import xarray as xr

import probrev as pr
from probrev.cli.display import Stages, stages
from probrev.cli.plan import Plan, check_names
from probrev.cli.programs import keep_programs
from probrev.comparison.looks import LOOKS
from probrev.inference.choice import estimate_seconds, infer
from probrev.inference.gibbs.gibbs import MOST_BYTES
from probrev.inverses.ladder import build_samplers
from probrev.plumbing.checkpoint import fingerprint
from probrev.plumbing.progress import Progress
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import stream
from probrev.runs import registry
from probrev.runs.built_model import BuiltModel, build_model
from probrev.runs.fault import refusing, refusing_late
from probrev.runs.provenance import provenance
from probrev.runs.registry import WEIGHT_SEED

# No look is planned whose observations have not room for as many draws each.
NUM_DRAWS = 8000


def run(plan: Plan, checkpoints: Path | None = None, quiet: bool = False) -> pr.Comparison:
    """Builds the model, simulates observations, computes posteriors and compares.

    With more than one draw of the weights, the group `over_weights` holds `ratio` (weight_seed,
    inverse): the risk ratio of each inverse under each draw, against the first posterior.

    Args:
        plan: what was asked for.
        checkpoints: folder in which Gibbs saves its chains on their way, and finds them.
        quiet: whether nothing is said on the way.
    """
    numpyro.enable_x64()
    keep_programs()
    make = registry.load(plan.info.name)
    with refusing_late(plan.info.name, plan.info.path), stages(quiet) as stage:
        result = measure(plan, make, 0, stage, checkpoints)
        if plan.num_weights > 1:
            result.tree["over_weights"] = over_weights(plan, make, result, stage, checkpoints)
    return result


def measure(
    plan: Plan,
    make: registry.Build,
    weight_draw: int,
    stage: Stages,
    checkpoints: Path | None = None,
) -> pr.Comparison:
    """One comparison, under one draw of the weights.

    Args:
        plan: what was asked for.
        make: the model's `build`.
        weight_draw: number of the draw; all but number 0 get the first posterior and the first look
            only, and no random inverse.
        stage: where to report progress.
        checkpoints: see `run`.
    """
    root = stream(plan.seed, f"weights/{weight_draw}")
    weights = f"weights {weight_draw + 1} of {plan.num_weights}"
    stage(weights if plan.num_weights > 1 else "model")
    settings = plan.settings
    if weight_draw:
        settings[WEIGHT_SEED] = plan.weight_seeds[weight_draw]
    with refusing(plan.info.name, plan.info.path):
        built = build_model(make, settings)
    model = built.model
    check_names("inverse", plan.inverses, built.inverse_names)
    if not built.inverse_names:
        raise Refusal(
            f"model {plan.info.name} has no inverse to compare: add a function inverses(model) to "
            "its file that returns some by name, callables x -> h, or a method rungs to the model"
        )
    samplers = {}
    if not plan.inverses and not weight_draw:
        samplers = build_samplers(stream(root, "dropout"), model)
    looks = LOOKS if plan.num_obs is None else (plan.num_obs,)
    looks = looks[:1] if weight_draw else looks
    obs = observe(plan, built, stream(root, "simulate"), looks)
    if obs.num_obs < looks[0]:
        raise Refusal(
            f"model {plan.info.name}: observe was asked for {looks[0]} observations; it returned "
            f"{obs.num_obs}"
        )
    looks = tuple(number for number in looks if number <= obs.num_obs)
    methods = dict.fromkeys(plan.posteriors, "it was asked for") or pr.choose_methods(model)
    stage("inverses")
    return pr.compare_until(
        root,
        model,
        inverses=built.inverses(stream(root, "ladder"), plan.inverses or built.inverse_names),
        posteriors={
            method: partial(infer_with_progress, method, stage, checkpoints=checkpoints)
            for method in (list(methods)[:1] if weight_draw else methods)
        },
        looks=looks,
        observe=lambda key, num_obs: obs[:num_obs],
        random_inverses=samplers,
        checks=built.checks,
        seed=plan.seed,
        begin=lambda look: announce(look, model, list(methods), stage),
        provenance=provenance(
            model=plan.info.name,
            source=plan.info.source,
            parameters=built.arguments,
            seed=plan.seed,
            command=plan.command(tuple(methods)),
            methods=methods,
        ),
    )


def observe(plan: Plan, built: BuiltModel, key: jax.Array, looks: Sequence[int]) -> pr.Observations:
    """Observations for as many of the looks as memory and the model file have room for.

    Raises:
        ValueError: the model file refuses even the first look.
    """
    width = built.model.n_hidden
    room = [looks[0], *(n for n in looks[1:] if 8 * NUM_DRAWS * n * width <= MOST_BYTES)]
    for num_obs in reversed(room):
        try:
            with refusing(plan.info.name, plan.info.path):
                return built.observe(key, num_obs)
        except ValueError:
            # A file with real data may have enough for the first look and not for the last.
            if num_obs == room[0]:
                raise
    raise AssertionError("there is a first look")


def announce(look: pr.Look, model: pr.Model, methods: list[str], stage: Stages) -> None:
    """Says what comes, and about how long it takes, before each look."""
    seconds = look.seconds
    if look.number == 1:
        seconds = look.num_obs * sum(estimate_seconds(name, model) for name in methods)
    which = f"look {look.number} of {len(look.planned)}: " if len(look.planned) > 1 else ""
    known = math.isfinite(seconds)
    about = f", about {max(1, round(seconds / 60))} min" if known else ""
    stage.say(f"{which}{look.num_obs} observations{about}")


def over_weights(
    plan: Plan,
    make: registry.Build,
    first: pr.Comparison,
    stage: Stages,
    checkpoints: Path | None = None,
) -> xr.DataTree:
    """Risk ratios under further draws of the weights, put beside those of the first."""
    draws = range(1, plan.num_weights)
    results = [first, *(measure(plan, make, draw, stage, checkpoints) for draw in draws)]
    posterior = next(iter(first.posteriors))
    ratios = [
        {v.inverse: v.ratio for v in result.verdicts if v.posterior == posterior}
        for result in results
    ]
    table = [[ratio[name] for name in first.inverses] for ratio in ratios]
    coords = {WEIGHT_SEED: plan.weight_seeds, "inverse": first.inverses}
    ratio = xr.DataArray(table, coords, dims=(WEIGHT_SEED, "inverse"), name="ratio")
    return xr.DataTree(ratio.to_dataset().assign_attrs(posterior=posterior))


def infer_with_progress(
    method: str,
    stage: Stages,
    key: jax.Array,
    model: pr.Model,
    obs: pr.Observations,
    *,
    checkpoints: Path | None = None,
) -> pr.Posterior:
    """One posterior, its progress shown."""
    progress = stage(method)
    if method == "gibbs":
        return sample_until_converged(key, model, obs, progress=progress, checkpoints=checkpoints)
    return infer(method, key, model, obs, progress=progress)


def sample_until_converged(
    key: jax.Array,
    model: Any,
    obs: pr.Observations,
    *,
    progress: Progress,
    checkpoints: Path | None = None,
) -> pr.Posterior:
    """Gibbs with as many draws as it takes, within bounds.

    Args:
        key: random key.
        model: the model.
        obs: observations.
        progress: where to report progress.
        checkpoints: see `run`; the file is named by what it is a checkpoint of.
    """
    checkpoint = None
    if checkpoints is not None:
        checkpoint = checkpoints / f"gibbs-{fingerprint((key, model, obs.x))[:16]}.npz"
    return pr.gibbs(key, model, obs, until_converged=True, checkpoint=checkpoint, progress=progress)
