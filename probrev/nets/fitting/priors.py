"""Priors fitted to real activations."""

from typing import Literal, overload

import numpy as np
import numpyro.distributions as dist
from jax.typing import ArrayLike
from jaxtyping import Float
from scipy.stats import norm

from probrev.model.priors import SpikeAndSlab
from probrev.model.rectified_gaussian import RectifiedGaussian
from probrev.nets.fitting.correlated_prior import fit_correlated
from probrev.plumbing import door
from probrev.plumbing.arrays import check_real
from probrev.plumbing.refusal import Refusal

SlabKind = Literal["truncated_normal", "half_normal", "exponential"]
KINDS = ("truncated_normal", "half_normal", "exponential", "correlated")


@overload
def fit_prior(
    h: Float[ArrayLike, "obs hidden"],
    kind: SlabKind = ...,
    *,
    shared: bool = ...,
) -> SpikeAndSlab: ...


@overload
def fit_prior(
    h: Float[ArrayLike, "obs hidden"],
    kind: Literal["correlated"],
    *,
    pre_activations: Float[ArrayLike, "obs hidden"] | None = ...,
) -> RectifiedGaussian: ...


@door.guard(h=door.finite_array("num_obs", "n_hidden"), shared=door.flag)
def fit_prior(
    h: Float[ArrayLike, "obs hidden"],
    kind: SlabKind | Literal["correlated"] = "truncated_normal",
    *,
    shared: bool = False,
    pre_activations: Float[ArrayLike, "obs hidden"] | None = None,
) -> SpikeAndSlab | RectifiedGaussian:
    """Fits a prior to real activations.

    Independent units, a spike and a slab each: with N observations of which N_i make unit i fire,
    inclusion_prob_i = (N_i + 1/2) / (N + 1), and the slab has the moments of h_i over those N_i and
    one more of average strength, so that a unit that never fires has a prior too: E[h] and E[h^2]
    ("truncated_normal"), E[h^2] ("half_normal") or E[h] ("exponential"), the likeliest slab of its
    kind.

    "correlated": h = max(v, 0), v ~ N(m, S), see `RectifiedGaussian`, m the mean and S the
    covariance of v, shrunk to a multiple of the identity as Ledoit and Wolf (2004) do. From
    `pre_activations`, where they are given; else the v below 0 are drawn along (stochastic EM, 400
    sweeps, seconds for 1000 observations of 100 units), and a unit that fires less than twice is
    independent of the others.

    Args:
        h: real activations, nonnegative, not all 0.
        kind: of the prior; of independent units, kind of slab.
        shared: one inclusion probability and one slab for all independent units.
        pre_activations: v, of which h is the positive part.

    Raises:
        ValueError: h is negative, NaN, infinite or all 0, the kind is unknown, h is not the
            positive part of v, or an argument is of another kind of prior.
    """
    check_real("h", h)
    h = np.asarray(h, dtype=float)
    if kind not in KINDS:
        raise Refusal(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
    if kind == "correlated" and shared:
        raise Refusal("shared is for independent units: a correlated prior has none to share")
    if kind != "correlated" and pre_activations is not None:
        raise Refusal(f"pre_activations are for kind 'correlated'; got kind {kind!r}")
    if h.ndim != 2 or not np.isfinite(h).all() or (h < 0).any():
        raise Refusal(
            "h must have shape (num_obs, n_hidden) and be finite and nonnegative; "
            f"got shape {h.shape}"
        )
    if not h.any():
        raise Refusal("h is 0 throughout: no unit fires, so there is no slab to fit")
    if kind == "correlated":
        if pre_activations is not None:
            check_real("pre_activations", pre_activations)
            pre_activations = np.asarray(pre_activations, dtype=float)
        return fit_correlated(h, pre_activations)
    values = h.reshape(-1, 1) if shared else h
    active = values > 0
    num_active = active.sum(0)
    inclusion_prob = (num_active + 0.5) / (len(values) + 1)
    mean = (values.sum(0) + values[active].mean()) / (num_active + 1)
    mean_square = ((values**2).sum(0) + (values[active] ** 2).mean()) / (num_active + 1)
    if shared:
        inclusion_prob, mean, mean_square = inclusion_prob[0], mean[0], mean_square[0]
    if kind == "half_normal":
        law: dist.Distribution = dist.HalfNormal(np.sqrt(mean_square))
    elif kind == "exponential":
        law = dist.Exponential(1 / mean)
    else:
        loc, scale = fit_truncated_normal(mean, mean_square)
        law = dist.TruncatedNormal(loc, scale, low=0.0)
    return SpikeAndSlab(h.shape[1], inclusion_prob, law)


def fit_truncated_normal(
    mean: Float[ArrayLike, "*unit"], mean_square: Float[ArrayLike, "*unit"]
) -> tuple[np.ndarray, np.ndarray]:
    """The normals N(loc, scale^2) that have these two moments on h > 0: the likeliest ones.

    E[h] = scale (t + phi(t) / Phi(t)) and E[h^2] = scale (scale + t E[h]), t = loc / scale, so
    that E[h^2] / E[h]^2 falls with t alone, from 2 to 1. Beyond the grid of t the nearest one that
    has the mean is returned.

    Args:
        mean: E[h], positive.
        mean_square: E[h^2].
    """
    t = np.linspace(-4, 20, 10_001)
    unit_mean = t + np.exp(norm.logpdf(t) - norm.logcdf(t))
    shape = (1 + t * unit_mean) / unit_mean**2
    mean, mean_square = np.asarray(mean), np.asarray(mean_square)
    fitted = np.interp(mean_square / mean**2, shape[::-1], t[::-1])
    scale = mean / np.interp(fitted, t, unit_mean)
    return fitted * scale, scale
