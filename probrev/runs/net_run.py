"""A layer of a real net judged: the comparison under its fitted model, and what it hangs on."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import PRNGKeyArray

from probrev.comparison.comparison import Comparison
from probrev.comparison.looks import LOOKS, Inference, Look, compare_until
from probrev.comparison.metrics import MetricFamily
from probrev.comparison.metrics.case import POSTERIOR, make_case
from probrev.comparison.metrics.family import measure
from probrev.comparison.metrics.predictive import PREDICTIVE
from probrev.comparison.metrics.risk import RISK
from probrev.inference.gibbs.gibbs import gibbs
from probrev.inverses.estimates import run_inverses
from probrev.model.layered_model import LayeredModel
from probrev.model.observations import Observations
from probrev.nets.fitting.net_fit import PRIORS, FittedLevel
from probrev.plumbing import door
from probrev.plumbing.progress import Progress
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import stream
from probrev.posterior.posterior import Posterior

# Bootstrap refits of layer and prior, and held-out observations of everything beside the verdict.
NUM_REFITS, NUM_BESIDE = 3, 32
# Sweeps of chains that describe how far the verdict can be moved, and do not give it.
beside_gibbs = partial(gibbs, num_warmup=500, num_samples=1000)
STATISTICS = ("zero_share", "norm", "log_likelihood")


class Aside(NamedTuple):
    """R of the net as trained under one change of the model.

    Attributes:
        what: the change, in words.
        ratio: R.
        low: lower end of its 95 % interval over observations.
        high: upper end.
        claimed_over_actual: the posterior's claim over its squared error.
        status: of the posterior.
    """

    what: str
    ratio: float
    low: float
    high: float
    claimed_over_actual: float
    status: str


@door.guard(
    key=door.random_key,
    level=door.instance_of(FittedLevel, "a level of what pr.fit_net returns"),
    num_obs=door.optional(door.count()),
    infer=door.function,
    seed=door.seed,
    begin=door.optional(door.function),
)
def judge_level(
    key: PRNGKeyArray,
    level: FittedLevel,
    *,
    prior: str | None = None,
    num_obs: int | None = None,
    infer: Inference = gibbs,
    seed: int = 0,
    stage: Callable[[str], Any] = lambda name: None,
    begin: Callable[[Look], None] | None = None,
    provenance: dict[str, Any] | None = None,
) -> Comparison:
    """Holds a layer as it was trained against Bayes, on x made by the fitted layer from real h.

    Beside what `compare` gives, the tree has the group `fit`: `checks` of the fit; `asides`, R
    under the other prior and under refits to bootstrap samples; and `real_x`, what the model says
    of real x, on which there is no verdict. Both are of at most 32 observations, `num_obs` of each.

    Args:
        key: random key.
        level: the layer, fitted.
        prior: "independent" or "correlated"; by default the one that was chosen.
        num_obs: observations; by default 32, then 128 and 512 while the verdict is undecided, as
            far as observations are held out.
        infer: what gives the posterior that judges; the command line's is
            `partial(pr.gibbs, until_converged=True)`.
        seed: see `compare`.
        stage: told of each part of the work by name; a function that it returns is told of the
            part's progress, done and in all.
        begin: told of each look before it begins.
        provenance: see `compare`.

    Raises:
        ValueError: no such prior, or more observations than are held out.
    """
    prior = level.chosen if prior is None else prior
    if prior not in PRIORS:
        raise Refusal(f"prior must be one of {', '.join(PRIORS)}; got {prior!r}")
    model, num_held_out = level.under(prior), len(level.held_out.x)
    looks = (num_obs,) if num_obs else tuple(look for look in LOOKS if look <= num_held_out)
    looks = looks or (num_held_out,)
    obs = level.observe(stream(key, "simulate"), looks[-1])
    result = compare_until(
        key, model, level.inverses, {"gibbs": infer}, looks=looks,
        observe=lambda key, num_obs: obs[:num_obs], seed=seed, checks=level.checks, begin=begin,
        provenance=(provenance or {}) | {"fitted": _describe(level, prior)},
    )  # fmt: skip
    few = obs[: min(NUM_BESIDE, obs.num_obs)]
    beside = partial(_aside, key, level, few, seed=seed)
    asides = []
    for what, other in _changes(level, prior):
        asides.append(beside(what, other, progress=stage(what)))
    real_x = _look_at_real_x(key, level, model, seed, stage("real x"))
    groups = {"asides": (pd.DataFrame(asides), few.num_obs), "real_x": real_x}
    for name, (table, number) in groups.items():
        kept = xr.Dataset.from_dataframe(table.rename_axis("row"))
        result.tree[f"fit/{name}"] = xr.DataTree(kept.assign_attrs(num_obs=number))
    return result


def _describe(level: FittedLevel, prior: str) -> dict[str, Any]:
    """What was fitted, as JSON."""
    layer, errors = level.fit.layer, level.fit.std_errors
    parameters = {
        name: [float(getattr(layer, name)), float(getattr(errors, name))]
        for name in ("keep_prob", "noise_std", "gain")
    }
    return {
        "layer": level.name, "prior": prior, "num_train": len(level.train.x),
        "num_held_out": len(level.held_out.x), "relative_noise": level.fit.relative_noise,
        "activation": str(layer.activation),
        "parameters": {
            name: [value, None if np.isnan(error) else error]
            for name, (value, error) in parameters.items()
        },
        "nats_per_row": {name: level.fit.per_row(name) for name in level.fit.log_likelihood},
    }  # fmt: skip


def _changes(level: FittedLevel, prior: str) -> Iterator[tuple[str, LayeredModel]]:
    """Models beside the one that judges."""
    for other in PRIORS:
        if other != prior:
            yield f"the {other} prior", level.under(other)
    for number in range(1, NUM_REFITS + 1):
        yield f"refit {number} to a bootstrap sample", level.refit(number, prior)


def _aside(
    key: PRNGKeyArray,
    level: FittedLevel,
    obs: Observations,
    what: str,
    model: LayeredModel,
    *,
    seed: int,
    progress: Progress | None,
) -> Aside:
    """R under another model, of x made by its own layer from the same h."""
    assert obs.h is not None
    made = model.observe_from(stream(key, "simulate"), obs.h)
    posterior = beside_gibbs(stream(key, f"beside/{what}"), model, made, progress=progress)
    table = _measure(level, model, made, posterior, RISK, seed=seed)
    ratio = table.loc[("risk_ratio", "as_trained")]
    claim = table.loc[("claimed_over_actual", POSTERIOR)]
    return Aside(
        what, float(ratio["value"]), float(ratio["low"]), float(ratio["high"]),
        float(claim["value"]), str(posterior.status),
    )  # fmt: skip


def _measure(
    level: FittedLevel,
    model: LayeredModel,
    obs: Observations,
    posterior: Posterior,
    *families: MetricFamily,
    seed: int,
) -> pd.DataFrame:
    """Rows of the families, by metric and subject: what stands beside a verdict needs no more."""
    estimates = run_inverses(model, obs, level.inverses)
    case = make_case(model, obs, estimates.h, posterior, seed)
    found = measure(case, {str(number): one for number, one in enumerate(families)})
    return pd.DataFrame(found.rows).set_index(["metric", "subject"])


def _look_at_real_x(
    key: PRNGKeyArray,
    level: FittedLevel,
    model: LayeredModel,
    seed: int,
    progress: Progress | None,
) -> tuple[pd.DataFrame, int]:
    """What the model says of real x: kappa, and whether it predicts them; and of how many."""
    rows = np.asarray(jax.random.permutation(stream(key, "real x"), len(level.held_out.x)))
    chosen = rows[:NUM_BESIDE]
    obs = Observations(jnp.asarray(level.held_out.x[chosen]), jnp.asarray(level.held_out.h[chosen]))
    posterior = beside_gibbs(stream(key, "beside/real x"), model, obs, progress=progress)
    table = _measure(level, model, obs, posterior, RISK, PREDICTIVE, seed=seed)
    claim = table.loc[("claimed_over_actual", POSTERIOR)]
    listed = [("kappa", 1 / claim["value"], 1 / claim["high"], 1 / claim["low"])]
    for statistic in STATISTICS:
        name = f"predictive_p_{statistic}"
        if (name, POSTERIOR) in table.index:
            listed.append((name, table.loc[(name, POSTERIOR)]["value"], np.nan, np.nan))
    found = pd.DataFrame(listed, columns=["metric", "value", "low", "high"])
    return found.assign(status=str(posterior.status)), obs.num_obs
