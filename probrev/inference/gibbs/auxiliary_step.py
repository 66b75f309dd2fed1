"""Renewing what a prior's units are given: alone, and jointly with the units it decides over."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import log_sigmoid
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from probrev.inference.gibbs.coordinate import Rows, UnitPrior, gaussian
from probrev.model.conditional_prior import Auxiliary, ConditionalPrior, sample_jointly
from probrev.model.layer import Layer
from probrev.model.prior_program import conditional_prior
from probrev.model.priors import Prior, check_spike_and_slab, is_sparse
from probrev.model.slabs import has_closed_form
from probrev.model.tilted import Slab, log_slab_ratio, unit_slab, weigh_and_invert
from probrev.numerics.truncated_normal import open_uniform
from probrev.plumbing.refusal import Refusal

# Logarithms of how far a scale is moved at a time, in its logarithm: from .05 to 2.
LOG_WIDTHS = (-3.0, 0.7)
# Renewals of what h is given before chains start at an h of which it is not known.
NUM_RENEWALS = 100


def units_given(prior: ConditionalPrior, u: Auxiliary) -> UnitPrior:
    """The spikes and slabs of a prior's units; where it is given something, those of each case.

    Args:
        prior: the prior.
        u: values of its auxiliary variables, (case, ...).

    Raises:
        ValueError: the slab depends on u and is neither finite nor log-quadratic.
    """
    if not u:
        given = prior.given(u)
        return UnitPrior(given.inclusion_logit, given.tilting_slab, given.active_range)
    given = prior.given({name: value[0] for name, value in u.items()})
    logit = jax.vmap(lambda one: prior.given(one).inclusion_logit)(u)
    slab_of = lambda one: prior.given(one).tilting_slab  # noqa: E731
    if has_closed_form(given.tilting_slab):
        slab = jax.vmap(lambda one: _each_unit(slab_of(one), prior.n_hidden))(u)
    else:
        try:
            slab = jax.vmap(slab_of, out_axes=None)(u)
        except ValueError as error:
            name = type(given.slab).__name__
            raise Refusal(
                f"gibbs needs a HalfNormal, Exponential, TruncatedNormal(low=0) or FiniteSlab "
                f"where the slab depends on what the prior draws before it; got {name}: hmc runs "
                "the program itself"
            ) from error
    return UnitPrior(logit, slab, given.active_range)


class UnitsSeen(NamedTuple):
    """What is the same of a prior's units, whatever they are given.

    Attributes:
        has_closed_form: whether their slab has one where a sweep is compiled.
        active_range: fewest and most units active.
    """

    has_closed_form: bool
    active_range: tuple[int, int]


def look_at_units(prior: ConditionalPrior) -> UnitsSeen:
    """Traces the units, as a sweep does: no number is computed.

    Raises:
        ValueError: see `units_given`.
    """
    seen = []

    def look() -> None:
        _, u = sample_jointly(jax.random.key(0), prior, 1)
        units = units_given(prior, u)
        seen.append(UnitsSeen(has_closed_form(units.slab), units.active_range))

    jax.eval_shape(look)
    return seen[0]


def check_prior(method: str, prior: Prior) -> None:
    """Raises ValueError for a prior that is no spikes and slabs, given anything.

    Args:
        method: what needs it, to name in the error.
        prior: the prior.
    """
    if is_sparse(prior):
        check_spike_and_slab(method, prior)
        return
    try:
        look_at_units(conditional_prior(prior))
    except ValueError as error:
        raise Refusal(
            f"{method} needs a prior with a spike and a slab, SpikeAndSlab or KSparse or given "
            f"what is drawn before it: {error}; for any other NumPyro function use hmc"
        ) from error


def fixes_count(prior: Prior) -> bool:
    """Whether the number of active units is fixed, whatever they are given."""
    fewest, most = look_at_units(conditional_prior(prior)).active_range
    return 0 < fewest == most


def _each_unit(slab: Slab, n_hidden: int) -> Slab:
    """A slab with its numbers written out for each unit."""
    leaves, structure = jax.tree.flatten(slab)
    batch = len(slab.batch_shape)
    full = [jnp.broadcast_to(leaf, (n_hidden, *leaf.shape[batch:])) for leaf in leaves]
    return jax.tree.unflatten(structure, full)


def renew_auxiliary(
    key: PRNGKeyArray, prior: ConditionalPrior, u: Auxiliary, h: Float[Array, "case hidden"]
) -> Auxiliary:
    """U given h, of each case; nothing where the prior is given nothing."""
    if not u:
        return u
    key_renew, key_switch = jax.random.split(key)
    u = jax.vmap(prior.renew)(jax.random.split(key_renew, len(h)), u, h)
    if not prior.num_switches:
        return u
    switch = jax.vmap(lambda key, u, h: _switch_alone(key, prior, u, h))
    return switch(jax.random.split(key_switch, len(h)), dict(u), h)


def _switch_alone(
    key: PRNGKeyArray, prior: ConditionalPrior, u: Auxiliary, h: Float[Array, " hidden"]
) -> Auxiliary:
    """Draws one of each discrete variable's value and another, in turn, while h stays.

    Where x pins the units down a variable hardly ever changes jointly with them, as it does in
    `switch_jointly`.
    """

    def log_joint(u: Auxiliary) -> Float[Array, ""]:
        return prior.log_prob_auxiliary(u) + prior.given(u).log_prob(h)

    def switch(number: Int[Array, ""], carry: tuple) -> tuple:
        u, now = carry
        key_other, key_coin = jax.random.split(jax.random.fold_in(key, number))
        other = prior.propose(key_other, u, number)
        then = log_joint(other)
        taken = jax.random.uniform(key_coin, dtype=h.dtype) < jax.nn.sigmoid(then - now)
        pick = lambda new, old: jnp.where(taken, new, old)  # noqa: E731
        return jax.tree.map(pick, (other, then), carry)

    return jax.lax.fori_loop(0, prior.num_switches, switch, (u, log_joint(u)))[0]


def draw_auxiliary(
    key: PRNGKeyArray, prior: Prior, u: Auxiliary, h: Float[Array, "chain obs hidden"]
) -> Auxiliary:
    """Values of what h is given, after many renewals given h, in place of u, (chain, obs, ...)."""
    given, (num_chains, num_obs) = conditional_prior(prior), h.shape[:2]
    flat = {name: jnp.reshape(values, (-1, *values.shape[2:])) for name, values in u.items()}
    rows = h.reshape(-1, h.shape[-1])

    def renew(number: Int[Array, ""], u: Auxiliary) -> Auxiliary:
        return renew_auxiliary(jax.random.fold_in(key, number), given, u, rows)

    flat = jax.lax.fori_loop(0, NUM_RENEWALS, renew, flat)
    return {name: jnp.reshape(a, (num_chains, num_obs, *a.shape[1:])) for name, a in flat.items()}


def rescale_jointly(
    key: PRNGKeyArray,
    prior: ConditionalPrior,
    layer: Layer,
    u: Auxiliary,
    h: Float[Array, "case hidden"],
    x: Float[Array, "case visible"],
) -> tuple[Auxiliary, Float[Array, "case hidden"]]:
    """Multiplies each scale by a number, and the units with it, where that is accepted.

    Given small units a scale stays small, and given a small scale units do. The number is
    log-normal, of a width that is drawn too; the likelihood is that of x, noise and masks summed
    out.

    Args:
        key: random key.
        prior: the prior.
        layer: below the units.
        u: auxiliary variables of the prior, (case, ...).
        h: the units.
        x: what is below the layer.

    Source: Liu and Sabatti 2000, generalised Gibbs sampling (moves along a scale group).
    """
    log_likelihood = lambda h: layer.distribution(layer.pre_activation(h)).log_prob(x).sum(-1)  # noqa: E731
    now = jax.vmap(prior.log_joint)(u, h) + log_likelihood(h)
    for number, (name, power) in enumerate(prior.scales):
        key_one = jax.random.fold_in(key, number)
        key_width, key_step, key_coin = jax.random.split(key_one, 3)
        low, high = LOG_WIDTHS
        width = jnp.exp(jax.random.uniform(key_width, now.shape, minval=low, maxval=high))
        step = width * jax.random.normal(key_step, now.shape)
        other = {**u, name: u[name] * jnp.exp(step)}
        moved = h * jnp.exp(power * step)[:, None]
        then = jax.vmap(prior.log_joint)(other, moved) + log_likelihood(moved)
        volume = step * (1.0 + power * (h > 0).sum(1))
        taken = jnp.log(jax.random.uniform(key_coin, now.shape)) < then - now + volume
        u, h, now = _where(taken, (other, moved, then), (u, h, now))
    return u, h


def switch_jointly(
    key: PRNGKeyArray,
    prior: ConditionalPrior,
    weights: Float[Array, "visible hidden"],
    u: Auxiliary,
    h: Float[Array, "case hidden"],
    rows: Rows,
    z: Float[Array, "case visible"],
    log_left_out: Callable[[Float[Array, "case visible"]], Float[Array, " case"]] | None,
) -> tuple[Auxiliary, Float[Array, "case hidden"]]:
    """Changes each discrete variable in turn, jointly with the units whose law it decides.

    Given h a group that is silent stays silent, and a class that h was drawn under stays: no unit
    can go first. So another value is proposed together with those units, taken out and put in again
    one after the other, those that explain most by themselves first, each drawn given those already
    in. The product of the normalisers on the way, the Rosenbluth weight, is what the pair of u and
    units is worth, and the present pair is weighed on the same way: accepting by their ratio leaves
    p(h, u | rows) as it is.

    Args:
        key: random key.
        prior: the prior.
        weights: W of the layer below the units.
        u: its auxiliary variables, (case, ...).
        h: the units.
        rows: the likelihood, seen from h.
        z: W h + bias.
        log_left_out: of pre-activations, what rows leave out of the log likelihood; None: nothing.

    Source: Siepmann and Frenkel 1992, configurational-bias Monte Carlo.
    """
    information = rows.precision @ weights**2

    def switch(number: Int[Array, ""], carry: tuple) -> tuple:
        u, h, z_now = carry
        key_other, key_units, key_coin = jax.random.split(jax.random.fold_in(key, number), 3)
        keys = jax.random.split(key_other, len(h))
        other = jax.vmap(prior.propose, in_axes=(0, 0, None))(keys, u, number)
        now, then = units_given(prior, u), units_given(prior, other)
        decided = _differ(now, then, h)
        bare = jnp.where(decided, 0.0, h)
        z_bare = z_now - (h - bare) @ weights.T
        residual = rows.residual - rows.precision * (z_bare - z)
        alone = gaussian(residual @ weights, information)
        worth = _greatest_log_odds(now, then, *alone)
        order = jnp.argsort(jnp.where(decided, -worth, jnp.inf), axis=1)
        places = _Places(weights.T, information, rows.precision, residual, order, decided.sum(1))
        uniform = open_uniform(key_units, h.T.shape, h.dtype)
        case = jnp.arange(len(h))
        _, _, worth_now = places.fill(
            now, bare, lambda step, unit, logit, *law: (log_slab_ratio(*law), h[case, unit])
        )
        new, shift, worth_then = places.fill(
            then, bare, lambda step, unit, *law: weigh_and_invert(uniform[step], *law)
        )
        z_new = z_bare + shift
        log_ratio = worth_then - worth_now + _log_prob(prior, other, new) - _log_prob(prior, u, h)
        if log_left_out is not None:
            log_ratio += log_left_out(z_new) - log_left_out(z_now)
        coin = jnp.log(jax.random.uniform(key_coin, log_ratio.shape, h.dtype))
        return _where(coin < log_ratio, (other, new, z_new), carry)

    u, h, _ = jax.lax.fori_loop(0, prior.num_switches, switch, (dict(u), h, z))
    return u, h


class _Places(NamedTuple):
    """Where units are put in again, one after the other, and what the rows say without them.

    Attributes:
        columns: of W, (hidden, visible).
        information: what the rows say about each unit alone.
        precision: of the rows.
        residual: of the rows, without the units.
        order: units of each case, those to put in first.
        num_units: how many they are.
    """

    columns: Float[Array, "hidden visible"]
    information: Float[Array, "case hidden"]
    precision: Float[Array, "case visible"]
    residual: Float[Array, "case visible"]
    order: Int[Array, "case hidden"]
    num_units: Int[Array, " case"]

    def fill(
        self, law: UnitPrior, h: Float[Array, "case hidden"], value: Callable[..., tuple]
    ) -> tuple[Array, Array, Float[Array, " case"]]:
        """Puts the units in, each at a value, given those already in.

        Args:
            law: of the units.
            h: without them.
            value: (step, unit, log odds, slab, r, v) -> `log_slab_ratio`, and its value in each
                case.

        Returns:
            h; what W h has gained; and the log product of the normalisers on the way.
        """
        case = jnp.arange(len(h))

        def put(step: Array, carry: tuple) -> tuple:
            h, shift, log_worth = carry
            unit, is_left = self.order[:, step], step < self.num_units
            column = self.columns[unit]
            linear = ((self.residual - self.precision * shift) * column).sum(1)
            r, v = gaussian(linear, self.information[case, unit])
            logit, slab = law.inclusion_logit[case, unit], unit_slab(law.slab, unit)
            log_ratio, new = value(step, unit, logit, slab, r, v)
            normaliser = jnp.logaddexp(log_sigmoid(-logit), log_sigmoid(logit) + log_ratio)
            log_worth += jnp.where(is_left, normaliser, 0.0)
            new = jnp.where(is_left, new, 0.0)
            return h.at[case, unit].add(new), shift + new[:, None] * column, log_worth

        start = h, jnp.zeros_like(self.residual), jnp.zeros(len(h), h.dtype)
        return jax.lax.fori_loop(0, self.num_units.max(), put, start)


def _greatest_log_odds(now: UnitPrior, then: UnitPrior, r: Array, v: Array) -> Array:
    """Of each unit alone, under either law."""
    if not has_closed_form(now.slab):  # it depends on nothing, and costs a quadrature
        logit = jnp.maximum(now.inclusion_logit, then.inclusion_logit)
        return logit + log_slab_ratio(now.slab, r, v)
    odds = (law.inclusion_logit + log_slab_ratio(law.slab, r, v) for law in (now, then))
    return jnp.maximum(*odds)


def _differ(
    now: UnitPrior, then: UnitPrior, h: Float[Array, "case hidden"]
) -> Bool[Array, "case hidden"]:
    """The units whose law is another one."""
    found = now.inclusion_logit != then.inclusion_logit
    for one, other in zip(jax.tree.leaves(now.slab), jax.tree.leaves(then.slab), strict=True):
        if jnp.ndim(one) >= h.ndim:  # else all cases share it
            found |= (one != other).reshape(*h.shape, -1).any(-1)
    return found


def _log_prob(
    prior: ConditionalPrior, u: Auxiliary, h: Float[Array, "case hidden"]
) -> Float[Array, " case"]:
    """Log p(u), and of h | u what is not a product over units: the bound on the active ones."""

    def one(u: Auxiliary, num_active: Int[Array, ""]) -> Float[Array, ""]:
        given = prior.given(u)
        fewest, most = given.active_range
        log_prob = prior.log_prob_auxiliary(u)
        if (fewest, most) == (0, prior.n_hidden):
            return log_prob
        allowed = (num_active >= fewest) & (num_active <= most)
        return jnp.where(allowed, log_prob - given.log_support_normaliser, -jnp.inf)

    return jax.vmap(one)(u, (h > 0).sum(1))


def _where(taken: Bool[Array, " case"], new: tuple, old: tuple) -> tuple:
    def pick(new: Array, old: Array) -> Array:
        return jnp.where(taken.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return jax.tree.map(pick, new, old)
