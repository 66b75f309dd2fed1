"""Which inference methods suit a model, where the user names none."""

from probrev.inference.exact import count_states
from probrev.model import LayeredModel, Model
from probrev.priors import SparsePrior

# Beyond this an enumeration takes minutes.
MAX_STATES_BY_DEFAULT = 2**20


def default_posteriors(model: Model) -> tuple[str, ...]:
    """Names of the methods to use: the most exact one that is quick, and a sampler beside it.

    Args:
        model: any Model.

    Returns:
        "exact" where the states are few, and "gibbs" under a spike and slab, "hmc" under a prior
        that is a NumPyro function.

    Raises:
        ValueError: no method here serves the model; says why.
    """
    if not isinstance(model, LayeredModel):
        return ("exact",)
    if len(model.layers) > 1:
        raise ValueError(
            f"no inference method here reaches through {len(model.layers)} layers: "
            "simulate, generate and FeedforwardNet work at any depth, posteriors at one layer"
        )
    if model.layers[0].noise_std == 0:
        raise ValueError("noise_std = 0 gives x no density, so there is no posterior to compute")
    if not isinstance(model.prior, SparsePrior):
        return ("hmc",)
    try:
        few = count_states(model.states()) <= MAX_STATES_BY_DEFAULT
    except ValueError:
        few = False
    return ("exact", "gibbs") if few else ("gibbs",)
