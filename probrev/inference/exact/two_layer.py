"""The exact posterior of two layers at tiny size: an oracle for samplers of deep models."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from probrev.inference.exact.exact_result import (
    ExactOptions,
    ExactResult,
    solve_each,
    summarize_points,
)
from probrev.inference.exact.integration.adaptive_integral import (
    integrate_part,
    log_outside,
    log_sum,
    measure,
    refine,
)
from probrev.inference.exact.integration.support_moments import combine_moments, share_left_out
from probrev.inference.exact.integration.support_problem import (
    SupportProblem,
    UnitLaws,
    list_supports,
    make_problems,
)
from probrev.model.layer import Layer
from probrev.model.layered_model import LayeredModel
from probrev.model.prior_density import log_prior_prob
from probrev.model.row_terms import RowTerms, gather_terms, has_terms
from probrev.model.slabs import rectified_slab
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import generator
from probrev.posterior.posterior import Moments

MAX_WIDTH = 4
MAX_STATES = 512
TOLERANCE = 1e-6


def check_two_layer(model: LayeredModel) -> int:
    """Number of integrals per observation; raises ValueError where there is no such oracle."""
    below, above = model.layers
    if not above.activation.is_rectifier or not (below.noise_std > 0 and above.noise_std > 0):
        raise Refusal(
            "exact reaches through two layers only where both have noise_std > 0 and the upper is "
            "a ReLU layer; simulate and generate work with any"
        )
    if not has_terms(below):
        raise Refusal(
            "exact reaches through two layers only where the lower's activation is flat up to, or "
            f"from, some point; {below.activation} has a flat between two: use gibbs"
        )
    count = model.states().count
    if above.n_visible > MAX_WIDTH or count > MAX_STATES:
        raise Refusal(
            f"exact reaches through two layers only at tiny size: at most {MAX_WIDTH} units "
            f"between them (here {above.n_visible}) and {MAX_STATES} states of the prior (here "
            f"{count:,}); use gibbs"
        )
    return count * 2**above.n_visible


def integrate_two_layers(
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    options: ExactOptions,
) -> ExactResult:
    r"""p(h2 | x) of a finite top prior, the layer between integrated out numerically.

        p(h2 | x) \propto p(h2) sum_B prod_{i not in B} f(z_i) \int prod_{i in B} (rho / alpha)
            N(h1_i / alpha; z_i, sigma^2) p(x | h1) dh1_B,   z = W_2 h2,

    over every support B of h1, with alpha, rho, sigma and f of the upper layer. The
    integrals, and what `integration_error` and `unvisited_mass` say of them, are those of
    `integration.integrate_supports`, every support visited.

    Returns:
        The posterior of h = h2, draws of it, and the moments of h1.
    """
    rng = generator(options.seed, "exact/draws")
    states = np.asarray(model.states()[jnp.arange(model.states().count)])
    log_prior = np.asarray(log_prior_prob(model.prior, jnp.asarray(states)))
    laws = _all_laws(model.layers[1], jnp.asarray(states))
    options = options._replace(num_top=min(options.num_top, len(states)))
    return solve_each(
        x,
        lambda _, row: _solve(model.layers[0], laws, states, log_prior, row, rng, options),
        options.progress,
    )


def conditional_laws(layer: Layer, h: Float[Array, " hidden"]) -> UnitLaws:
    """The law of each unit below a layer given h above, that of `rectified_slab`."""
    z = layer.pre_activation(h)
    logit, slab = rectified_slab(z, layer.noise_std, layer.keep_prob, layer.gain)
    log_on = jnp.log(layer.keep_prob) + jax.scipy.special.log_ndtr(z / layer.noise_std)
    return UnitLaws(-logit, *slab, log_on)


@jax.jit
def _all_laws(layer: Layer, states: Float[Array, "state hidden"]) -> UnitLaws:
    return jax.vmap(partial(conditional_laws, layer))(states)


def _solve(
    layer: Layer,
    laws: UnitLaws,
    states: np.ndarray,
    log_prior: np.ndarray,
    x: Float[Array, " visible"],
    rng: np.random.Generator,
    options: ExactOptions,
) -> ExactResult:
    """One observation, arrays without the axis `obs`."""
    rows = gather_terms(layer, x)
    supports = [list_supports(layer.n_hidden, size) for size in range(layer.n_hidden + 1)]
    problems = [
        jax.tree.map(np.asarray, _make_problems(rows, laws, log_prior, support))
        for support in supports
    ]
    rows = rows.alone()
    parts = [
        integrate_part(one, np.tile(support, (len(states), 1)), rows)
        for one, support in zip(problems, supports, strict=True)
    ]
    error = refine(parts, rows, TOLERANCE)
    found = [measure(part) for part in parts]
    table = np.concatenate([one.log_mass.reshape(len(states), -1) for one in found], axis=1)
    result = summarize_points(states, log_sum(table, axis=1), rng, options)
    log_evidence = float(result.log_evidence)
    units = [part.units for part in parts]
    return result._replace(
        unvisited_mass=share_left_out(log_outside(parts), log_evidence, error),
        integration_error=np.asarray(error),
        intermediates=Moments(*combine_moments(units, found, layer.n_hidden, log_evidence)),
    )


@jax.jit
def _make_problems(
    rows: RowTerms, laws: UnitLaws, log_prior: Float[Array, " state"], supports: Array
) -> SupportProblem:
    """Every state with every support of one size, states slowest."""
    nested = jax.vmap(make_problems, (None, 0, None))(rows, laws, supports)
    nested = nested._replace(
        constant=nested.constant + log_prior[:, None],
        peak=nested.peak + log_prior[:, None],
        ceiling=nested.ceiling + log_prior[:, None],
    )
    return jax.tree.map(lambda leaf: jax.lax.collapse(leaf, 0, 2), nested)
