"""A comparison with as many observations as its verdicts need, in a few planned looks."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from jaxtyping import PRNGKeyArray

from probrev.comparison.compare import finish
from probrev.comparison.comparison import Comparison
from probrev.comparison.decision import Decision, check_names, decide
from probrev.comparison.metrics.case import INTERVAL_PROB
from probrev.comparison.metrics.family import Metric, MetricFamily
from probrev.comparison.own_metrics import read_metrics
from probrev.inference.choice import infer
from probrev.inference.methods import METHODS
from probrev.inference.starts import compare_starts, started_at_truth
from probrev.inverses.estimates import Inverse, RandomInverse, run_inverses
from probrev.model import door as model_door
from probrev.model.observations import Observations
from probrev.model.protocol import Model, simulate
from probrev.nets.fitting.checks import Check
from probrev.plumbing import door
from probrev.plumbing.readable import readable
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import stream
from probrev.posterior.joined import join_posteriors
from probrev.posterior.posterior import Posterior

# Observations of every look where nothing else is asked for.
LOOKS = (32, 128, 512)
# Draws of each chain from the truth: enough to see where they end.
DRAWS_FROM_TRUTH = 1000
_IS_CHECK = door.instance_of(Check, "a probrev.Check")
# A key, a model and observations -> their posterior.
Inference = Callable[[PRNGKeyArray, Model, Observations], Posterior]


@readable
class Look(NamedTuple):
    """What is about to be done.

    Attributes:
        number: of the look, from 1.
        planned: observations of every look, as fixed beforehand.
        num_obs: observations of this look, those of the looks before included.
        seconds: about how long it will take, from the look before; NaN for the first.
    """

    number: int
    planned: tuple[int, ...]
    num_obs: int
    seconds: float


def _posteriors(name: str, value: Any) -> None:
    """Methods by name, or functions by names of one's own."""
    if isinstance(value, Mapping):
        return door.by_name(door.function)(name, value)
    return door.all_of(door.one_of(*METHODS))(name, value)


@door.guard(
    key=door.random_key,
    model=model_door.model,
    inverses=door.by_name(door.function),
    posteriors=_posteriors,
    looks=door.all_of(door.count(0)),
    observe=door.optional(door.function),
    random_inverses=door.optional(door.by_name(door.function)),
    seed=door.seed,
    provenance=door.optional(door.record),
    planned=door.optional(door.names),
    checks=door.optional(door.all_of(_IS_CHECK)),
    begin=door.optional(door.function),
)
def compare_until(
    key: PRNGKeyArray,
    model: Model,
    inverses: Mapping[str, Inverse],
    posteriors: Mapping[str, Inference] | Sequence[str],
    *,
    looks: Sequence[int] = LOOKS,
    observe: Callable[[PRNGKeyArray, int], Observations] | None = None,
    random_inverses: Mapping[str, RandomInverse] | None = None,
    metrics: Mapping[str, Metric | MetricFamily] | None = None,
    seed: int = 0,
    planned: Collection[str] | None = None,
    checks: Sequence[Check] | None = None,
    provenance: Mapping[str, Any] | None = None,
    begin: Callable[[Look], None] | None = None,
) -> Comparison:
    """Looks at more and more observations until every planned verdict is decided.

    The numbers of observations are fixed beforehand, and each of L looks has intervals of
    probability 1 - .05 / L, so that the word of whichever look comes last errs in no more than 5 %.
    A look keeps the observations and draws of the one before; inverses run once, on those of all
    looks. It is the last where no planned verdict is undecided, or where a posterior may not judge,
    which more observations would not mend. What was planned and taken is in the root attribute
    `looks`.

    Args:
        key: random key, of the observations and the posteriors.
        model: the model.
        inverses: by name; see `compare`.
        posteriors: names of methods, or functions (key, model, obs) -> Posterior by name, such as
            the command line's `partial(pr.gibbs, until_converged=True)`. The first is
            the judge, and covers every observation; the others check it on those of the first look.
        looks: observations of every look, increasing.
        observe: (key, num_obs) -> observations; by default the model simulates.
        random_inverses: by name; see `compare`.
        metrics: by name; see `compare`. They are measured after the last look.
        seed: see `compare`.
        planned: see `compare`.
        checks: see `compare`. With them the chains of Gibbs are held, on the first look, against
            chains that start at the h that made x; if these do not end in the same posterior it may
            not judge.
        provenance: see `compare`.
        begin: told of each look before it begins.

    Raises:
        TypeError: see `compare`.
        ValueError: looks that do not increase, or what `compare` and the methods refuse.
    """
    looks = tuple(looks)
    if not looks or any(more <= few for few, more in zip((0, *looks), looks, strict=False)):
        raise Refusal(f"looks must be positive and increase; got {looks}")
    if not isinstance(posteriors, Mapping):
        posteriors = {name: partial(infer, name) for name in posteriors}
    check_names(posteriors, inverses, random_inverses or {})
    own = read_metrics(metrics)
    key_obs = stream(key, "simulate")
    obs = simulate(model, key_obs, looks[-1]) if observe is None else observe(key_obs, looks[-1])
    model_door.observations("what observe returns", obs)
    if obs.num_obs < looks[-1]:
        raise Refusal(f"observe was asked for {looks[-1]} observations; it gave {obs.num_obs}")
    obs = obs[: looks[-1]]
    estimates = run_inverses(model, obs, inverses)
    judge, *others = posteriors
    batches: list[Posterior] = []
    found: dict[str, Posterior] = {}
    decision: Decision | None = None
    starts: dict[str, Any] | None = None
    taken, seconds, done = {}, float("nan"), 0
    for number, num_obs in enumerate(looks, start=1):
        if begin is not None:
            begin(Look(number, looks, num_obs, seconds))
        start = time.perf_counter()
        new = obs[done:num_obs]
        batches.append(posteriors[judge](stream(key, f"{judge}/{done}"), model, new))
        inferred = time.perf_counter()
        found[judge] = join_posteriors(batches, [0, *looks][:number])
        for name in others if number == 1 else ():
            found[name] = posteriors[name](stream(key, f"{name}/0"), model, new)
        if checks is not None and number == 1:
            starts = _starts(stream(key, f"{judge}/truth"), model, new, found[judge])
        decision = decide(
            model, obs[:num_obs], estimates, found, seed=seed, planned=planned,
            interval_prob=1 - (1 - INTERVAL_PROB) / len(looks), before=decision,
            checks=checks, starts=starts,
        )  # fmt: skip
        taken = {"planned": list(looks), "taken": number}
        if not decision.is_open:
            break
        following = looks[min(number, len(looks) - 1)]
        seconds = (inferred - start) / new.num_obs * (following - num_obs)
        seconds += (time.perf_counter() - inferred) / num_obs * following
        done = num_obs
    assert decision is not None
    return finish(
        decision, random_inverses=random_inverses, metrics=own, seed=seed, checks=checks,
        provenance={**(provenance or {}), "looks": taken},
    )  # fmt: skip


def _starts(
    key: PRNGKeyArray, model: Model, obs: Observations, posterior: Posterior
) -> dict[str, Any] | None:
    """What chains from the truth say; None where there is none, or no chains can start there."""
    from_truth = started_at_truth(posterior.method, num_samples=DRAWS_FROM_TRUTH)
    if from_truth is None or obs.h is None:
        return None
    return compare_starts(key, model, obs, posterior, from_truth)
