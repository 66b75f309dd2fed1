"""A planned comparison carried out: the part that needs JAX."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpyro
import xarray as xr

import probrev as pr
from probrev import registry
from probrev.cli.display import Stages, stages
from probrev.cli.plan import Plan, check_names
from probrev.cli.refusal import is_refusal, line_at_fault
from probrev.inference.choice import infer
from probrev.ladder import RUNGS, build_samplers
from probrev.progress import Progress
from probrev.provenance import provenance
from probrev.registry import WEIGHT_SEED
from probrev.status import Status
from probrev.streams import stream

# Draws of each chain of Gibbs: in rounds that grow while it has not converged, up to these bounds.
FIRST_ROUND, GROWTH = 2000, 4
MOST_BYTES, MOST_SECONDS = 2**30, 600


def run(plan: Plan) -> pr.Comparison:
    """Builds the model, simulates observations, computes posteriors and compares.

    With more than one draw of the weights, the group `over_weights` holds `ratio` (weight_seed,
    inverse): the risk ratio of each inverse under each draw, against the first posterior.
    """
    numpyro.enable_x64()
    make = registry.load(plan.info.name)
    with stages() as stage:
        result = measure(plan, make, 0, stage)
        if plan.num_weights > 1:
            result.tree["over_weights"] = over_weights(plan, make, result, stage)
    return result


def measure(plan: Plan, make: registry.Build, weight_draw: int, stage: Stages) -> pr.Comparison:
    """One comparison, under one draw of the weights.

    Args:
        plan: what was asked for.
        make: the model's `build`.
        weight_draw: number of the draw; all but number 0 get the first posterior only, and no
            random inverse.
        stage: where to report progress.
    """
    root = stream(plan.seed, f"weights/{weight_draw}")
    stage(f"weights {weight_draw + 1} of {plan.num_weights}")
    settings = plan.settings
    if weight_draw:
        settings[WEIGHT_SEED] = plan.weight_seeds[weight_draw]
    with refusing(plan.info):
        model = make(**settings)
        arguments = registry.arguments(make, settings)
        obs = registry.observe(make, arguments, stream(root, "simulate"), model, plan.num_obs)
        own_inverses = registry.call_hook(make, "inverses", arguments, model=model)
    check_hooks(plan.info, obs, own_inverses)
    own_inverses = own_inverses or {}
    known = (*pr.list_rungs(model), *own_inverses)
    check_names("inverse", plan.inverses, known)
    wanted = plan.inverses or known
    samplers = {}
    if not plan.inverses and not weight_draw:
        samplers = build_samplers(stream(root, "dropout"), model)
    methods = dict.fromkeys(plan.posteriors, "it was asked for") or pr.choose_methods(model)
    posteriors = {
        method: infer_with_progress(method, stream(root, method), model, obs, stage)
        for method in (list(methods)[:1] if weight_draw else methods)
    }
    stage("inverses")
    rungs = [name for name in wanted if name not in own_inverses]
    inverses = {**pr.build_ladder(stream(root, "ladder"), model, rungs), **own_inverses}
    stage("comparison")
    return pr.compare(
        model,
        obs,
        inverses={name: inverses[name] for name in wanted},
        posteriors=posteriors,
        random_inverses=samplers,
        seed=plan.seed,
        provenance=provenance(
            model=plan.info.name,
            source=plan.info.source,
            parameters=arguments,
            seed=plan.seed,
            command=plan.command(tuple(methods)),
            methods=methods,
        ),
    )


def over_weights(
    plan: Plan, make: registry.Build, first: pr.Comparison, stage: Stages
) -> xr.DataTree:
    """Risk ratios under further draws of the weights, put beside those of the first."""
    draws = range(1, plan.num_weights)
    results = [first, *(measure(plan, make, draw, stage) for draw in draws)]
    posterior = next(iter(first.posteriors))
    ratios = [
        {v.inverse: v.ratio for v in result.verdicts if v.posterior == posterior}
        for result in results
    ]
    table = [[ratio[name] for name in first.inverses] for ratio in ratios]
    coords = {WEIGHT_SEED: plan.weight_seeds, "inverse": first.inverses}
    ratio = xr.DataArray(table, coords, dims=(WEIGHT_SEED, "inverse"), name="ratio")
    return xr.DataTree(ratio.to_dataset().assign_attrs(posterior=posterior))


@contextmanager
def refusing(info: registry.ModelInfo) -> Iterator[None]:
    """Says whatever a model file refuses as a refusal of this command.

    Raises:
        ValueError: the file raised a ValueError or a TypeError, or missed a file or a package.
    """
    try:
        yield
    except (ValueError, TypeError, ImportError, OSError) as error:
        line = line_at_fault(error, info.path)
        if line is None and not is_refusal(error):
            raise
        where = info.name if line is None else f"{info.name}, line {line}"
        raise ValueError(f"model {where}: {error}") from error


def check_hooks(info: registry.ModelInfo, obs: Any, inverses: Any) -> None:
    """Raises unless a model file's `observe` and `inverses` returned what they should.

    Raises:
        TypeError: no observations, or no dict.
        ValueError: an inverse has the name of a rung of the ladder, which tables tell it by.
    """
    if not isinstance(obs, pr.Observations):
        raise TypeError(
            f"model {info.name}: observe must return probrev.Observations; got {type(obs).__name__}"
        )
    if inverses is not None and not isinstance(inverses, dict):
        raise TypeError(
            f"model {info.name}: inverses must return a dict of callables by name; "
            f"got {type(inverses).__name__}"
        )
    taken = [name for name in inverses or () if name in RUNGS]
    if taken:
        raise ValueError(
            f"model {info.name}: inverses has {taken[0]!r}, which is a rung of the ladder: "
            "choose another name"
        )


def infer_with_progress(
    method: str, key: jax.Array, model: pr.Model, obs: pr.Observations, stage: Stages
) -> pr.Posterior:
    """One posterior, its progress shown."""
    progress = stage(method)
    if method == "gibbs":
        return sample_until_converged(key, model, obs, progress=progress)
    return infer(method, key, model, obs, progress=progress)


def sample_until_converged(
    key: jax.Array, model: Any, obs: pr.Observations, *, progress: Progress
) -> pr.Posterior:
    """Gibbs with as many draws as it takes, within bounds; each round goes on from the last."""
    num_samples, spent = FIRST_ROUND, dict.fromkeys(("run_seconds", "compile_seconds"), 0.0)
    with TemporaryDirectory() as folder:
        while True:
            posterior = pr.gibbs(
                key, model, obs, num_samples=num_samples, checkpoint=Path(folder, "gibbs.npz"),
                progress=progress,
            )  # fmt: skip
            attrs = posterior.tree.attrs
            spent = {name: seconds + attrs[name] for name, seconds in spent.items()}
            attrs.update(spent)
            num_samples *= GROWTH
            too_many = GROWTH * posterior.draws.nbytes > MOST_BYTES
            too_long = GROWTH * sum(spent.values()) > MOST_SECONDS
            if posterior.status is Status.OK or too_many or too_long:
                return posterior
