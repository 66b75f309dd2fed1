"""Exact posteriors: one entry point, and the method that fits the model."""

import jax

from probrev.inference.enumeration import check_count, count_states, enumerate_posterior
from probrev.inference.exact_result import NUM_CHAINS, make_groups
from probrev.model import Model, Observations, check_pytree
from probrev.posterior import Posterior, make_tree
from probrev.progress import Progress
from probrev.timing import stopwatch

__all__ = ["count_states", "exact"]


def exact(
    model: Model,
    obs: Observations,
    *,
    num_draws: int = 4000,
    num_top: int = 100,
    draw_seed: int = 0,
    progress: Progress | None = None,
) -> Posterior:
    """p(h | x) by enumerating every state of a finite prior.

    Moments, inclusion probabilities and evidence are exact to rounding. iid draws from the exact
    posterior come beside them, so that every ArviZ function works. States are streamed in blocks:
    memory does not grow with their number.

    Args:
        model: any Model with `states()`.
        obs: observations.
        num_draws: iid draws per observation, a multiple of 4 (they are laid out as 4 chains).
        num_top: how many of the heaviest states to keep.
        draw_seed: seed of the draws; nothing else here is random.
        progress: where to report progress.

    Raises:
        ValueError: float64 is off, x does not fit the model, the states are too many or not
            finite, or some x has probability zero under the model.
    """
    if not jax.config.jax_enable_x64:
        raise ValueError("exact needs float64: call numpyro.enable_x64() first")
    if num_draws % NUM_CHAINS:
        raise ValueError(f"num_draws must be a multiple of {NUM_CHAINS}; got {num_draws}")
    check_pytree(model)
    model.check(obs)
    count = check_count(model.states())
    with stopwatch() as timing:
        result = enumerate_posterior(
            model,
            obs.x,
            num_draws=num_draws,
            num_top=num_top,
            draw_seed=draw_seed,
            progress=progress,
        )
    settings = {"num_draws": num_draws, "draw_seed": draw_seed, "num_states": count}
    reason = f"all {count:,} states enumerated"
    tree = make_tree("exact", make_groups(result), obs.x, "ok", reason, settings, timing)
    return Posterior(tree, model)
