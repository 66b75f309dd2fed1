"""When two posteriors agree: the one definition, used by every test and report."""

from enum import StrEnum
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float

from probrev.plumbing import door
from probrev.plumbing.readable import readable
from probrev.plumbing.refusal import Refusal
from probrev.plumbing.streams import generator
from probrev.posterior.convergence import ess_of_mean
from probrev.posterior.energy_test import Pair, energy_test
from probrev.posterior.posterior import Kind, Posterior
from probrev.posterior.thresholds import (
    Values,
    divergence_from_known,
    divergence_from_pooled,
    effective_sizes,
    place_thresholds,
)

# Probability that perfect posteriors disagree: at any threshold, and jointly.
LEVEL = 1e-3
# What an exact inclusion probability may be off by besides the errors that it reports.
ROUNDING = 1e-7
# Markov chains are thinned by so many times N / ESS, to draws that are independent ...
THINNING = 3
# ... of which fewer than this are too few, and more than that are left out to save time.
JOINT_MIN, JOINT_MAX = 100, 1200
# As many draws of either posterior and each of 32 observations may all be different.
JOINT_STATES, JOINT_OBS = 400, 32


class Outcome(StrEnum):
    """Whether two posteriors agree.

    - `AGREES`: neither the thresholds nor the joint test tell them apart.
    - `DISAGREES`: one of them does.
    - `UNCHECKED`: neither does, but at least one of them had nothing to go by.
    """

    AGREES = "agrees"
    DISAGREES = "disagrees"
    UNCHECKED = "unchecked"


@readable
class Agreement(NamedTuple):
    """How two posteriors of the same x compare; arrays have the dim obs.

    Attributes:
        outcome: the answer.
        reason: in words, which unit, threshold and observation tell them apart, or the joint test;
            or what could not be checked. Empty where they agree and all was checked.
        threshold_excess: largest divergence over a unit's thresholds, in units of its bound:
            agreement is <= 1. NaN where the draws of an observation can tell nothing.
        worst_unit: the unit in which it is; -1 where there is none.
        worst_threshold: the threshold at which it is.
        joint_p: p-value of the joint test, one for all observations; NaN where it had none.
        joint_contribution: what each observation adds to that test's z-score; NaN where it is left
            out, its draws being too few.
        total_variation: between the supports drawn from both.
        total_variation_floor: the same between as many exact draws: what agreement looks like.
        inclusion_gap: largest |p - q| over units of the inclusion probabilities, without a
            tolerance: the error of an approximation.
    """

    outcome: Outcome
    reason: str
    threshold_excess: xr.DataArray
    worst_unit: xr.DataArray
    worst_threshold: xr.DataArray
    joint_p: float
    joint_contribution: xr.DataArray
    total_variation: xr.DataArray
    total_variation_floor: xr.DataArray
    inclusion_gap: xr.DataArray

    @property
    def agrees(self) -> bool:
        """Whether they were checked and agree."""
        return self.outcome is Outcome.AGREES

    @property
    def checked(self) -> xr.DataArray:
        """Whether an observation was checked, by its thresholds or jointly, (obs,)."""
        return self.threshold_excess.notnull() | self.joint_contribution.notnull()


@door.guard(
    posterior=door.instance_of(Posterior, "a probrev.Posterior"),
    reference=door.instance_of(Posterior, "a probrev.Posterior"),
    seed=door.seed,
)
def measure_agreement(posterior: Posterior, reference: Posterior, *, seed: int = 0) -> Agreement:
    """Holds the draws of one posterior against another, on the observations that both cover.

    Two tests, each failed by perfect posteriors with probability 1e-3.

    Thresholds: P(h_i > c) at c = 0 and at the quantiles .1, .25, .5, .75, .9 of the reference's
    h_i > 0. With p from an exact reference they agree if ESS KL(p' || p) <= log(2 N / .001), N the
    number of comparisons, all observations together. Only its inclusion probabilities are exact:
    elsewhere its draws are a sampler's, and two samplers agree if the sum of ESS KL(p' || pooled p)
    over both is at most twice that. See `effective_sizes` for the ESS.

    Jointly: an energy distance, see `energy_test`, of 100 to 1200 draws of either posterior and
    each observation, fewer of more observations and where more are different (`_bound_states`).
    Markov chains are thinned by 3 N / ESS first, ESS the smallest over values, indicators and |h|;
    an observation with fewer than 100 draws left is left out.

    Draws that are independent, by their method or by declaration, count in full. An approximation
    is never the reference, and neither test is made of it: both are about Monte Carlo error, and
    what is told of it is its own error, `inclusion_gap`. Total variation is biased upwards by
    noise, so it is given beside the value that iid draws of the same number give.

    Args:
        posterior: the one to judge.
        reference: exact, or another sampler.
        seed: of permutations, and of the resampling for the floor.

    Raises:
        ValueError: no observation in common, or the reference is an approximation.

    Source: Székely and Rizzo 2004 (energy); Besag and Clifford 1991 (permutations).
    """
    if reference.kind is Kind.APPROXIMATE:
        raise Refusal(
            f"{reference.method} is an approximation, which no posterior can be held against: "
            "pass it first, and an exact or sampled posterior as the reference"
        )
    common = np.intersect1d(posterior.obs, reference.obs)
    if not common.size:
        raise Refusal("the two posteriors have no observation in common")
    approximate = posterior.kind is Kind.APPROXIMATE
    looks = [_BLIND if approximate else _look(posterior, reference, each) for each in common]
    joint, contribution = _test_jointly(looks, seed)
    excess, unit, threshold = _find_worst(looks)
    inclusion = [one.inclusion_prob.sel(obs=common) for one in (posterior, reference)]
    distance, floor = _support_distances(posterior, reference, common, seed)
    labelled = [
        xr.DataArray(values, coords={"obs": common})
        for values in (excess, unit, threshold, contribution, distance, floor)
    ]
    excess, unit, threshold, contribution, distance, floor = labelled
    outcome = _decide(excess, joint)
    reason = f"{posterior.method} is an approximation, which has an error instead"
    if not approximate:
        reason = _explain(outcome, excess, unit, threshold, joint, contribution)
    gap = xr.DataArray(np.abs(inclusion[0] - inclusion[1])).max("hidden")
    return Agreement(
        outcome, reason, excess, unit, threshold, joint, contribution, distance, floor, gap
    )


