"""Exact posteriors under priors whose units are given discrete variables: one for each value."""

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from probrev.inference.exact.exact_result import ExactOptions, ExactResult
from probrev.inference.exact.plan import ExactPlan
from probrev.model.layered_model import LayeredModel
from probrev.model.prior_density import AuxiliaryValues, auxiliary_values, sample_auxiliary
from probrev.model.prior_program import conditional_prior
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import generator, stream

# Integrals over supports, all values together: minutes for each observation.
MAX_SUPPORTS = 2**17


def with_auxiliary(plan: ExactPlan) -> ExactPlan:
    """A plan whose result also has draws of what the units are given, given h."""

    def solve(
        model: LayeredModel, x: Float[Array, "obs visible"], options: ExactOptions
    ) -> ExactResult:
        result = plan.solve(model, x, options)
        return _draw_auxiliary(result, model, options)

    return plan._replace(solve=solve)


def plan_each_value(model: LayeredModel, plan_of: Callable[[LayeredModel], ExactPlan]) -> ExactPlan:
    """A plan for each value of what the units are given, and their mixture.

    Args:
        model: one layer under such a prior, with a continuous slab.
        plan_of: the exact method for the model under the prior given one value.

    Raises:
        ValueError: no such method, or values times supports are too many.
    """
    values = auxiliary_values(model.prior)
    plan = plan_of(_given(model, values, 0))
    count = len(values.log_prob)
    if plan.size * count > MAX_SUPPORTS:
        raise Refusal(
            f"exact would integrate over {plan.size:,} supports for each of {count:,} values of "
            f"what the units are given, and stops at {MAX_SUPPORTS:,} in all: use gibbs"
        )
    reason = f"for each of {count:,} values of what the units are given: {plan.reason}"

    def solve(
        model: LayeredModel, x: Float[Array, "obs visible"], options: ExactOptions
    ) -> ExactResult:
        possible = np.flatnonzero(np.isfinite(np.asarray(values.log_prob)))
        results = [plan.solve(_given(model, values, at), x, options) for at in map(int, possible)]
        mixed = _mix(np.asarray(values.log_prob)[possible], results, options)
        return _draw_auxiliary(mixed, model, options)

    return plan._replace(size=plan.size * count, reason=reason, solve=solve)


def _given(model: LayeredModel, values: AuxiliaryValues, at: int) -> LayeredModel:
    u = jax.tree.map(lambda leaf: leaf[at], values.u)
    return replace(model, prior=conditional_prior(model.prior).given(u))


def _draw_auxiliary(result: ExactResult, model: LayeredModel, options: ExactOptions) -> ExactResult:
    draws = jnp.asarray(result.draws)
    sites = sample_auxiliary(stream(options.seed, "exact/auxiliary"), model.prior, draws)
    sites = model.complete_sites(sites, draws)
    return result._replace(sites={name: np.asarray(value) for name, value in sites.items()})


def _mix(
    log_prior: Float[np.ndarray, " value"], results: list[ExactResult], options: ExactOptions
) -> ExactResult:
    """The mixture of posteriors, each by its prior probability times its evidence."""
    log_joint = log_prior[:, None] + np.stack([one.log_evidence for one in results])
    log_evidence = np.logaddexp.reduce(log_joint)
    weight = np.exp(log_joint - log_evidence)  # (value, obs)
    average = lambda each: np.einsum("uo,uoi->oi", weight, np.stack(list(each)))  # noqa: E731
    mean = average(one.mean for one in results)
    square = average(one.var + one.mean**2 for one in results)
    # Of evidence L found and at most U more, a share U / (L + U) is left out.
    left_out = np.stack([one.unvisited_mass for one in results])
    more = (weight * left_out / np.maximum(1.0 - left_out, 1e-300)).sum(0)
    top_states, top_log_prob = _merge_tops(weight, results, options.num_top)
    return ExactResult(
        mean=mean,
        var=square - mean**2,
        inclusion_prob=average(one.inclusion_prob for one in results),
        log_evidence=log_evidence,
        top_states=top_states,
        top_log_prob=top_log_prob,
        unvisited_mass=more / (1.0 + more),
        integration_error=(weight * np.stack([one.integration_error for one in results])).sum(0),
        draws=_mix_draws(weight, results, options.seed),
    )


def _mix_draws(
    weight: Float[np.ndarray, "value obs"], results: list[ExactResult], seed: int
) -> Float[np.ndarray, "draw obs hidden"]:
    """Of each observation as many of each value's draws as chance gives it, in random order."""
    rng, draws = generator(seed, "exact/values"), np.stack([one.draws for one in results])
    chosen = np.empty_like(draws[0])
    for obs in range(draws.shape[2]):
        value = rng.choice(len(weight), draws.shape[1], p=weight[:, obs] / weight[:, obs].sum())
        chosen[:, obs] = draws[value, np.arange(draws.shape[1]), obs]
    return chosen


def _merge_tops(
    weight: Float[np.ndarray, "value obs"], results: list[ExactResult], num_top: int
) -> tuple[np.ndarray, np.ndarray]:
    """The heaviest supports of all, those of one support put together."""
    states = np.stack([one.top_states for one in results])  # (value, state, obs, hidden)
    with np.errstate(divide="ignore"):
        log_prob = np.log(weight)[:, :, None] + np.stack([one.top_log_prob for one in results])
    merged = []
    for obs in range(states.shape[2]):
        supports: dict[bytes, tuple[float, np.ndarray]] = {}
        flat, prob = states[:, :, obs].reshape(-1, states.shape[-1]), np.exp(log_prob[:, obs])
        for mean, mass in zip(flat, prob.reshape(-1), strict=True):
            key = (mean > 0).tobytes()
            total, sums = supports.get(key, (0.0, np.zeros_like(mean)))
            supports[key] = total + mass, sums + mass * mean
        heaviest = sorted(supports.values(), key=lambda pair: -pair[0])[:num_top]
        merged.append(([s / max(p, 1e-300) for p, s in heaviest], [p for p, _ in heaviest]))
    size = max(len(probs) for _, probs in merged)
    tops = np.zeros((size, len(merged), states.shape[-1]))
    log_tops = np.full((len(merged), size), -np.inf)
    for obs, (means, probs) in enumerate(merged):
        tops[: len(means), obs] = means
        with np.errstate(divide="ignore"):
            log_tops[obs, : len(probs)] = np.log(probs)
    return tops, log_tops
