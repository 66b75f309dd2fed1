"""A vector of discrete levels of which only few may be nonzero."""

# NumPyro's own distributions narrow the signatures of the base class in the same way.
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import logsumexp
from jaxtyping import Array, ArrayLike, Float, Int
from numpyro.distributions import constraints
from numpyro.distributions.util import validate_sample
from numpyro.util import not_jax_tracer

from probrev.numerics.broadcasting import same_rank
from probrev.numerics.truncated_normal import open_uniform
from probrev.plumbing.refusal import Refusal, TypeRefusal


class CappedCategorical(dist.Distribution):
    """A vector of independent discrete levels, conditioned on how many of them are nonzero.

    p(levels) = prod_i p_i(levels_i) / P(min_active <= number of nonzero levels <= max_active).
    Level 0 is "off".
    The normaliser is a Poisson-binomial probability, by recursion over units in log space.

    `enumerate_support` lists the levels of one coordinate, not of the vector: NumPyro's
    DiscreteGibbs and DiscreteHMCGibbs only use their number, and then flip the coordinates of the
    site one by one. Enumeration by `infer={"enumerate": "parallel"}` is refused with an error in
    log_prob, which wants all units in the last dimension.

    Args:
        logits: (..., n, K + 1) unnormalised log probabilities of the levels 0..K of each unit;
            -inf is allowed. Leading dimensions are batch_shape.
        max_active: Greatest number of nonzero levels, a Python integer >= 0; n or more: no cap.
        min_active: Smallest number of nonzero levels, a Python integer in [0, max_active].
        validate_args: As in NumPyro.

    Raises:
        TypeError: If max_active is not an integer.
        ValueError: If max_active < 0, logits have no such shape, contain NaN or +inf, allow a unit
            no level, or force more than max_active units on.

    Source:
        Chen and Liu 1997, Statistica Sinica 7, 875: conditional Bernoulli laws, and the recursion.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "logits": constraints.dependent(is_discrete=False, event_dim=2)
    }
    pytree_data_fields = ("logits", "_log_normaliser")
    pytree_aux_fields = ("max_active", "min_active")
    has_enumerate_support = True

    def __init__(
        self,
        logits: Float[ArrayLike, "*batch n levels"],
        max_active: int,
        min_active: int = 0,
        *,
        validate_args: bool | None = None,
    ):
        _check_capped_arguments(logits, max_active, min_active)
        logits = jnp.asarray(logits, jnp.result_type(0.0, logits))
        self.max_active, self.min_active = int(max_active), int(min_active)
        self.logits: Float[Array, "*batch n levels"]
        self.logits, self._log_normaliser = _normalise(logits, self.max_active, self.min_active)
        super().__init__(logits.shape[:-2], logits.shape[-2:-1], validate_args=validate_args)

    @property
    def support(self) -> Any:
        """Levels 0..K in each coordinate. The cap is not part of it: log_prob is -inf beyond."""
        return constraints.independent(constraints.integer_interval(0, self._top_level()), 1)

    def enumerate_support(self, expand: bool = True) -> Int[Array, "levels ..."]:
        """Return the levels 0..K of one coordinate (see the class's note), shape (K + 1, 1)."""
        if expand:
            raise NotImplementedError(
                "CappedCategorical lists the levels of one coordinate only: call "
                "enumerate_support(expand=False)."
            )
        return jnp.arange(self._top_level() + 1)[:, None]

    @validate_sample
    def log_prob(self, value: Int[ArrayLike, "... n"]) -> Array:
        """Return the log probability; -inf beyond the cap or outside the levels."""
        levels = jnp.asarray(value)
        n_units = self.logits.shape[-2]
        if levels.ndim == 0 or levels.shape[-1] != n_units:
            raise Refusal(
                f"value must hold the levels of all {n_units} units in its last dimension, got "
                f"shape {levels.shape}. CappedCategorical cannot be enumerated in parallel."
            )
        index = levels.astype(jnp.int32)
        valid = jnp.all((levels == index) & (index >= 0) & (index <= self._top_level()), axis=-1)
        num_active = jnp.sum(index != 0, axis=-1)
        within_cap = (num_active >= self.min_active) & (num_active <= self.max_active)
        one_hot = jax.nn.one_hot(index, self._top_level() + 1, dtype=bool)
        one_hot, logits = same_rank(one_hot, self.logits)
        total = jnp.sum(jnp.where(one_hot, logits, 0.0), axis=(-2, -1))
        total, log_normaliser = same_rank(total, self._log_normaliser)
        valid, within_cap = same_rank(valid, within_cap, shape=total.shape)
        return jnp.where(valid & within_cap, total - log_normaliser, -jnp.inf)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Int[Array, "... n"]:
        """Draw exactly, unit by unit, each given the number of active units still allowed."""
        shape = sample_shape + self.logits.shape[:-2]
        key_level, key_active = jax.random.split(key)
        n_units = self.logits.shape[-2]
        log_off, log_on = _log_off_on(self.logits)
        slack = jnp.arange(self.max_active + 1) <= self.max_active - self.min_active
        initial = jnp.where(slack, jnp.zeros((), self.logits.dtype), -jnp.inf)
        initial = jnp.broadcast_to(initial, (*self.logits.shape[:-2], self.max_active + 1))
        # log P(an allowed number in all, if r more are still allowed from unit i on)
        table = _suffix_table(log_off, log_on, initial)

        def step(allowed: Array, inputs: tuple[Array, ...]) -> tuple[Array, Array]:
            uniform, log_off_i, log_on_i, rest = inputs
            keep_on = jnp.broadcast_to(log_on_i[..., None] + _shift(rest), shape + rest.shape[-1:])
            keep_off = jnp.broadcast_to(log_off_i[..., None] + rest, shape + rest.shape[-1:])
            log_odds = jnp.take_along_axis(keep_on - keep_off, allowed[..., None], axis=-1)[..., 0]
            active = uniform < jax.nn.sigmoid(log_odds)
            return allowed - active, active

        uniforms = open_uniform(key_active, (n_units, *shape), self.logits.dtype)
        rows = (jnp.moveaxis(a, axis, 0) for a, axis in ((log_off, -1), (log_on, -1)))
        rest = jnp.moveaxis(table[..., 1:, :], -2, 0)
        allowed = jnp.full(shape, self.max_active)
        _, active = jax.lax.scan(step, allowed, (uniforms, *rows, rest))
        on_levels = 1 + jax.random.categorical(
            key_level, self.logits[..., 1:], shape=(*shape, n_units)
        )
        return jnp.where(jnp.moveaxis(active, 0, -1), on_levels, 0).astype(jnp.int32)

    @property
    def active_prob(self) -> Float[Array, "*batch n"]:
        """P(level_i != 0) under the cap: the derivative of the log normaliser in log p_i(on)."""
        return _active_prob(self)

    @property
    def log_normaliser(self) -> Float[Array, "*batch"]:
        """Log probability that independent units meet the condition on their number."""
        return self._log_normaliser

    def _top_level(self) -> int:
        return self.logits.shape[-1] - 1


@partial(jax.jit, static_argnums=(1, 2))
def _normalise(
    logits: Float[Array, "*batch n levels"], max_active: int, min_active: int
) -> tuple[Float[Array, "*batch n levels"], Float[Array, "*batch"]]:
    """Return log P(level) of each unit without the cap, and the log probability of the cap."""
    logits = jax.nn.log_softmax(logits, axis=-1)
    return logits, _log_normaliser(*_log_off_on(logits), max_active, min_active)


@jax.jit
def _active_prob(law: CappedCategorical) -> Float[Array, "*batch n"]:
    log_off, log_on = _log_off_on(law.logits)

    def total(log_on: Array) -> Array:
        return jnp.sum(_log_normaliser(log_off, log_on, law.max_active, law.min_active))

    return jax.grad(total)(log_on)


def _log_off_on(
    logits: Float[Array, "*batch n levels"],
) -> tuple[Float[Array, "*batch n"], Float[Array, "*batch n"]]:
    """Return log P(level_i = 0) and log P(level_i > 0) without the cap."""
    return logits[..., 0], logsumexp(logits[..., 1:], axis=-1)


def _log_normaliser(
    log_off: Float[Array, "*batch n"],
    log_on: Float[Array, "*batch n"],
    max_active: int,
    min_active: int,
) -> Float[Array, "*batch"]:
    """Return the log probability that min_active to max_active of independent units are active."""
    counts = jnp.arange(max_active + 1)
    initial = jnp.where(counts == 0, jnp.zeros((), log_off.dtype), -jnp.inf)
    initial = jnp.broadcast_to(initial, (*log_off.shape[:-1], max_active + 1))
    log_probs = _suffix_table(log_off, log_on, initial)[..., 0, :]
    allowed = jnp.broadcast_to(counts >= min_active, log_probs.shape)
    return logsumexp(jnp.where(allowed, log_probs, -jnp.inf), axis=-1)


def _shift(table: Float[Array, "... counts"]) -> Float[Array, "... counts"]:
    """Return the table at one count less, log 0 = -inf entering at count 0."""
    first = jnp.full((*table.shape[:-1], 1), -jnp.inf, table.dtype)
    return jnp.concatenate([first, table[..., :-1]], axis=-1)


def _log_add(a: Array, b: Array) -> Array:
    """Return log(exp a + exp b), with gradient 0 instead of NaN where both are -inf."""
    impossible = jnp.maximum(a, b) == -jnp.inf
    total = jnp.logaddexp(jnp.where(impossible, 0.0, a), jnp.where(impossible, 0.0, b))
    return jnp.where(impossible, -jnp.inf, total)


@jax.jit
def _suffix_table(
    log_off: Float[Array, "*batch n"],
    log_on: Float[Array, "*batch n"],
    initial: Float[Array, "*batch counts"],
) -> Float[Array, "*batch suffixes counts"]:
    """Run S_i[c] = log(off_i exp S_{i+1}[c] + on_i exp S_{i+1}[c - 1]) down from S_n = initial."""

    def step(table: Array, logs: tuple[Array, Array]) -> tuple[Array, Array]:
        off, on = logs
        table = _log_add(off[..., None] + table, on[..., None] + _shift(table))
        return table, table

    rows = (jnp.moveaxis(log_off, -1, 0), jnp.moveaxis(log_on, -1, 0))
    _, tables = jax.lax.scan(step, initial, rows, reverse=True)
    tables = jnp.concatenate([tables, initial[None]], axis=0)
    return jnp.moveaxis(tables, 0, -2)


def _check_capped_arguments(logits: ArrayLike, max_active: int, min_active: int) -> None:
    """Raise what the docstring of CappedCategorical says; values only where they are concrete."""
    if isinstance(max_active, bool) or not isinstance(max_active, int | np.integer):
        raise TypeRefusal(f"max_active must be a Python integer, got {type(max_active).__name__}.")
    if max_active < 0:
        raise Refusal(f"max_active must be >= 0, got {max_active}.")
    if not 0 <= min_active <= max_active:
        raise Refusal(f"min_active must lie in [0, max_active = {max_active}], got {min_active}.")
    shape = np.shape(logits)
    if len(shape) < 2 or shape[-1] < 2:
        raise Refusal(
            f"logits must have shape (..., n, K + 1) with K >= 1 levels beside off, got {shape}."
        )
    if not not_jax_tracer(logits):
        return
    values = np.asarray(logits)
    if np.any(np.isnan(values) | np.isposinf(values)) or np.any(np.all(values == -np.inf, -1)):
        raise Refusal(
            "logits must be finite or -inf, with a finite level for each unit; check for NaN, "
            "+inf or units without any possible level."
        )
    forced = np.max(np.sum(values[..., 0] == -np.inf, axis=-1))
    if forced > max_active:
        raise Refusal(
            f"max_active={max_active} but logits force {forced} units on (level 0 has logit "
            "-inf): give them a finite level 0 or raise max_active."
        )
