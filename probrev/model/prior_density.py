"""What is known of a prior's law of h alone: its density, its states, its auxiliary values."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from probrev.model.conditional_prior import Auxiliary, ConditionalPrior, sample_jointly
from probrev.model.prior_program import conditional_prior
from probrev.model.priors import Prior, SparsePrior
from probrev.model.slabs import FiniteSlab, Slab
from probrev.model.states import FiniteStates
from probrev.plumbing.refusal import Refusal


class AuxiliaryValues(NamedTuple):
    """Every value of a prior's auxiliary variables.

    Attributes:
        u: by name, (value, ...).
        log_prob: log p(u), (value,).
    """

    u: Auxiliary
    log_prob: Float[Array, " value"]


def auxiliary_values(prior: Prior) -> AuxiliaryValues:
    """Every value of what a prior's units are given.

    Raises:
        ValueError: the prior is given nothing, or has not finitely many.
    """
    conditional = conditional_prior(prior)
    u = conditional.auxiliary_values()
    log_prob = jax.vmap(conditional.log_prob_auxiliary)(u)
    return AuxiliaryValues(u, log_prob - jax.nn.logsumexp(log_prob))


def log_prior_prob(prior: Prior, h: Float[Array, "*batch hidden"]) -> Float[Array, "*batch"]:
    """Log density of h under a prior, a mass at 0 for each unit.

    Raises:
        ValueError: it has none that is known, or, as a rectified Gaussian, one that costs an
            integral for each h.
    """
    if isinstance(prior, SparsePrior):
        return prior.log_prob(h)
    conditional, values = _with_density(prior), auxiliary_values(prior)

    def add(total: Array, value: tuple[Auxiliary, Array]) -> tuple[Array, None]:
        u, log_prob = value
        return jnp.logaddexp(total, log_prob + conditional.given(u).log_prob(h)), None

    start = jnp.full(h.shape[:-1], -jnp.inf)
    return jax.lax.scan(add, start, (values.u, values.log_prob))[0]


def has_finite_slab(prior: Prior) -> bool:
    """Whether active units have finitely many values, whatever the units are given."""
    conditional = conditional_prior(prior)

    def slab() -> Slab:
        _, u = sample_jointly(jax.random.key(0), conditional, 1)
        return conditional.given(jax.tree.map(lambda leaf: leaf[0], u)).slab

    return isinstance(jax.eval_shape(slab), FiniteSlab)


def prior_states(prior: Prior) -> FiniteStates:
    """Every h of positive prior probability.

    Raises:
        ValueError: the slab is continuous, or differs with what the units are given.
    """
    if isinstance(prior, SparsePrior):
        return prior.states()
    conditional, values = _with_density(prior), auxiliary_values(prior)
    each = [
        conditional.given(jax.tree.map(lambda leaf, at=at: leaf[at], values.u)).states()
        for at in range(len(values.log_prob))
    ]
    if not all(np.array_equal(one.values, each[0].values) for one in each):
        raise Refusal(
            "exact enumerates the states of finite slabs that have the same values whatever the "
            "units are given; here they differ: use gibbs"
        )
    fewest, most = min(one.min_active for one in each), max(one.max_active for one in each)
    return FiniteStates(each[0].values, fewest, most)


def sample_auxiliary(
    key: PRNGKeyArray, prior: Prior, h: Float[Array, "*batch hidden"]
) -> dict[str, Array]:
    """Draws of what a prior's units are given, given h, where it has finitely many values."""
    conditional, values = conditional_prior(prior), auxiliary_values(prior)
    rows = h.reshape(-1, h.shape[-1])
    given = lambda u: conditional.given(u).log_prob(rows)  # noqa: E731
    log_prob = values.log_prob[:, None] + jax.lax.map(given, values.u)
    index = jax.random.categorical(key, log_prob, axis=0)
    unfold = lambda leaf: leaf[index].reshape(*h.shape[:-1], *leaf.shape[1:])  # noqa: E731
    return {name: unfold(leaf) for name, leaf in values.u.items()}


def _with_density(prior: Prior) -> ConditionalPrior:
    """The prior given something.

    Raises:
        ValueError: it is a plain function, of which nothing more is known.
    """
    try:
        return conditional_prior(prior)
    except ValueError as error:
        name = getattr(prior, "__name__", type(prior).__name__)
        raise Refusal(
            f"the prior {name} is a NumPyro function, so its density at a given h is unknown: "
            f"use hmc, which runs the program itself, or write it as SpikeAndSlab or KSparse, or "
            f"as one given what is drawn before it ({error})"
        ) from error
