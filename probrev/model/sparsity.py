"""How often a prior meets the paper's conditions on the hidden vector."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from probrev.model.priors import Prior, sample_prior
from probrev.plumbing import door
from probrev.plumbing.readable import readable
from probrev.plumbing.refusal import Refusal


@readable
class SparsityConditions(NamedTuple):
    """How often a prior meets the paper's two conditions on D_h, estimated from draws.

    Attributes:
        sparse_prob: estimate of P(||h||_0 <= k).
        flat_prob: estimate of P(||h||_inf <= beta ||h||_2).
        both_prob: estimate of the probability that both hold.
        std_error: Monte Carlo standard error of `both_prob`.
    """

    sparse_prob: float
    flat_prob: float
    both_prob: float
    std_error: float


@door.guard(
    key=door.random_key,
    prior=door.function,
    n_active=door.count(),
    constant=door.positive,
    num_samples=door.count(),
)
def sparsity_conditions(
    key: PRNGKeyArray,
    prior: Prior,
    n_active: int,
    *,
    constant: float = 1.5,
    num_samples: int = 10_000,
) -> SparsityConditions:
    """Estimates how often the paper's two conditions on D_h hold under a prior.

    The conditions: ||h||_0 <= k, and ||h||_inf <= beta ||h||_2 with beta = C sqrt(log k / k). The
    paper leaves C free and asks that both hold with probability 1 - negl(n).

    Args:
        key: random key.
        prior: any prior.
        n_active: k, at least 2 (beta is 0 at k = 1).
        constant: C of beta.
        num_samples: number of draws.

    Raises:
        ValueError: n_active below 2.

    Source: Arora, Liang and Ma 2015 (arXiv:1511.05653), section 2, assumptions on D_h.
    """
    if n_active < 2:
        raise Refusal(f"n_active must be at least 2, since beta = 0 at k = 1; got {n_active}")
    h = sample_prior(key, prior, num_samples)
    beta = constant * np.sqrt(np.log(n_active) / n_active)
    sparse = (h > 0).sum(-1) <= n_active
    flat = h.max(-1) <= beta * jnp.linalg.norm(h, axis=-1)
    both = float((sparse & flat).mean())
    std_error = float(np.sqrt(both * (1 - both) / num_samples))
    return SparsityConditions(float(sparse.mean()), float(flat.mean()), both, std_error)