class _Look(NamedTuple):
    """What both posteriors say of one observation.

    Attributes:
        thresholds: of each unit; NaN where there is none.
        divergence: at each, to be held against log(2 N / .001); NaN where unchecked.
        pair: independent draws of both, or None where they are too few.
    """

    thresholds: Values
    divergence: Values
    pair: Pair | None


_BLIND = _Look(np.full((1, 1), np.nan), np.full((1, 1), np.nan), None)


def _look(posterior: Posterior, reference: Posterior, number: int) -> _Look:
    """Compares thresholds of one observation, and thins its draws."""
    dims = ("chain", "draw", "hidden")
    both = (posterior, reference)
    draws = [one.draws.sel(obs=number).transpose(*dims).to_numpy() for one in both]
    thresholds = place_thresholds(draws[1].reshape(-1, draws[1].shape[-1]))
    above = [values[..., None] > thresholds for values in draws]
    sizes = [effective_sizes(of, one.sampling) for of, one in zip(above, both, strict=True)]
    shares = [values.mean((0, 1)) for values in above]
    # Two samplers have twice the bound.
    divergence = divergence_from_pooled((shares[0], shares[1]), (sizes[0], sizes[1])) / 2
    if reference.kind is Kind.EXACT:
        known = reference.tree["exact"].to_dataset().sel(obs=number)
        error = float(known["unvisited_mass"] + known["integration_error"]) + ROUNDING
        at_zero = (shares[0][:, 0], sizes[0][:, 0], known["inclusion_prob"].to_numpy(), error)
        divergence[:, 0] = divergence_from_known(*at_zero)
    divergence = np.where(np.isnan(thresholds), np.nan, divergence)
    thinned = [_thin(one, number, *parts) for one, *parts in zip(both, draws, sizes, strict=True)]
    pair = None if thinned[0] is None or thinned[1] is None else (thinned[0], thinned[1])
    return _Look(thresholds, divergence, pair)


def _thin(
    posterior: Posterior,
    number: int,
    draws: Float[np.ndarray, "chain draw hidden"],
    sizes: Values,
) -> Float[np.ndarray, "sample hidden"] | None:
    """Draws that are as good as independent; None if fewer than 100 are left."""
    if posterior.sampling == "mcmc":
        diagnostics = posterior.tree["diagnostics"].to_dataset()
        moving = float(diagnostics["ess_bulk"].sel(obs=number).min())
        length = float(ess_of_mean(np.linalg.norm(draws, axis=-1, keepdims=True))[0])
        smallest = np.fmin.reduce([moving, length, *sizes.ravel()])
        if np.isnan(smallest):
            return None
        step = np.ceil(THINNING * draws.shape[0] * draws.shape[1] / smallest)
        draws = draws[:, :: int(step)]
    rows = draws.reshape(-1, draws.shape[-1])
    return None if len(rows) < JOINT_MIN else _spread_out(rows, JOINT_MAX)


def _spread_out(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)]


