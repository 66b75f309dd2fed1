"""Which exact method serves a LayeredModel."""

from probrev.inference.exact.given_values import plan_each_value, with_auxiliary
from probrev.inference.exact.integration.integration import check_continuous, integrate_supports
from probrev.inference.exact.noiseless.noiseless import (
    check_noiseless,
    check_supports,
    solve_noiseless,
)
from probrev.inference.exact.noiseless.noiseless_table import enumerate_noiseless
from probrev.inference.exact.plan import (
    SECONDS_PER_STATE,
    ExactPlan,
    exact_plan_of,
    plan_enumeration,
)
from probrev.inference.exact.two_layer import check_two_layer, integrate_two_layers
from probrev.model.layered_model import LayeredModel
from probrev.model.prior_density import has_finite_slab
from probrev.model.prior_program import is_given
from probrev.plumbing.refusal import Refusal

# Of an integral over a support, of one between two layers, and of a support that is solved, for
# each observation: rounded up from runs on 2 CPU cores.
SECONDS_PER_SUPPORT = 2e-3
SECONDS_PER_INTEGRAL = 1e-4
SECONDS_PER_SOLUTION = 1e-5


@exact_plan_of.register
def plan_layered(model: LayeredModel) -> ExactPlan:
    """The exact method for a LayeredModel."""
    if is_given(model.prior):
        return _plan_given(model)
    return _plan(model)


def _plan_given(model: LayeredModel) -> ExactPlan:
    """The same where the prior's units are given discrete variables."""
    if len(model.layers) == 1 and model.layers[0].noise_std == 0:
        raise Refusal(
            "exact without noise needs a prior whose units are given nothing: SpikeAndSlab or "
            "KSparse; a small noise_std, or gibbs with one, takes others"
        )
    if has_finite_slab(model.prior):
        return with_auxiliary(_plan(model))
    if len(model.layers) > 1:
        raise Refusal(
            "exact of two layers needs a finite slab, whose states it can enumerate: use gibbs"
        )
    return plan_each_value(model, _plan)


def _plan(model: LayeredModel) -> ExactPlan:
    """The exact method, what units are given summed out."""
    if len(model.layers) == 2:
        count = check_two_layer(model)
        reason = f"all {count:,} integrals over the layer between computed"
        return ExactPlan(
            "two_layer", "num_integrals", count, reason, integrate_two_layers, SECONDS_PER_INTEGRAL
        )
    is_continuous = model.has_sparse_prior and not model.sparse_prior.has_states
    is_noiseless = len(model.layers) == 1 and model.layers[0].noise_std == 0
    if is_noiseless:
        check_noiseless(model)
    if len(model.layers) > 1 or not is_continuous:
        plan = plan_enumeration(model.states(), SECONDS_PER_STATE)
        return _without_noise(plan) if is_noiseless else plan
    if is_noiseless:
        count = check_supports(model)
        reason = f"active rows solved, by least squares or on each of at most {count:,} supports"
        return ExactPlan(
            "noiseless", "max_supports", count, reason, solve_noiseless, SECONDS_PER_SOLUTION
        )
    count = check_continuous(model)
    reason = "supports integrated in order of promise; see unvisited_mass, integration_error"
    return ExactPlan(
        "integration", "num_supports", count, reason, integrate_supports, SECONDS_PER_SUPPORT
    )


def _without_noise(plan: ExactPlan) -> ExactPlan:
    return plan._replace(
        method="noiseless_enumeration",
        reason=f"all {plan.size:,} states enumerated, those kept that solve the active rows",
        solve=enumerate_noiseless,
    )
