"""Exact posteriors under a continuous slab: integrals over supports, in order of promise."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from probrev.inference.exact.exact_result import (
    ERROR_TARGET,
    UNVISITED_TARGET,
    ExactOptions,
    ExactResult,
    solve_each,
)
from probrev.inference.exact.integration.adaptive_integral import (
    Part,
    integrate_part,
    join_parts,
    log_outside,
    log_sum,
    measure,
    refine,
)
from probrev.inference.exact.integration.problem_blocks import map_problems
from probrev.inference.exact.integration.support_bound import bound_problems
from probrev.inference.exact.integration.support_draws import draw_from_cells
from probrev.inference.exact.integration.support_moments import (
    combine_moments,
    heaviest_supports,
    share_left_out,
)
from probrev.inference.exact.integration.support_problem import (
    SupportProblem,
    UnitLaws,
    list_supports,
    make_problems,
)
from probrev.model.layered_model import LayeredModel
from probrev.model.priors import SparsePrior, check_spike_and_slab
from probrev.model.row_terms import RowTerms, gather_terms, has_terms, row_lengths
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import stream

MAX_ACTIVE = 4
MAX_SUPPORTS = 2**17
# Where the supports are few, one more active unit: 4e4 points for each of them.
FEW_ACTIVE, FEW_SUPPORTS = 5, 512
NUM_VISITED_AT_ONCE = 256
# Of what may be left out, the share that supports may make; the rest is for what is around boxes.
SHARE_OF_SUPPORTS = 0.8


def check_continuous(model: LayeredModel) -> int:
    """Number of supports; raises ValueError where they cannot be integrated over."""
    prior = model.sparse_prior
    check_spike_and_slab("exact, over a continuous slab,", prior)
    _ = prior.log_quadratic_slab  # it refuses another
    if not has_terms(model.layers[0]):
        raise Refusal(
            "exact integrates over layers whose activation is flat up to, or from, some point; "
            f"{model.layers[0].activation} has a flat between two: use gibbs, or a FiniteSlab"
        )
    fewest, most = prior.active_range
    count = sum(math.comb(prior.n_hidden, size) for size in range(fewest, most + 1))
    is_few = most <= FEW_ACTIVE and count <= FEW_SUPPORTS
    if not is_few and (most > MAX_ACTIVE or count > MAX_SUPPORTS):
        raise Refusal(
            f"a prior with slab {type(prior.slab).__name__} has no finite list of states, and "
            f"exact integrates over at most {MAX_ACTIVE} active units and {MAX_SUPPORTS:,} "
            f"supports ({FEW_ACTIVE} units where there are at most {FEW_SUPPORTS} supports); here "
            f"they are {most} and {count:,}: use gibbs, or a smaller max_active"
        )
    return count


def integrate_supports(
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    options: ExactOptions,
) -> ExactResult:
    """p(h | x) of spikes and log-quadratic slabs, by integrals over the supports that matter.

    Supports are visited in descending order of a proved upper bound U_A on their integral
    (`support_bound`), until what the rest could add is below 5e-4 of the evidence. Each integral is
    taken over a box, around which at most so much is proved to lie (`support_zoom`). With L the
    evidence found less its integration error and U all that is proved of the rest, the bounds of
    supports and of what lies around boxes, the posterior mass left out is at most U / (L + U):
    `unvisited_mass`. Where more of some unit's second moment than of the mass may lie around a
    support's box (relative to that found in it, both about the mode), that counts instead; moments
    of supports not visited are left out, and bounded by nothing here.

    `integration_error` is the sum over all cells of |coarse - fine| of two quadrature rules, in
    mass and moments, and of what steep rows may hide from both, over the whole integral; the finer
    rule's result is given and nothing cancels in the sum. It is an estimate, no proof.

    Arora, Liang and Ma 2015 (arXiv:1511.05653) give the model; the integrals and bounds are ours.
    """
    laws = unit_laws(model.sparse_prior)
    lengths = row_lengths(model.layers[0], x)
    key = stream(options.seed, "exact/draws")

    def solve(number, row):
        rows = gather_terms(model.layers[0], row, lengths)
        return _solve(jax.random.fold_in(key, number), model, laws, rows, options)

    return solve_each(x, solve, options.progress)


def unit_laws(prior: SparsePrior) -> UnitLaws:
    """The prior of every unit, the bound on the number of active units left to the supports."""
    parts = [jnp.broadcast_to(leaf, (prior.n_hidden,)) for leaf in prior.log_quadratic_slab]
    log_on = jax.nn.log_sigmoid(prior.inclusion_logit)
    return UnitLaws(
        log_off=jax.nn.log_sigmoid(-prior.inclusion_logit),
        log_density=log_on + parts[0],
        slope=parts[1],
        curvature=parts[2],
        log_on=log_on,
    )


def _solve(
    key: PRNGKeyArray,
    model: LayeredModel,
    laws: UnitLaws,
    rows: RowTerms,
    options: ExactOptions,
) -> ExactResult:
    """One observation, arrays without the axis `obs`."""
    prior = model.sparse_prior
    fewest, most = prior.active_range
    supports = [list_supports(prior.n_hidden, size) for size in range(fewest, most + 1)]
    problems = [
        jax.tree.map(np.asarray, make_problems(rows, laws, support)) for support in supports
    ]
    rows = rows.alone()
    parts, log_rest = _visit(problems, supports, rows)
    error = refine(parts, rows, ERROR_TARGET)
    moments = [measure(part) for part in parts]
    log_total = float(log_sum(np.concatenate([one.log_mass for one in moments])))
    units = [part.units for part in parts]
    mean, var, inclusion_prob = combine_moments(units, moments, prior.n_hidden, log_total)
    num_top = min(options.num_top, sum(map(len, supports)))
    top_states, top_log_prob = heaviest_supports(units, moments, prior.n_hidden, log_total, num_top)
    return ExactResult(
        mean=mean,
        var=var,
        inclusion_prob=inclusion_prob,
        log_evidence=np.asarray(log_total - float(prior.log_support_normaliser)),
        top_states=top_states,
        top_log_prob=top_log_prob,
        unvisited_mass=share_left_out(
            [np.atleast_1d(log_rest), *log_outside(parts)], log_total, error
        ),
        integration_error=np.asarray(error),
        draws=draw_from_cells(key, parts, rows, prior.n_hidden, options.num_draws),
    )


def _visit(
    problems: list[SupportProblem],
    supports: list[Int[np.ndarray, "support active"]],
    rows: RowTerms,
) -> tuple[list[Part], float]:
    """Integrates supports in descending order of bound.

    Returns:
        Those visited, a part for every size, and log U of the rest.
    """
    bounds = [_bounds(one, rows) for one in problems]
    sizes = np.concatenate([np.full(len(bound), place) for place, bound in enumerate(bounds)])
    numbers = np.concatenate([np.arange(len(bound)) for bound in bounds])
    every = np.concatenate(bounds)
    order = np.argsort(-every, kind="stable")
    # log of the sum of the bounds from each place in the order on
    rest = np.append(np.logaddexp.accumulate(every[order][::-1])[::-1], -np.inf)
    enough = math.log(SHARE_OF_SUPPORTS * UNVISITED_TARGET)
    visited: list[list[Part]] = [[] for _ in problems]
    log_total, start = -np.inf, 0
    while start < len(order) and not rest[start] < log_total + enough:
        end = min(start + NUM_VISITED_AT_ONCE, len(order))
        for place, one in enumerate(problems):
            picked = numbers[order[start:end][sizes[order[start:end]] == place]]
            if picked.size:
                chosen = jax.tree.map(lambda leaf, at=picked: leaf[at], one)
                part = integrate_part(chosen, supports[place][picked], rows)
                visited[place].append(part)
                log_total = np.logaddexp(log_total, log_sum(part.cells.log_mass))
        start = end
    return [join_parts(parts) for parts in visited if parts], float(rest[start])


def _bounds(problems: SupportProblem, rows: RowTerms) -> np.ndarray:
    """Log upper bounds on the integrals; infinite for h = 0, which is always visited."""
    if not problems.linear.shape[1]:
        return np.full(len(problems.constant), np.inf)
    bound = lambda one, _, *rest: bound_problems(one, *rest)  # noqa: E731
    return map_problems(bound, problems, (rows,))
