"""Sparse priors on the hidden vector: NumPyro programs that return h.

Any function that is a NumPyro program and returns a nonnegative h (n_hidden,) is a prior. The
classes here know more than their program: a list of states, or a spike and a slab, which is what
exact enumeration, Gibbs sampling and message passing need.
"""

# NumPyro's own distributions narrow the signatures of the base class in the same way.
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, override

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jax.typing import ArrayLike
from jaxtyping import Array, Float, PRNGKeyArray
from numpyro.distributions import constraints

from probrev.model.capped_categorical import CappedCategorical
from probrev.model.kinds import overridden
from probrev.model.slabs import FiniteSlab, LogQuadraticSlab, Slab, canonical_slab, check_slab
from probrev.model.states import FiniteStates
from probrev.model.tilted import Tilted, slab_moments, tilted
from probrev.plumbing import door
from probrev.plumbing.arrays import as_floats, check_real, own
from probrev.plumbing.pytree import check_registered, is_concrete, pytree
from probrev.plumbing.refusal import Refusal

Prior = Callable[[], ArrayLike]

# The parts of SparsePrior that follow from a spike, a slab and a bound on the number of active
# units: those of its density and of its states, those of its program, and marginals of both.
_DENSITY = ("log_prob", "log_support_normaliser", "states", "_support_law", "_slab_point")
_PROGRAM = (
    "__call__", "program", "_spike_logits", "_level_logits", "_condition", "_sample_levels",
)  # fmt: skip
_MARGINALS = ("marginal_inclusion_prob", "second_moment", "tilt")
# What says that a prior's units are independent given how many of them are active.
_DECLARATION = "independent_given_count"


class _Sparse(constraints.Constraint):
    """Nonnegative vectors that may hold zeros: no smooth map leads there."""

    event_dim = 1

    def __call__(self, x: ArrayLike) -> Array:
        return (jnp.asarray(x) >= 0).all(-1)

    def tree_flatten(self) -> tuple[tuple[()], tuple[tuple[()], dict]]:
        return (), ((), {})


@dist.biject_to.register(_Sparse)
def _no_smooth_map(constraint: _Sparse) -> None:
    """What a kernel that needs gradients asks for."""
    del constraint
    raise Refusal(
        "a spike and slab has a mass at 0, which kernels that follow gradients never meet: pr.hmc "
        "and pr.gibbs sample programs with one"
    )


