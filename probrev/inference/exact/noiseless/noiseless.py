"""Exact posteriors without noise under a continuous slab: the points where the equations hold."""

import math
from typing import NamedTuple

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
from probrev.inference.exact.integration.support_problem import list_supports
from probrev.inference.exact.noiseless.noiseless_support import (
    TOLERANCE,
    Equations,
    Solved,
    find_support,
    make_equations,
    solve_supports,
    spans_another,
)
from probrev.model.layered_model import LayeredModel
from probrev.model.priors import SparsePrior, check_spike_and_slab
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import generator

MAX_SUPPORTS = 2**17


class _Points(NamedTuple):
    """The posterior's points and their log weights, whose sum is the evidence."""

    h: Float[np.ndarray, "point hidden"]
    log_weight: Float[np.ndarray, " point"]


class _NoAnswerError(Exception):
    """Why an observation has no posterior made of points; to follow "observation i has"."""


def check_noiseless(model: LayeredModel) -> None:
    """Raises ValueError unless the layer is a rectifier under a spike and a slab."""
    if not model.layers[0].activation.is_rectifier:
        raise Refusal(
            "exact solves a layer with noise_std = 0 only where its activation is relu; here it "
            f"is {model.layers[0].activation}: a small noise_std gives x a density"
        )
    if not model.has_sparse_prior:
        raise Refusal(
            "exact solves a layer with noise_std = 0 only under SpikeAndSlab or KSparse: write the "
            "prior as one of these, or use hmc with a small noise_std"
        )


def check_supports(model: LayeredModel) -> int:
    """The most supports that one observation may need to be tried.

    Raises:
        ValueError: which supports the prior allows is not known.
    """
    prior = model.sparse_prior
    check_spike_and_slab("exact, over a continuous slab,", prior)
    return min(count_supports(prior, prior.active_range[1]), MAX_SUPPORTS)


def count_supports(prior: SparsePrior, most: int) -> int:
    """Number of supports of at most so many units that the prior allows, the empty one left out."""
    sizes = range(max(1, prior.active_range[0]), most + 1)
    return sum(math.comb(prior.n_hidden, size) for size in sizes)


def solve_noiseless(
    model: LayeredModel,
    x: Float[Array, "obs visible"],
    options: ExactOptions,
) -> ExactResult:
    r"""p(h | x) of one ReLU layer without noise and a continuous slab: one point, or a few.

    With S = {x_j > 0}, Z the other rows, a the bias and y = x / gain, W_S h = y_S - a_S holds
    exactly, and a silent row has f_j = 1 where W_j h + a_j <= 0, else 1 - rho. Where W_S determines
    h, it is the solution.
    Elsewhere supports B are tried by size, and the smallest size s that has solutions of positive
    probability has all of the posterior, in points of weight

        p(h_B) rho^{|S|} \prod_Z f_j / (gain^s sqrt det(W_SB^T W_SB)),

    the posterior's limit as noise_std -> 0 (where no W_j h + a_j of Z is 0). Where s < |S| there is
    almost surely one point.

    `log_evidence` is the log of the weights' sum. Where s = |S| it is a density of x over the
    active rows, as with noise; where s < |S| x lies on cones of dimension s, and it is a density
    over their s-dimensional volume. So it may be compared between models or observations only
    where s and |S| are the same.

    The equations hold where ||W_S h + a_S - y_S|| <= 1e-8 (||y_S|| + ||a_S||) in float64; a unit
    that adds less than that is 0; W_j h + a_j <= 0 means at most 1e-8 (||W_j|| ||h|| + |a_j|);
    columns are dependent where unit vectors
    along them have a singular value below 1e-8.

    Raises:
        ValueError: an observation has probability zero, a posterior with continuous pieces, or too
            many supports to try; says which and what to do.

    Source: Arora, Liang and Ma 2015 (arXiv:1511.05653) give the model; the weights are ours.
    """
    rng = generator(options.seed, "exact/draws")

    def solve(number, row):
        try:
            points = _find_points(model, np.asarray(row))
        except _NoAnswerError as error:
            raise Refusal(f"observation {number} has {error}") from None
        return summarize_points(points.h, points.log_weight, rng, options)

    return _trim(solve_each(x, solve, options.progress))


def _find_points(model: LayeredModel, x: Float[np.ndarray, " visible"]) -> _Points:
    """The points of one observation.

    Raises:
        _NoAnswerError: there are none or not only points.
    """
    prior, layer = model.sparse_prior, model.layers[0]
    weights, bias = np.asarray(layer.weights), np.asarray(layer.bias)
    most, active = prior.active_range[1], np.asarray(layer.locate(jnp.asarray(x)).seen)
    if not active.any():
        if most > 0:
            raise _NoAnswerError(
                "no active row: no equation determines h, and its posterior is continuous. A small "
                "noise_std or a FiniteSlab works, or leave such observations out"
            )
        return _weigh(model, x, np.zeros((1, prior.n_hidden)), np.zeros(1))
    equations = make_equations(weights[active], x[active] / float(layer.gain), bias[active])
    if active.sum() >= prior.n_hidden:
        support = find_support(equations)
        if support is not None:
            found = solve_supports(equations, support)
            return _check_possible(_weigh(model, x, found.h, found.log_volume))
    return _search(model, x, equations)