def _find_worst(looks: list[_Look]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Largest divergence of each observation in units of its bound, its unit and its threshold."""
    num_comparisons = sum((~np.isnan(look.divergence)).sum() for look in looks)
    bound = np.log(2 * max(1, num_comparisons) / LEVEL)
    rows = []
    for look in looks:
        if np.isnan(look.divergence).all():
            rows.append((np.nan, -1, np.nan))
            continue
        at = np.unravel_index(np.nanargmax(look.divergence), look.divergence.shape)
        rows.append((look.divergence[at] / bound, at[0], look.thresholds[at]))
    excess, unit, threshold = zip(*rows, strict=True)
    return np.array(excess), np.array(unit), np.array(threshold)


def _test_jointly(looks: list[_Look], seed: int) -> tuple[float, np.ndarray]:
    """The p-value of all observations together, and what each adds to the z-score."""
    kept = [index for index, look in enumerate(looks) if look.pair is not None]
    contribution = np.full(len(looks), np.nan)
    if not kept:
        return np.nan, contribution
    pairs = [_bound_states(look.pair, len(kept)) for look in looks if look.pair is not None]
    found = energy_test(generator(seed, "agreement/energy"), pairs)
    contribution[kept] = found.contribution
    return found.p_value, contribution


def _bound_states(pair: Pair, num_obs: int) -> Pair:
    """As many draws of a pair as the joint test has time for.

    Its time is that of squared numbers of distinct draws. At equal time, and equal power against
    the same error in every observation, those fall as the root of the number of observations.
    """
    most = min(JOINT_MAX, max(JOINT_MIN, int(JOINT_STATES * np.sqrt(JOINT_OBS / num_obs))))
    size = JOINT_MAX
    while size > most:
        first, second = (_spread_out(rows, size) for rows in pair)
        if len(np.unique(np.concatenate([first, second]), axis=0)) <= 2 * most:
            return first, second
        size //= 2
    return _spread_out(pair[0], most), _spread_out(pair[1], most)


def _decide(excess: xr.DataArray, joint_p: float) -> Outcome:
    """What both tests say together."""
    if (excess > 1).any() or joint_p <= LEVEL:
        return Outcome.DISAGREES
    if excess.isnull().all() or np.isnan(joint_p):
        return Outcome.UNCHECKED
    return Outcome.AGREES


def _explain(
    outcome: Outcome,
    excess: xr.DataArray,
    unit: xr.DataArray,
    threshold: xr.DataArray,
    joint_p: float,
    contribution: xr.DataArray,
) -> str:
    """The outcome in words, with the figures behind it."""
    if outcome is not Outcome.DISAGREES:
        return _explain_gaps(excess, contribution)
    parts, total = [], excess.sizes["obs"]
    if (excess > 1).any():
        at = int(np.nanargmax(excess.to_numpy()))
        parts.append(
            f"P(h_{int(unit[at])} > {float(threshold[at]):.3g}) of observation "
            f"{int(excess['obs'][at])} is off by {float(excess[at]):.3g} times its bound, as "
            f"thresholds are on {int((excess > 1).sum())} of {total} observations"
        )
    if joint_p <= LEVEL:
        most = int(contribution["obs"][int(np.nanargmax(contribution.to_numpy()))])
        parts.append(f"jointly p = {joint_p:.1g}, most at observation {most}")
    return "; ".join(parts)


def _explain_gaps(excess: xr.DataArray, contribution: xr.DataArray) -> str:
    """What could not be checked, and why."""
    words, total = [], excess.sizes["obs"]
    if silent := int(excess.isnull().sum()):
        words.append(f"too few switches to check any threshold on {silent} of {total} observations")
    if short := int(contribution.isnull().sum()):
        words.append(
            f"fewer than {JOINT_MIN} independent draws for the joint test on {short} of {total} "
            "observations"
        )
    return "; ".join(words)


def _support_distances(
    posterior: Posterior, reference: Posterior, common: np.ndarray, seed: int
) -> tuple[xr.DataArray, xr.DataArray]:
    """Total variation between drawn supports, and between two halves of the reference."""
    rng = generator(seed, "agreement/supports")
    distances = []
    for number in common:
        own, other = (_supports(one, number) for one in (posterior, reference))
        own, other = rng.permutation(own), rng.permutation(other)
        half = min(len(own), len(other) // 2)
        judge = other[half : 2 * half]
        distances.append([_distance(own[:half], judge), _distance(other[:half], judge)])
    own, other = np.asarray(distances).T
    coords = {"obs": common}
    return xr.DataArray(own, coords=coords), xr.DataArray(other, coords=coords)


def _supports(posterior: Posterior, number: int) -> np.ndarray:
    """The support of every draw, one scalar each."""
    active = (posterior.draws.sel(obs=number) > 0).to_numpy()
    rows = np.packbits(active.reshape(-1, active.shape[-1]), axis=1)
    return np.ascontiguousarray(rows).view(f"V{rows.shape[1]}")[:, 0]


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Total variation between the empirical laws of two equally long lists."""
    _, code = np.unique(np.concatenate([first, second]), return_inverse=True)
    counts = [np.bincount(part, minlength=code.max() + 1) for part in np.split(code, 2)]
    return float(np.abs(counts[0] - counts[1]).sum() / (2 * len(first)))