class SparsePrior(dist.Distribution):
    """What `SpikeAndSlab` and `KSparse` share: independent units, conditioned on their number.

    It is a NumPyro distribution of a vector, for the end of a program that draws what it depends
    on, `numpyro.sample("h", prior)`, and by itself a program: `prior()` draws and returns h.

    A subclass may give `inclusion_logit` and `active_range` of its own: all else follows. One that
    overrides `log_prob` must override `__call__` too, and the reverse: they are one law. What such
    a law is only those two know, so methods that ask for spike and slab refuse it, unless the
    subclass says again that it is what its spike, slab and bound say.

    Attributes:
        independent_given_count: whether units are independent given how many of them are active. A
            class that overrides the law loses it, unless it says so itself.
    """

    independent_given_count: ClassVar[bool] = True
    n_hidden: int
    slab: dist.Distribution
    tilting_slab: Slab  # the slab in the form that `tilted` is quickest with

    @property
    def active_range(self) -> tuple[int, int]:
        """Fewest and most active units that the prior allows."""
        raise AttributeError

    @property
    def inclusion_logit(self) -> Float[Array, " hidden"]:
        """Log odds that a unit is active, before conditioning on the number of active units."""
        raise AttributeError

    @property
    def fixes_count(self) -> bool:
        """Whether the number of active units is fixed, so that no unit moves alone."""
        fewest, most = self.active_range
        return 0 < fewest == most

    @property
    def has_states(self) -> bool:
        """Whether its states can be listed: its slab is finite, or it lists them itself."""
        return isinstance(self.slab, FiniteSlab) or bool(overridden(self, ("states",), SparsePrior))

    @property
    def log_quadratic_slab(self) -> LogQuadraticSlab:
        """The slab as the exponential of a quadratic.

        Raises:
            ValueError: it is of another form.
        """
        if not isinstance(self.tilting_slab, LogQuadraticSlab):
            raise Refusal(
                f"a prior with slab {type(self.slab).__name__} has no finite list of states, and "
                "exact integrates over HalfNormal, Exponential and TruncatedNormal(low=0) slabs "
                "only: use gibbs, or a FiniteSlab"
            )
        return self.tilting_slab

    def __init_subclass__(cls, **kwargs: Any) -> None:
        # NumPyro would register it by its arguments; `pytree` does so by its fields.
        del kwargs

    @property
    def support(self) -> constraints.Constraint:
        """Vectors of nonnegative numbers."""
        return _Sparse()

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """(): it is the law of one vector."""
        return ()

    @property
    def event_shape(self) -> tuple[int, ...]:
        """(n_hidden,)."""
        return (self.n_hidden,)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The prior as a NumPyro program: samples and returns h.

        With arguments it is the call that NumPyro makes of a distribution.
        """
        return super().__call__(*args, **kwargs) if kwargs else self.program()

    def sample(self, key: PRNGKeyArray, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draws of h, (*sample_shape, n_hidden)."""
        draws = sample_prior(key, self, math.prod(sample_shape))
        return draws.reshape(*sample_shape, self.n_hidden)

    def program(self, prefix: str = "") -> Float[Array, " hidden"]:
        """The sites that h is made of, and h.

        Args:
            prefix: what their names begin with.
        """
        if isinstance(self.slab, FiniteSlab):
            level = self._sample_levels(prefix, "level", self._level_logits)
            values = jnp.broadcast_to(self.slab.values, (self.n_hidden, self.slab.values.shape[-1]))
            index = jnp.maximum(jnp.asarray(level) - 1, 0)[:, None]
            value = jnp.take_along_axis(values, index, axis=1)[:, 0]
        else:
            level = self._sample_levels(prefix, "active", self._spike_logits)
            with numpyro.plate(f"{prefix}hidden", self.n_hidden):
                value = numpyro.sample(f"{prefix}value", self.slab, infer=internal())
        return jnp.where(jnp.asarray(level) > 0, value, 0.0)

    def log_prob(self, h: Float[Array, "*batch hidden"]) -> Float[Array, "*batch"]:
        """Log density of h: a mass at 0 and the slab's density (or mass) elsewhere, per unit."""
        active = h > 0
        num_active = active.sum(-1)
        lowest, highest = self.active_range
        inside = jnp.where(active, h, _rows(self._slab_point, h))
        of_slab = self.slab.log_prob
        slab = _by_rows(of_slab, inside) if self.slab.batch_shape else of_slab(inside)
        log_on = jax.nn.log_sigmoid(self.inclusion_logit)
        log_off = jax.nn.log_sigmoid(-self.inclusion_logit)
        per_unit = jnp.where(active, _rows(log_on, h) + slab, _rows(log_off, h))
        allowed = (num_active >= lowest) & (num_active <= highest) & (h >= 0).all(-1)
        log_normaliser = self.log_support_normaliser
        return jnp.where(allowed, per_unit.sum(-1) - log_normaliser, -jnp.inf)

    def states(self) -> FiniteStates:
        """Every h that has positive probability.

        Raises:
            ValueError: the slab is continuous.
        """
        if not isinstance(self.slab, FiniteSlab):
            raise Refusal(
                f"a prior with slab {type(self.slab).__name__} has no finite list of states: "
                "use a FiniteSlab, or gibbs instead of exact"
            )
        values = jnp.broadcast_to(self.slab.values, (self.n_hidden, self.slab.values.shape[-1]))
        return FiniteStates(values, *self.active_range)

    @property
    def marginal_inclusion_prob(self) -> Float[Array, " hidden"]:
        """P(h_i > 0) of each unit, the bound on the number of active units included."""
        if self.active_range == (0, self.n_hidden):  # spares a table of n_hidden^2 numbers
            return jax.nn.sigmoid(self.inclusion_logit)
        return self._support_law.active_prob

    @property
    def log_support_normaliser(self) -> Float[Array, ""]:
        """Log probability that independent units meet the bound on the number of active ones."""
        return self._support_law.log_normaliser

    @property
    def second_moment(self) -> Float[Array, " hidden"]:
        """E[h_i^2] of each unit."""
        return self.marginal_inclusion_prob * slab_moments(self.tilting_slab)[1]

    def tilt(self, r: Float[Array, "*#batch hidden"], v: Float[Array, "*#batch hidden"]) -> Tilted:
        """The prior's marginal of each unit, seen through N(h_i; r_i, v_i)."""
        logit = jax.scipy.special.logit(self.marginal_inclusion_prob)
        return tilted(jnp.broadcast_to(logit, r.shape), self.tilting_slab, r, v)

    def _keep_tilting_slab(self) -> None:
        # Inside jit the bounds of a truncated normal cannot be seen, so when the prior is made.
        object.__setattr__(self, "slab", own(self.slab))
        object.__setattr__(self, "tilting_slab", canonical_slab(self.slab))

    def _check_units(self) -> None:
        if self.slab.batch_shape not in ((), (self.n_hidden,)):
            raise Refusal(
                f"slab must have batch shape () or ({self.n_hidden},), one per hidden unit; "
                f"got {self.slab.batch_shape}"
            )

    @property
    def _slab_point(self) -> Array:
        """A value inside the slab's support, to evaluate it where the unit is off."""
        if isinstance(self.slab, FiniteSlab):
            return self.slab.values[..., 0]
        return jnp.asarray(1.0)

    @property
    def _spike_logits(self) -> Float[Array, "hidden 2"]:
        logit = self.inclusion_logit
        return jnp.stack([jax.nn.log_sigmoid(-logit), jax.nn.log_sigmoid(logit)], axis=-1)

    @property
    def _level_logits(self) -> Float[Array, "hidden levels"]:
        assert isinstance(self.slab, FiniteSlab)
        log_off, log_on = self._spike_logits[:, :1], self._spike_logits[:, 1:]
        log_probs = jnp.broadcast_to(
            jnp.log(self.slab.probs), (self.n_hidden, self.slab.values.shape[-1])
        )
        return jnp.concatenate([log_off, log_on + log_probs], axis=1)

    @property
    def _support_law(self) -> CappedCategorical:
        """The law of which units are active."""
        return self._condition(self._spike_logits)

    def _condition(self, logits: Float[Array, "hidden levels"]) -> CappedCategorical:
        """Levels with these logits, conditioned on the number of active units."""
        fewest, most = self.active_range
        return CappedCategorical(logits, most, fewest)

    def _sample_levels(
        self, prefix: str, name: str, logits: Float[Array, "hidden levels"]
    ) -> ArrayLike:
        if self.active_range == (0, self.n_hidden):
            law = dist.CategoricalProbs(jnp.exp(logits))
            with numpyro.plate(f"{prefix}hidden", self.n_hidden):
                return numpyro.sample(prefix + name, law, infer=internal())
        return numpyro.sample(prefix + name, self._condition(logits), infer=internal())


