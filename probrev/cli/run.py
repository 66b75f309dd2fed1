"""A planned comparison carried out: the part that needs JAX."""

from typing import Any

import jax
import numpyro
import xarray as xr

import probrev as pr
from probrev import registry
from probrev.cli.display import Stages, stages
from probrev.cli.plan import METHODS, WEIGHT_SEED, Plan, check_names
from probrev.cli.refusal import is_refusal, line_at_fault
from probrev.provenance import provenance

STREAMS = ("simulate", "ladder", *METHODS)


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
        weight_draw: number of the draw; all but number 0 get the first posterior only.
        stage: where to report progress.
    """
    keys = streams(plan.seed, weight_draw)
    stage(f"weights {weight_draw + 1} of {plan.num_weights}")
    settings = plan.settings
    if weight_draw:
        settings[WEIGHT_SEED] = plan.weight_seeds[weight_draw]
    model = build(plan.info, make, settings)
    obs = model.simulate(keys["simulate"], num_obs=plan.num_obs)
    inverses = pr.build_ladder(keys["ladder"], model)
    check_names("inverse", plan.inverses, tuple(inverses))
    methods = plan.posteriors or tuple(pr.default_posteriors(model))
    posteriors = {
        method: infer(method, keys[method], model, obs, stage)
        for method in (methods[:1] if weight_draw else methods)
    }
    stage("comparison")
    return pr.compare(
        model,
        obs,
        inverses={name: inverses[name] for name in plan.inverses or inverses},
        posteriors=posteriors,
        seed=plan.seed,
        provenance=provenance(
            model=plan.info.name,
            source=plan.info.source,
            parameters=registry.arguments(make, settings),
            seed=plan.seed,
            command=plan.command(methods),
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


def build(info: registry.ModelInfo, make: registry.Build, settings: dict[str, Any]) -> Any:
    """The model, whatever its `build` refuses said as a refusal of this command.

    Raises:
        ValueError: `build` raised a ValueError or a TypeError, or missed a file or a package.
    """
    try:
        return make(**settings)
    except (ValueError, TypeError, ImportError, OSError) as error:
        line = line_at_fault(error, info.path)
        if line is None and not is_refusal(error):
            raise
        where = info.name if line is None else f"{info.name}, line {line}"
        raise ValueError(f"model {where}: {error}") from error


def infer(
    method: str, key: jax.Array, model: pr.Model, obs: pr.Observations, stage: Stages
) -> pr.Posterior:
    """One posterior, its progress shown."""
    progress = stage(method)
    if method == "exact":
        return pr.exact(model, obs, progress=progress)
    sampler = {"gibbs": pr.gibbs, "hmc": pr.hmc}[method]
    return sampler(key, model, obs, progress=progress)


def streams(seed: int, weight_draw: int) -> dict[str, jax.Array]:
    """Independent random keys, one per use, so that one more posterior changes no other."""
    root = jax.random.fold_in(jax.random.key(seed), weight_draw)
    return {name: jax.random.fold_in(root, index) for index, name in enumerate(STREAMS)}
