"""Exact posteriors under a continuous slab: integrals over supports, in order of promise."""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from probrev.evidence import Evidence, count_rows, gather_evidence
from probrev.inference.adaptive_integral import log_sum, refine, relative_error
from probrev.inference.exact_result import ExactResult, stack_results
from probrev.inference.silence_curvature import curvature_range
from probrev.inference.support_bound import bound_problems
from probrev.inference.support_draws import sample_problems
from probrev.inference.support_integral import (
    Coordinates,
    Integrals,
    integrate_problems,
    locate,
    map_problems,
)
from probrev.inference.support_problem import (
    SupportProblem,
    UnitLaws,
    list_supports,
    make_problems,
)
from probrev.layered_model import LayeredModel
from probrev.priors import SparsePrior, check_spike_and_slab
from probrev.progress import Progress
from probrev.slabs import LogQuadraticSlab

MAX_ACTIVE = 4
MAX_SUPPORTS = 2**17
UNVISITED_TARGET = 5e-4
ERROR_TARGET = 1e-4
NUM_VISITED_AT_ONCE = 256


class _Visited(NamedTuple):
    """The supports of one size that were integrated, and what came out."""

    numbers: np.ndarray
    problems: SupportProblem
    coordinates: Coordinates
    integrals: Integrals


def check_continuous(model: LayeredModel) -> int:
    """Number of supports; raises ValueError where they cannot be integrated over."""
    prior = model.sparse_prior
    check_spike_and_slab("exact, over a continuous slab,", prior)
    if not isinstance(prior.tilting_slab, LogQuadraticSlab):
        raise ValueError(
            f"a prior with slab {type(prior.slab).__name__} has no finite list of states, and "
            "exact integrates over HalfNormal, Exponential and TruncatedNormal(low=0) slabs only: "
            "use gibbs, or a FiniteSlab"
        )
    fewest, most = prior.active_range
    count = sum(math.comb(prior.n_hidden, size) for size in range(fewest, most + 1))
    if most > MAX_ACTIVE or count > MAX_SUPPORTS:
        raise ValueError(
            f"a prior with slab {type(prior.slab).__name__} has no finite list of states, and "
            f"exact integrates over at most {MAX_ACTIVE} active units and {MAX_SUPPORTS:,} "
            f"supports; here they are {most} and {count:,}: use gibbs, or a smaller max_active"
        )
    return count


def integrate_supports(
    model: LayeredModel,
    x: Float[np.ndarray, "obs visible"],
    *,
    num_draws: int,
    num_top: int,
    draw_seed: int,
    progress: Progress | None,
) -> ExactResult:
    """p(h | x) of spikes and log-quadratic slabs, by integrals over the supports that matter.

    Supports are visited in descending order of a proved upper bound U_A on their integral
    (`support_bound`), until what the rest could add is below 5e-4 of the evidence. With L the
    evidence visited less its integration error and U the bounds' sum over the rest, the posterior
    mass of the rest is at most U / (L + U): `unvisited_mass`, 0 where all supports are visited.
    `integration_error` is the share-weighted relative difference between two quadrature rules, in
    each support's mass and moments; the finer rule's result is given, so it overstates the error.
    Both rules leave out what lies e^-15 below the peak, which no comparison sees: relative 1e-6 of
    a Gaussian tail's moments, 1e-4 of an exponential tail's second moment.
    Moments leave the rest out. Draws are described in `support_draws`.

    Arora, Liang and Ma 2015 (arXiv:1511.05653) give the model; the integrals and bounds are ours.
    """
    laws = unit_laws(model.sparse_prior)
    num_rows = count_rows(model.layers[0], int((np.asarray(x) == 0).sum(1).max()))
    each = []
    for row in x:
        rows = gather_evidence(model.layers[0], row, num_rows)
        key = jax.random.fold_in(jax.random.key(draw_seed), len(each))
        each.append(_solve(key, model, laws, rows, num_draws, num_top))
        if progress is not None:
            progress(len(each), len(x))
    return stack_results(each)


def unit_laws(prior: SparsePrior) -> UnitLaws:
    """The prior of every unit, the bound on the number of active units left to the supports."""
    slab = prior.tilting_slab
    assert isinstance(slab, LogQuadraticSlab)
    parts = [jnp.broadcast_to(leaf, (prior.n_hidden,)) for leaf in slab]
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
    rows: Evidence,
    num_draws: int,
    num_top: int,
) -> ExactResult:
    """One observation, arrays without the axis `obs`."""
    prior = model.sparse_prior
    steepest, kappa = curvature_range(float(model.layers[0].keep_prob))
    fewest, most = prior.active_range
    supports = [list_supports(prior.n_hidden, size) for size in range(fewest, most + 1)]
    problems = [
        jax.tree.map(np.asarray, make_problems(rows, laws, support)) for support in supports
    ]
    visited, log_rest = _visit(problems, rows, steepest, kappa)
    found = [part.integrals for part in visited]
    refine(
        [part.problems for part in visited],
        [part.coordinates for part in visited],
        found,
        rows,
        ERROR_TARGET,
    )
    error = relative_error(found)
    log_total = float(log_sum(np.concatenate([one.log_mass for one in found])))
    log_least = log_total + math.log1p(-min(error, 0.5))
    unvisited = float(np.exp(log_rest - np.logaddexp(log_least, log_rest)))
    log_normaliser = float(prior.log_support_normaliser)
    return _summarize(
        key, supports, visited, rows, prior.n_hidden, log_total, num_draws, num_top
    )._replace(
        log_evidence=np.asarray(log_total - log_normaliser),
        unvisited_mass=np.asarray(unvisited),
        integration_error=np.asarray(error),
    )