def is_sparse(prior: Prior) -> bool:
    """Whether a prior has a spike, a slab and a density, whatever its law."""
    return isinstance(prior, SparsePrior)


def undeclared_members(prior: Prior) -> tuple[str, ...]:
    """What a spike-and-slab prior overrides of its law without a word on its units.

    Empty where it is what its spike and slab say, which all but exact enumeration and hmc rely on.
    """
    if not isinstance(prior, SparsePrior):
        return ()
    return overridden(prior, _DENSITY + _PROGRAM + _MARGINALS, since=(_DECLARATION,))


def is_spike_and_slab(prior: Prior) -> bool:
    """Whether a prior is what its spike, slab and bound on active units say."""
    if not isinstance(prior, SparsePrior):
        return False
    return prior.independent_given_count and not undeclared_members(prior)


def check_spike_and_slab(method: str, prior: Prior) -> None:
    """Raises ValueError for a prior that is not what its spike and slab say.

    Args:
        method: what needs it, to name in the error.
        prior: the prior.
    """
    if not isinstance(prior, SparsePrior):
        raise Refusal(
            f"{method} needs a prior with a spike and a slab (SpikeAndSlab or KSparse), whose "
            "units are independent but for their number; where they are so only given what is "
            "drawn before them use gibbs, and for any NumPyro function hmc"
        )
    if is_spike_and_slab(prior):
        return
    names = ", ".join(undeclared_members(prior))
    change = f"overrides {names}" if names else f"says that {_DECLARATION} is False"
    raise Refusal(
        f"{method} needs units that are independent but for their number, as spike and slab "
        f"say, and {type(prior).__name__} {change}: use hmc, or exact if "
        "its states can be enumerated"
    )