def _search(model: LayeredModel, x: Float[np.ndarray, " visible"], equations: Equations) -> _Points:
    """The points on the smallest supports that have any."""
    prior, num_active = model.sparse_prior, len(equations.y)
    fewest, most = prior.active_range
    # With more units than equations there are no isolated points.
    largest = most if most <= num_active else num_active - 1
    count = count_supports(prior, largest)
    if count > MAX_SUPPORTS:
        raise _NoAnswerError(
            f"{num_active} active rows, which do not determine h by themselves, and {count:,} "
            f"supports to try, of at most {MAX_SUPPORTS:,}: give the prior a smaller max_active, "
            "or use gibbs with a small noise_std"
        )
    for size in range(fewest, largest + 1):
        solved = solve_supports(equations, list_supports(prior.n_hidden, size))
        points = _weigh(model, x, solved.h, solved.log_volume)
        extends = len(points.h) and size < most and _extends(equations, solved)
        if extends or not solved.is_isolated:
            raise _NoAnswerError(
                f"a continuous posterior: on its {num_active} active rows some columns of the "
                "weights depend on each other, so units trade off. A small noise_std works, or "
                "weights without zero or repeated columns"
            )
        if len(points.h):
            return points
    if most > num_active:
        raise _NoAnswerError(
            f"{num_active} active rows, which fewer units do not explain, and the prior allows "
            f"{most} active units: with more units than equations the posterior is continuous. A "
            f"small noise_std works, or a prior of at most {num_active} active units"
        )
    return _check_possible(_Points(np.zeros((0, prior.n_hidden)), np.zeros(0)))


def _extends(equations: Equations, solved: Solved) -> bool:
    """Whether some solution can be moved along a unit that it leaves at 0."""
    return any(spans_another(equations, support) for support in solved.supports)


def _weigh(
    model: LayeredModel,
    x: Float[np.ndarray, " visible"],
    h: Float[np.ndarray, "point hidden"],
    log_volume: Float[np.ndarray, " point"],
) -> _Points:
    """Log weights of solutions; those of probability zero are left out."""
    if not len(h):
        return _Points(h, log_volume)
    layer = model.layers[0]
    seen = np.asarray(layer.locate(jnp.asarray(x)).seen)
    num_active = int(seen.sum())
    keep_prob = float(layer.keep_prob)
    silent, bias = np.asarray(layer.weights)[~seen], np.asarray(layer.bias)[~seen]
    scale = np.linalg.norm(h, axis=1)[:, None] * np.linalg.norm(silent, axis=1) + np.abs(bias)
    num_dropped = (h @ silent.T + bias > TOLERANCE * scale).sum(1)
    log_dropped = math.log1p(-keep_prob) if keep_prob < 1 else -math.inf
    log_silence = np.where(num_dropped > 0, log_dropped, 0.0) * np.maximum(num_dropped, 1)
    log_weight = _log_prior(model.sparse_prior, h) + log_silence - log_volume
    log_weight += num_active * math.log(keep_prob) - (h > 0).sum(1) * math.log(float(layer.gain))
    possible = np.isfinite(log_weight)
    return _Points(h[possible], log_weight[possible])


def _log_prior(prior: SparsePrior, h: Float[np.ndarray, "point hidden"]) -> np.ndarray:
    """Log density of each point, by code compiled for few numbers of points."""
    padding = max(8, 2 ** math.ceil(math.log2(len(h) or 1))) - len(h)
    return np.asarray(_log_probs(prior, np.pad(h, ((0, padding), (0, 0)))))[: len(h)]


@jax.jit
def _log_probs(prior: SparsePrior, h: Float[Array, "point hidden"]) -> Float[Array, " point"]:
    return jax.vmap(prior.log_prob)(h)


def _check_possible(points: _Points) -> _Points:
    if not len(points.h):
        raise _NoAnswerError(
            "probability zero under the model: no h that the prior allows meets its active rows' "
            f"equations to {TOLERANCE:.0e}, relative and in float64, and keeps its silent rows "
            "silent. With real data use a noise_std > 0"
        )
    return points


def _trim(result: ExactResult) -> ExactResult:
    """Leaves out the heaviest states beyond those that some observation has."""
    num_top = int(np.isfinite(result.top_log_prob).sum(1).max())
    return result._replace(
        top_states=result.top_states[:num_top], top_log_prob=result.top_log_prob[:, :num_top]
    )
