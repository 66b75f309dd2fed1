"""Priors under which units are independent spikes and slabs given auxiliary variables.

Correlated, hierarchical and group-sparse priors are of this kind: what ties the units together is a
factor, a rate, a scale or the state of a group, u, and given u each unit is a spike and a slab of
its own. Gibbs sampling needs no more than that and a way to renew u given h.
"""

import abc
from collections.abc import Mapping
from typing import Protocol

from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.model.priors import SparsePrior, sample_prior_sites
from probrev.plumbing.refusal import Refusal

# Values of the auxiliary variables, by the names of their sites.
Auxiliary = Mapping[str, Array]


class ConditionalPrior(abc.ABC):
    """A prior whose units are independent spikes and slabs given auxiliary variables u.

    p(h) = integral of p(u) prod_i p(h_i | u) over u, one u for each observation. A subclass is a
    JAX pytree (`probrev.pytree`) and brings its program and two functions:

    - `__call__()`: the NumPyro program; it draws u as sites, and returns h (n_hidden,);
    - `given(u)`: the law of h given u;
    - `renew(key, u, h)`: u anew given h.

    Attributes:
        n_hidden: number of units.
        auxiliary: names of the sites of the program that are u.
    """

    n_hidden: int
    auxiliary: tuple[str, ...]

    @abc.abstractmethod
    def __call__(self) -> Array:
        """The prior as a NumPyro program: draws u and h, returns h."""

    @abc.abstractmethod
    def given(self, u: Auxiliary) -> SparsePrior:
        """The spike and slab of each unit given u, the values of one observation."""

    @abc.abstractmethod
    def renew(self, key: PRNGKeyArray, u: Auxiliary, h: Float[Array, " hidden"]) -> Auxiliary:
        """A draw from p(u | h), or from a Markov kernel that leaves p(u | h) alone, from u."""

    @property
    def marginal(self) -> SparsePrior | None:
        """Units by themselves, where each is a spike and slab of a known form; None by default."""
        return None

    # Where h = max(v, 0) and v is jointly normal, a unit can be drawn given all others' v.

    @property
    def coupling(self) -> "Coupling | None":
        """The normal law of which h is the positive part; None by default, where there is none."""
        return None

    # Discrete variables that decide over several units are not renewed well given h: a group that
    # is silent stays so. Where these three are given, they are changed jointly with h.

    @property
    def num_switches(self) -> int:
        """How many discrete variables can be changed jointly with h; 0 by default."""
        return 0

    def propose(self, key: PRNGKeyArray, u: Auxiliary, switch: Int[Array, ""]) -> Auxiliary:
        """Another u, one discrete variable changed: as likely from u as u is from it.

        Args:
            key: random key.
            u: where from.
            switch: which variable, in [0, num_switches).
        """
        raise AttributeError

    # A scale and the units that it scales hold each other fast: they are changed together.

    @property
    def scales(self) -> tuple[tuple[str, float], ...]:
        """Positive single numbers, and the power of each that active units go with; none here."""
        return ()

    def log_joint(self, u: Auxiliary, h: Float[Array, " hidden"]) -> Float[Array, ""]:
        """Log p(u) + log p(h | u), up to a constant."""
        return self.log_prob_auxiliary(u) + self.given(u).log_prob(h)

    def auxiliary_values(self) -> Auxiliary:
        """Every value of u, by name, (value, ...).

        Raises:
            ValueError: they are not finitely many.
        """
        raise Refusal(
            f"{type(self).__name__} gives its units continuous variables, which cannot be "
            "enumerated: use gibbs"
        )

    def log_prob_auxiliary(self, u: Auxiliary) -> Float[Array, ""]:
        """Log p(u), up to a constant."""
        raise AttributeError


class Coupling(Protocol):
    """v ~ N(mean, inverse of precision), h = max(v, 0), and how u goes with v."""

    @property
    def mean(self) -> Float[Array, " hidden"]:
        """Of v."""
        ...

    @property
    def precision(self) -> Float[Array, "hidden hidden"]:
        """Inverse of the covariance of v."""
        ...

    def before(self, key: PRNGKeyArray, u: Auxiliary, h: Float[Array, " hidden"]) -> Array:
        """A draw of v given u and h, (n_hidden,)."""
        ...

    def behind(self, key: PRNGKeyArray, v: Float[Array, " hidden"]) -> Auxiliary:
        """A draw of u given v."""
        ...


class Unconditional(ConditionalPrior):
    """A spike and slab as it is: given nothing.

    Args:
        prior: the spike and slab.
    """

    auxiliary = ()

    def __init__(self, prior: SparsePrior):
        self.prior, self.n_hidden = prior, prior.n_hidden

    def __call__(self) -> Array:
        """The prior's program."""
        return self.prior()

    def given(self, u: Auxiliary) -> SparsePrior:
        """The prior."""
        del u
        return self.prior

    def renew(self, key: PRNGKeyArray, u: Auxiliary, h: Float[Array, " hidden"]) -> Auxiliary:
        """Nothing."""
        del key, h
        return u


def sample_jointly(
    key: PRNGKeyArray, prior: ConditionalPrior, num_samples: int
) -> tuple[Float[Array, "num hidden"], dict[str, Array]]:
    """Draws h and u from a prior by running its program.

    Raises:
        ValueError: a site that it names as auxiliary is none of its program's.
    """
    h, sites = sample_prior_sites(key, prior, num_samples)
    missing = [name for name in prior.auxiliary if name not in sites]
    if missing:
        raise Refusal(
            f"{type(prior).__name__} says that {missing[0]!r} is auxiliary, but its program has no "
            f"site of that name; its sites are {', '.join(sites)}"
        )
    return h, {name: sites[name] for name in prior.auxiliary}