def check_one_law(prior: Prior) -> None:
    """Raises for a subclass that JAX does not know, or whose density and program differ in law.

    Raises:
        TypeError: its class is not registered.
        ValueError: it overrides one of density and program.
    """
    if not isinstance(prior, SparsePrior):
        return
    check_registered("prior", prior)
    for since in (SparsePrior, (_DECLARATION,)):
        density, program = (overridden(prior, names, since) for names in (_DENSITY, _PROGRAM))
        if bool(density) == bool(program):
            continue
        missing = "__call__, the program that draws h" if density else "log_prob, the density of h"
        raise Refusal(
            f"{type(prior).__name__} overrides {', '.join(density or program)} of a spike-and-slab "
            f"prior, but not {missing}: the two are one law, so override both, or neither"
        )


def _by_rows(log_prob: Callable[[Array], Any], values: Array) -> Array:
    """A law with a batch of its own, of values with further axes before it."""
    rows = values.reshape(-1, values.shape[-1])
    return jax.vmap(log_prob)(rows).reshape(values.shape)


def _rows(vector: Float[Array, " hidden"], like: Array) -> Array:
    return jnp.broadcast_to(vector, like.shape)


@pytree(data=("inclusion_prob", "slab", "tilting_slab"), meta=("n_hidden", "max_active"))
@dataclass(frozen=True)
class SpikeAndSlab(SparsePrior):
    """Each unit is 0 with probability 1 - inclusion_prob, else drawn from the slab.

    With `max_active` the law is conditioned on at most that many active units: the paper's
    ||h||_0 <= k, renormalised.

    Attributes:
        n_hidden: number of units m.
        inclusion_prob: probability that a unit is active, in [0, 1]; a number or one per unit,
            (n_hidden,). With `max_active` it is the probability before conditioning.
        slab: `FiniteSlab` or a NumPyro distribution on (0, inf), batch shape () or (n_hidden,).
        max_active: most active units, in [0, n_hidden]; None for no bound.
    """

    n_hidden: int
    inclusion_prob: ArrayLike
    slab: dist.Distribution
    max_active: int | None = None

    def __post_init__(self):
        door.count()("n_hidden", self.n_hidden)
        door.optional(door.whole)("max_active", self.max_active)
        check_real("inclusion_prob", self.inclusion_prob)
        check_slab(self.slab)
        if is_concrete((self.inclusion_prob, self.slab)):
            self._check()
        object.__setattr__(self, "inclusion_prob", as_floats(self.inclusion_prob))
        self._keep_tilting_slab()

    def _check(self) -> None:
        self._check_units()
        prob = np.asarray(self.inclusion_prob, dtype=float)
        if prob.shape not in ((), (self.n_hidden,)):
            raise Refusal(
                f"inclusion_prob must be a number or have shape ({self.n_hidden},), "
                f"one per hidden unit; got shape {prob.shape}"
            )
        if not np.all((prob >= 0) & (prob <= 1)):
            raise Refusal(f"inclusion_prob must lie in [0, 1]; got {prob}")
        if self.max_active is not None and not 0 <= self.max_active <= self.n_hidden:
            raise Refusal(
                f"max_active must lie in [0, n_hidden = {self.n_hidden}]; got {self.max_active}"
            )

    @property
    @override
    def active_range(self) -> tuple[int, int]:
        return 0, self.n_hidden if self.max_active is None else self.max_active

    @property
    @override
    def inclusion_logit(self) -> Float[Array, " hidden"]:
        logit = jax.scipy.special.logit(self.inclusion_prob)
        return jnp.broadcast_to(logit, (self.n_hidden,))


