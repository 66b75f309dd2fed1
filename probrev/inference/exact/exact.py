"""Exact posteriors: one entry point, by the plan that the model offers."""

import jax

# They register the plans of their models.
import probrev.inference.exact.enumeration.collapsed_enumeration
import probrev.inference.exact.layered_plan  # noqa: F401
from probrev.inference.exact.exact_result import NUM_CHAINS, ExactOptions, judge, make_groups
from probrev.inference.exact.plan import exact_plan_of
from probrev.model import door as model_door
from probrev.model.observations import Observations
from probrev.model.protocol import Model, check_obs, check_pytree
from probrev.model.sites import prior_program, site_dims
from probrev.plumbing import door
from probrev.plumbing.progress import Progress
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.timing import stopwatch
from probrev.posterior.posterior import Posterior, make_tree


@door.guard(
    model=model_door.model,
    obs=model_door.observations,
    num_draws=door.count(),
    num_top=door.count(),
    seed=door.seed,
    progress=door.optional(door.function),
)
def exact(
    model: Model,
    obs: Observations,
    *,
    num_draws: int = 4000,
    num_top: int = 100,
    seed: int = 0,
    progress: Progress | None = None,
) -> Posterior:
    """p(h | x), exact to rounding or to an error that is reported.

    - A Boltzmann machine: its odd layers enumerated, its even ones summed out.
    - Any other model with a finite list of states, noise_std > 0: complete enumeration.
    - One layer, a half-normal, exponential or truncated normal slab and few active units: integrals
      over the supports that matter, the others bounded.
    - Two layers at tiny size, finite top prior: the layer between is integrated out.
    - One ReLU layer with noise_std = 0: the points where the equations of the active rows hold,
      by enumeration (finite slab), least squares, or a search over few supports.
    - A model with a method `exact_plan`: as that says, see `ExactPlan`.

    The group `exact` holds moments, inclusion probabilities, log evidence, the heaviest states and
    two numbers that must not be added: `unvisited_mass`, a proved bound on the posterior mass that
    was left out, and `integration_error`, an estimate of the integrals' relative error (two rules
    compared). Where either misses its target (5e-4, 1e-4) for some observation, the status is
    "inaccurate". iid draws come beside them, so that every ArviZ function works.

    Args:
        model: any Model with `states()` and `log_joint`, or one as above.
        obs: observations.
        num_draws: iid draws per observation, a multiple of 4 (they are laid out as 4 chains).
        num_top: how many of the heaviest states to keep.
        seed: seed of the draws; nothing else here is random.
        progress: where to report progress.

    Raises:
        ValueError: float64 is off, x does not fit the model, no exact method serves the model
            (says why, and what would), or some x has probability zero under it.
    """
    if not jax.config.jax_enable_x64:
        raise Refusal("exact needs float64: call numpyro.enable_x64() first")
    if num_draws % NUM_CHAINS:
        raise Refusal(f"num_draws must be a multiple of {NUM_CHAINS}; got {num_draws}")
    check_pytree(model)
    check_obs(model, obs)
    plan = exact_plan_of(model)
    options = ExactOptions(num_draws, num_top, seed, progress)
    with stopwatch() as timing:
        result = plan.solve(model, obs.x, options)
    settings = {"num_draws": num_draws, "num_top": num_top, "seed": seed}
    settings |= {"exact_method": plan.method, plan.unit: plan.size}
    status, reason = judge(result, plan.reason)
    dims = site_dims(prior_program(model)) if result.sites else {}
    tree = make_tree("exact", make_groups(result, dims), obs.x, status, reason, settings, timing)
    return Posterior(tree, model)
