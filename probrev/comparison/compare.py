"""Inverses held against posteriors: the whole comparison."""

import json
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from probrev.comparison.agreements import tabulate_agreements, tabulate_outcomes
from probrev.comparison.comparison import Comparison
from probrev.comparison.costs import tabulate_costs
from probrev.comparison.decision import Decision, check_names, decide, tabulate
from probrev.comparison.glossary import explain
from probrev.comparison.metrics import DESCRIBING, Case, Measured
from probrev.comparison.metrics.case import INTERVAL_PROB
from probrev.comparison.metrics.family import Metric, MetricFamily, measure
from probrev.comparison.models import Models
from probrev.comparison.own_metrics import measure_own, read_metrics
from probrev.comparison.priors import tabulate_priors
from probrev.inference.partition import Estimate
from probrev.inverses.estimates import (
    Inverse,
    RandomInverse,
    run_inverses,
    sample_inverses,
    summarize_samples,
)
from probrev.model import door as model_door
from probrev.model.observations import Observations
from probrev.model.prior_program import describe_prior
from probrev.model.protocol import Model
from probrev.nets.fitting.checks import Check
from probrev.plumbing import door
from probrev.plumbing.readable import summarize
from probrev.plumbing.streams import stream
from probrev.plumbing.surroundings import surroundings
from probrev.posterior.external import External
from probrev.posterior.posterior import Posterior
from probrev.theory.curve import noise_curve

# Random inverses are held against the posterior of the first so many: distances take time.
MOST_SAMPLED = 128
# No longer a model is written out.
LONGEST_WORDS = 1000

_IS_CHECK = door.instance_of(Check, "a probrev.Check")