def _visit(
    problems: list[SupportProblem], rows: Evidence, steepest: float, kappa: float
) -> tuple[list[_Visited], float]:
    """Integrates supports in descending order of bound; what was visited, and log U of the rest."""
    bounds = [
        map_problems(bound_problems, one, (rows, steepest, kappa), chunk=128)
        if one.linear.shape[1]
        else np.full(len(one.constant), np.inf)
        for one in problems
    ]
    sizes = np.concatenate([np.full(len(bound), place) for place, bound in enumerate(bounds)])
    numbers = np.concatenate([np.arange(len(bound)) for bound in bounds])
    every = np.concatenate(bounds)
    order = np.argsort(-every, kind="stable")
    # log of the sum of the bounds from each place in the order on
    rest = np.append(np.logaddexp.accumulate(every[order][::-1])[::-1], -np.inf)
    visited: list[list[_Visited]] = [[] for _ in problems]
    log_total, start = -np.inf, 0
    while start < len(order) and not rest[start] < log_total + math.log(UNVISITED_TARGET):
        end = min(start + NUM_VISITED_AT_ONCE, len(order))
        for place, one in enumerate(problems):
            picked = order[start:end][sizes[order[start:end]] == place]
            if picked.size:
                part = _integrate(one, numbers[picked], rows, steepest)
                visited[place].append(part)
                log_total = np.logaddexp(log_total, log_sum(part.integrals.log_mass))
        start = end
    joined = [
        jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts) for parts in visited if parts
    ]
    return joined, float(rest[start])


def _integrate(
    problems: SupportProblem, numbers: np.ndarray, rows: Evidence, steepest: float
) -> _Visited:
    part = jax.tree.map(lambda leaf: leaf[numbers], problems)
    coordinates = locate(part, rows, steepest)
    return _Visited(numbers, part, coordinates, integrate_problems(part, coordinates, rows))


def _summarize(
    key: PRNGKeyArray,
    supports: list[np.ndarray],
    visited: list[_Visited],
    rows: Evidence,
    n_hidden: int,
    log_total: float,
    num_draws: int,
    num_top: int,
) -> ExactResult:
    """Moments over the supports visited, the heaviest of them, and draws."""
    by_size = {support.shape[1]: support for support in supports}
    units = [by_size[part.integrals.mean.shape[1]][part.numbers] for part in visited]
    sums, means, log_probs = np.zeros((3, n_hidden)), [], []
    for unit, part in zip(units, visited, strict=True):
        one = part.integrals
        log_probs.append(one.log_mass - log_total)
        share = np.exp(log_probs[-1])[:, None]
        for total, value in zip(sums, (one.mean, one.second, np.ones_like(one.mean)), strict=True):
            np.add.at(total, unit, share * value)
        means.append(np.zeros((len(unit), n_hidden)))
        np.put_along_axis(means[-1], unit, one.mean, axis=1)
    mean, second, active = sums
    log_prob = np.concatenate(log_probs)
    num_supports = sum(map(len, supports))
    top = np.full(min(num_top, num_supports), -np.inf)
    order = np.argsort(-log_prob, kind="stable")[: len(top)]
    top[: len(order)] = log_prob[order]
    top_states = np.zeros((len(top), n_hidden))
    top_states[: len(order)] = np.concatenate(means)[order]
    return ExactResult(
        mean=mean,
        # A difference of moments: rounding takes it below 0 where h is all but certain.
        var=np.maximum(second - mean**2, 0),
        inclusion_prob=active,
        log_evidence=np.asarray(log_total),
        top_states=top_states,
        top_log_prob=top,
        unvisited_mass=np.zeros(()),
        integration_error=np.zeros(()),
        draws=_draw(key, units, visited, rows, log_prob, n_hidden, num_draws),
    )


def _draw(
    key: PRNGKeyArray,
    units: list[np.ndarray],
    visited: list[_Visited],
    rows: Evidence,
    log_prob: np.ndarray,
    n_hidden: int,
    num_draws: int,
) -> Float[np.ndarray, "draw hidden"]:
    """A support by its share, then its active units."""
    key_support, key_values = jax.random.split(key)
    cumulative = np.cumsum(np.exp(log_prob))
    uniform = np.asarray(jax.random.uniform(key_support, (num_draws,))) * cumulative[-1]
    place = np.minimum(np.searchsorted(cumulative, uniform, side="right"), len(log_prob) - 1)
    keys = jax.random.split(key_values, num_draws)
    starts = itertools.accumulate([0, *map(len, units)])
    h = np.zeros((num_draws, n_hidden))
    for start, unit, part in zip(starts, units, visited, strict=False):
        picked = np.flatnonzero((place >= start) & (place < start + len(unit)))
        if picked.size and unit.shape[1]:
            within = place[picked] - start
            problems = jax.tree.map(lambda leaf, at=within: leaf[at], part.problems)
            modes = part.coordinates.center[within]
            drawn = map_problems(
                lambda args, rows: sample_problems(*args, rows),
                (keys[picked], problems, modes),
                (rows,),
                chunk=128,
            )
            h[picked[:, None], unit[within]] = drawn
    return h