@pytree(data=("slab", "tilting_slab"), meta=("n_hidden", "n_active"))
@dataclass(frozen=True)
class KSparse(SparsePrior):
    """Exactly `n_active` units are active, every support equally likely.

    Attributes:
        n_hidden: number of units m.
        n_active: number of active units k, in [0, n_hidden].
        slab: `FiniteSlab` or a NumPyro distribution on (0, inf), batch shape () or (n_hidden,).
    """

    n_hidden: int
    n_active: int
    slab: dist.Distribution

    def __post_init__(self):
        door.count()("n_hidden", self.n_hidden)
        door.whole("n_active", self.n_active)
        check_slab(self.slab)
        if is_concrete(self.slab):
            self._check()
        self._keep_tilting_slab()

    def _check(self) -> None:
        self._check_units()
        if not 0 <= self.n_active <= self.n_hidden:
            raise Refusal(
                f"n_active must lie in [0, n_hidden = {self.n_hidden}]: there are not more units "
                f"to be active; got {self.n_active}"
            )

    @property
    @override
    def active_range(self) -> tuple[int, int]:
        return self.n_active, self.n_active

    @property
    @override
    def inclusion_logit(self) -> Float[Array, " hidden"]:
        return jnp.zeros(self.n_hidden)


@door.guard(key=door.random_key, prior=door.function, num_samples=door.count())
def sample_prior(key: PRNGKeyArray, prior: Prior, num_samples: int) -> Float[Array, "num hidden"]:
    """Draws h from any prior by running its program.

    Args:
        key: random key.
        prior: NumPyro program that returns h.
        num_samples: number of draws.
    """
    return sample_prior_sites(key, prior, num_samples)[0]


def sample_prior_sites(
    key: PRNGKeyArray, prior: Prior, num_samples: int
) -> tuple[Float[Array, "num hidden"], dict[str, Array]]:
    """Draws h from any prior, and what its program drew or named on the way.

    Args:
        key: random key.
        prior: NumPyro program that returns h.
        num_samples: number of draws.

    Returns:
        h, and the program's own sites by name, (num_samples, ...): all but h and those that a
        spike and slab is made of.
    """
    keys = jax.random.split(key, num_samples)

    def draw(key: PRNGKeyArray) -> tuple[Array, dict[str, Array]]:
        # Whatever program this is called from does not see these sites.
        with numpyro.handlers.block(), numpyro.handlers.trace() as trace:
            h = jnp.asarray(numpyro.handlers.seed(prior, key)())
        return h, {name: jnp.asarray(trace[name]["value"]) for name in own_sites(trace)}

    return jax.vmap(draw)(keys)


def own_sites(trace: Mapping[str, Any]) -> list[str]:
    """Names of a program's own sites, drawn or deterministic: none of probrev's, and not h."""
    return [
        name
        for name, site in trace.items()
        if name != "h"
        and (site["type"] == "sample" or site["type"] == "deterministic")
        and not site.get("is_observed")
        and not site.get("infer", {}).get("is_auxiliary")
    ]


def internal() -> dict[str, Any]:
    """What marks a site of probrev's own: `infer` of `numpyro.sample`."""
    return {"is_auxiliary": True}


def unfolded(site: Any) -> Any:
    """What `numpyro.handlers.reparam` asks for: a spike and slab as the sites it is made of.

    No kernel draws a vector that is 0 in places from its density: a unit's spike and its value, of
    which the vector follows, each of them can be drawn.
    """
    fn = site["fn"]
    if not isinstance(fn, SparsePrior) or site["is_observed"]:
        return None

    def unfold(name: str, fn: SparsePrior, value: Any) -> tuple[None, Array]:
        del value
        return None, fn.program(f"{name}_")

    return unfold