@door.guard(
    model=model_door.model,
    obs=model_door.observations,
    inverses=door.by_name(door.function),
    posteriors=door.by_name(door.anything),
    random_inverses=door.optional(door.by_name(door.function)),
    seed=door.seed,
    interval_prob=door.inner_probability,
    log_evidence=door.optional(door.by_name(door.anything)),
    provenance=door.optional(door.record),
    planned=door.optional(door.names),
    checks=door.optional(door.all_of(_IS_CHECK)),
)
def compare(
    model: Model,
    obs: Observations,
    inverses: Mapping[str, Inverse],
    posteriors: Mapping[str, Posterior | External],
    *,
    random_inverses: Mapping[str, RandomInverse] | None = None,
    metrics: Mapping[str, Metric | MetricFamily] | None = None,
    seed: int = 0,
    interval_prob: float = INTERVAL_PROB,
    planned: Collection[str] | None = None,
    log_evidence: Mapping[str, Estimate] | None = None,
    checks: Sequence[Check] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Comparison:
    """Measures how far each inverse is from each posterior.

    An inverse gives an estimate, which is held against the posterior's mean and intervals. A random
    one gives samples, which are held against the posterior's draws: is it a posterior sampler?

    Args:
        model: the model of x; posteriors that name none are taken to be under this one.
        obs: observations, with their h where they were simulated.
        inverses: by name, any callables x (obs, visible) -> h (obs, hidden).
        posteriors: by name, ours, or what `from_datatree` takes: a DataTree of another tool with
            `h` in its `posterior` group, a Dataset with `h`, or an array of draws.
        random_inverses: by name, any callables (x, key) -> h (obs, hidden), such as a
            `FeedforwardNet` with keep_prob < 1.
        metrics: by name, functions of a `Case`, beside those that are built in. One returns its
            figures, a DataArray with dims ("inverse",) or ("inverse", "obs"), of which the table
            has the means over observations; the first paragraph of its docstring is what the
            report's glossary says of it. One that returns `Measured` makes its rows itself; of
            several metrics it is given as a `MetricFamily`, with a sentence for each.
        seed: of ties, bootstrap, predictive draws, samples and directions; nothing else here is
            random.
        interval_prob: probability of the intervals that verdicts are made of; nearer to 1 where
            several looks are taken (see `compare_until`).
        planned: the inverses whose verdicts it was decided beforehand to read; by default all. Each
            verdict errs in its own 5 %, so of many some are wrong.
        log_evidence: of posteriors by name, log p(x) under their models as `estimate_log_evidence`
            gives it, for the table that holds several models on one x against each other; exact
            posteriors and those of weighed samples know theirs.
        checks: of a model that was fitted to a real net, `checks` of a `FittedLevel` or
            `FittedNet`. One that does not hold withholds every verdict, and so does a posterior
            whose claimed error is not within 1.3 times its squared error on h; no test then asks
            for a prior that is exactly right.
        provenance: what to keep with the run, JSON-able, beside what is kept of itself: the call
            and its seed, the model in words, versions, machine, time and process. Its `model` is
            the run's name, and the title of its page.

    Raises:
        TypeError: a metric is no function, or returns something else than figures.
        ValueError: a name, an inverse's output, a posterior's x or a metric does not fit; says
            which.
    """
    check_names(posteriors, inverses, random_inverses or {})
    own = read_metrics(metrics)
    estimates = run_inverses(model, obs, inverses)
    found = decide(
        model, obs, estimates, posteriors, seed=seed, interval_prob=interval_prob, planned=planned,
        checks=checks,
    )  # fmt: skip
    return finish(
        found, random_inverses=random_inverses, metrics=own, seed=seed, provenance=provenance,
        log_evidence=log_evidence, checks=checks,
    )  # fmt: skip


def finish(
    decision: Decision,
    *,
    random_inverses: Mapping[str, RandomInverse] | None,
    metrics: Mapping[str, MetricFamily],
    seed: int,
    provenance: Mapping[str, Any] | None,
    log_evidence: Mapping[str, Estimate] | None = None,
    checks: Sequence[Check] | None = None,
) -> Comparison:
    """Adds to verdicts all that describes them: other metrics, times, the curve, provenance.

    See `compare` for the arguments; metrics are what `read_metrics` made of them.
    """
    model, obs, cases = decision.model, decision.obs, decision.cases
    groups = _record(decision)
    samples = None
    if random_inverses:
        sampled = obs[:MOST_SAMPLED]
        samples = sample_inverses(seed, model, sampled, random_inverses)
        groups["random_inverses"] = summarize_samples(samples)
    measured, arrays = _describe(decision, samples, metrics)
    groups |= arrays
    posteriors = {name: case.posterior for name, case in cases.items()}
    costs = tabulate_costs(decision.estimates, posteriors)
    agreements = tabulate_agreements(decision.agreements, posteriors)
    table = tabulate(measured, agreements, costs)
    groups["table"] = xr.Dataset.from_dataframe(table.rename_axis("row"))
    groups["glossary"] = explain(set(table["metric"]), metrics)
    priors = tabulate_priors(stream(seed, "priors"), cases, log_evidence or {})
    if priors is not None:
        groups["priors"] = priors
    curve = noise_curve(stream(seed, "curve"), model)
    if curve is not None:
        groups["curve"] = curve
    if checks is not None:
        table = pd.DataFrame(list(checks), columns=list(Check._fields))
        groups["checks"] = xr.Dataset.from_dataframe(table.rename_axis("row"))
        groups["checks"].attrs.update(decision.starts or {})
    tree = xr.DataTree.from_dict(groups)
    tree["posteriors"] = xr.DataTree(
        children={name: posterior.tree.copy() for name, posterior in posteriors.items()}
    )
    known = _provenance(decision, random_inverses or {}, seed, provenance or {})
    tree.attrs = {key: json.dumps(value) for key, value in known.items()}
    return Comparison(tree, Models(model, {name: case.model for name, case in cases.items()}))


def _provenance(
    decision: Decision, random_inverses: Collection[str], seed: int, given: Mapping[str, Any]
) -> dict[str, Any]:
    """What was given, what `probrev.runs.verification` needs, and of a call from Python the rest.

    That is `call`, with the names of what was compared, `process`, the words that started Python,
    `model_in_words`, and `surroundings`. `prior_in_words` is kept of every call.
    """
    prior = getattr(decision.model, "prior", None)
    kept: dict[str, Any] = {"comparison_seed": seed}
    if prior is not None:
        kept["prior_in_words"] = _in_words(prior, describe_prior)
    asked: dict[str, Any] = {}
    if "command" not in given:
        inverses = [str(name) for name in decision.estimates.h["inverse"].to_numpy()]
        called = [f"inverses: {', '.join(inverses)}", f"posteriors: {', '.join(decision.cases)}"]
        if random_inverses:
            called.append(f"random inverses: {', '.join(random_inverses)}")
        asked = {
            "call": f"probrev.compare of {'; '.join(called)}",
            "process": shlex.join(sys.orig_argv),
            "model_in_words": _in_words(decision.model),
            **surroundings(),
        }
    return {**asked, **given, **kept}


def _in_words(value: Any, write: Callable[[Any, int], str] = summarize) -> str:
    """A model or prior in a line; that of a class which cannot be written out is its name."""
    try:
        return write(value, LONGEST_WORDS)
    except Exception:
        return type(value).__name__


def _record(decision: Decision) -> dict[str, xr.Dataset]:
    """The groups that hold what went in, and the verdicts."""
    obs, (h, seconds) = decision.obs, decision.estimates
    verdicts = pd.DataFrame(decision.verdicts)
    verdicts["word"] = verdicts["word"].map(str)
    groups = {
        "data": xr.Dataset(
            {"x": (("obs", "visible"), np.asarray(obs.x))}, attrs={"origin": obs.origin.value}
        ),
        "inverses": xr.Dataset({"h": h, "seconds_per_obs": ("inverse", seconds)}),
        "verdicts": xr.Dataset.from_dataframe(verdicts.rename_axis("row")),
    }
    if decision.agreements:
        outcomes = tabulate_outcomes(decision.agreements)
        groups["agreements"] = xr.Dataset.from_dataframe(outcomes.rename_axis("row"))
    if obs.h is not None:
        groups["truth"] = xr.Dataset({"h": (("obs", "hidden"), np.asarray(obs.h))})
    return groups


def _describe(
    decision: Decision, samples: xr.DataArray | None, metrics: Mapping[str, MetricFamily]
) -> tuple[dict[str, Measured], dict[str, xr.Dataset]]:
    """All that is measured, by posterior, and the groups of its arrays.

    Those of a user's metric have a group of their own, where they need not fit any others.
    """
    measured, groups = {}, {}
    for name, case in decision.cases.items():
        whole = _with_samples(case, samples)
        found = decision.measured[name] | measure(whole, DESCRIBING)
        attrs = {"origin": case.origin.value, "doubt": json.dumps(decision.doubts[name])}
        groups[f"metrics/{name}"] = xr.Dataset(found.arrays, attrs=attrs)
        for metric, own in measure_own(whole, metrics).items():
            groups[f"own_metrics/{name}/{metric}"] = xr.Dataset(own.arrays)
            found |= Measured(rows=own.rows)
        measured[name] = found
    return measured, groups


def _with_samples(case: Case, samples: xr.DataArray | None) -> Case:
    """A case with the samples of random inverses on those of its observations that have any."""
    if samples is None:
        return case
    common = np.intersect1d(case.posterior.obs, samples["obs"])
    return replace(case, samples=samples.sel(obs=common) if common.size else None)
