"""Chains from the truth beside blind ones: both should end in the same posterior."""

from collections.abc import Callable
from functools import partial
from typing import Any

from jaxtyping import PRNGKeyArray

from probrev.inference.choice import infer
from probrev.model.observations import Observations
from probrev.model.protocol import Model
from probrev.plumbing.refusal import Refusal, TypeRefusal
from probrev.posterior.agreement import JOINT_OBS, measure_agreement
from probrev.posterior.posterior import Posterior

# Methods whose chains can start at the h that made x.
STARTED = ("gibbs",)


def started_at_truth(
    method: str, **settings: Any
) -> Callable[[PRNGKeyArray, Any, Observations], Posterior] | None:
    """The method of that name with its chains started at the h that made x, where it can.

    Args:
        method: one of `methods.METHODS`, or another.
        **settings: further arguments of the method.
    """
    return partial(infer, method, start="truth", **settings) if method in STARTED else None


def compare_starts(
    key: PRNGKeyArray,
    model: Model,
    obs: Observations,
    blind: Posterior,
    from_truth: Callable[[PRNGKeyArray, Any, Observations], Posterior],
) -> dict[str, Any]:
    """Holds posteriors whose chains started at the h that made x against blind ones.

    Chains that all end in the wrong mode agree with one another, and diagnostics see nothing; those
    from the truth do not agree with them. `measure_agreement` tells the two apart.

    Args:
        key: of the chains.
        model: the model.
        obs: with the h, and sites, to start at; the first 32 are used.
        blind: posteriors of the same x.
        from_truth: the method that starts at `obs.h`.

    Returns:
        `starts`: "agrees", "disagrees" or "unchecked"; `starts_reason`, `starts_joint_p`,
        `starts_obs`: how many observations. Unchecked too where `from_truth` refuses the model.

    Raises:
        TypeError: `from_truth` returns no posterior.
    """
    some = obs[: min(obs.num_obs, JOINT_OBS)]
    try:
        posterior = from_truth(key, model, some)
    except Refusal as refusal:
        return _row("unchecked", str(refusal), float("nan"), some.num_obs)
    if not isinstance(posterior, Posterior):
        raise TypeRefusal(
            f"from_truth must return a probrev.Posterior; got {type(posterior).__name__}"
        )
    found = measure_agreement(blind, posterior)
    return _row(str(found.outcome), found.reason, float(found.joint_p), some.num_obs)


def _row(outcome: str, reason: str, joint_p: float, num_obs: int) -> dict[str, Any]:
    return {
        "starts": outcome,
        "starts_reason": reason,
        "starts_joint_p": joint_p,
        "starts_obs": num_obs,
    }
