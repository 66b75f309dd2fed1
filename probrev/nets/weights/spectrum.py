"""The singular values of a weight matrix beside the law of Marchenko and Pastur."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from probrev.nets.weights.entries import distance
from probrev.numerics.marchenko_pastur import MarchenkoPastur
from probrev.plumbing.readable import readable

TOP_SHARE = 0.01
MOST_ROUNDS = 100


@readable
class Spectrum(NamedTuple):
    """How the eigenvalues of W^T W / N are distributed, N the longer side, unit entry variance.

    Of the longer side, so that none is 0 by shape alone: these are the squared singular values.
    "Outside" is beyond the edges with the allowance of `MarchenkoPastur.reach`.

    Attributes:
        mp_ks: Kolmogorov-Smirnov distance from the law with the variance of the entries.
        energy_outside: share of the energy (sum of squares) outside that law's edges.
        num_outside: eigenvalues there.
        bulk_variance: variance at which the law's median is that of the bulk; 1 if all is bulk.
        bulk_ks: distance of the eigenvalues not above that law's edges from it.
        bulk_energy_outside: share of the energy outside the edges of that law.
        bulk_num_below: eigenvalues below them.
        bulk_num_above: eigenvalues above: spikes.
        top_energy: share of the energy in the largest hundredth of the singular values.
        gram_norm: spectral norm of W^T W / n - I, n the visible units.
        gram_off_diagonal: root mean square of the entries of W^T W / n off the diagonal.
    """

    mp_ks: float
    energy_outside: float
    num_outside: int
    bulk_variance: float
    bulk_ks: float
    bulk_energy_outside: float
    bulk_num_below: int
    bulk_num_above: int
    top_energy: float
    gram_norm: float
    gram_off_diagonal: float


def scaled_eigenvalues(weights: Float[np.ndarray, "visible hidden"]) -> Float[np.ndarray, " short"]:
    """Eigenvalues of W^T W / N or W W^T / N, whichever is smaller, W at unit entry variance.

    Args:
        weights: W; its mean is not removed.

    Returns:
        Squared singular values over the longer side N, increasing.
    """
    scaled = weights / weights.std()
    if scaled.shape[0] < scaled.shape[1]:
        scaled = scaled.T
    gram = scaled.T @ scaled / len(scaled)
    return np.maximum(np.linalg.eigvalsh(gram), 0.0)


def measure_spectrum(
    weights: Float[np.ndarray, "visible hidden"], eigenvalues: Float[np.ndarray, " short"]
) -> Spectrum:
    """Holds the spectrum of W against the law of a matrix of iid entries.

    Args:
        weights: W.
        eigenvalues: what `scaled_eigenvalues` returned for it.
    """
    short, long = sorted(weights.shape)
    raw = MarchenkoPastur(short / long)
    bulk = fit_bulk(eigenvalues, long)
    below, above = _outside(eigenvalues, raw, long)
    bulk_below, bulk_above = _outside(eigenvalues, bulk, long)
    energy = eigenvalues.sum()
    top = max(1, round(TOP_SHARE * short))
    norm, off_diagonal = _gram(weights, eigenvalues)
    return Spectrum(
        mp_ks=distance(raw.cdf(eigenvalues)),
        energy_outside=float(eigenvalues[below | above].sum() / energy),
        num_outside=int((below | above).sum()),
        bulk_variance=bulk.variance,
        bulk_ks=distance(bulk.cdf(eigenvalues[~bulk_above])),
        bulk_energy_outside=float(eigenvalues[bulk_below | bulk_above].sum() / energy),
        bulk_num_below=int(bulk_below.sum()),
        bulk_num_above=int(bulk_above.sum()),
        top_energy=float(eigenvalues[-top:].sum() / energy),
        gram_norm=norm,
        gram_off_diagonal=off_diagonal,
    )


def fit_bulk(eigenvalues: Float[np.ndarray, " short"], long: int) -> MarchenkoPastur:
    """The law whose median is that of the eigenvalues not above its own edge.

    From all eigenvalues, those above the edge are left out and the median is taken anew until none
    is: a few large ones do not matter, however large they are.

    Args:
        eigenvalues: increasing.
        long: longer side of the matrix.
    """
    short = eigenvalues.size
    unit = MarchenkoPastur(short / long)
    kept = eigenvalues
    law = unit
    for _ in range(MOST_ROUNDS):
        variance = max(float(np.median(kept)) / unit.median, np.finfo(float).tiny)
        law = MarchenkoPastur(unit.aspect, variance)
        within = eigenvalues[eigenvalues <= law.reach(short, long)[1]]
        if within.size in (kept.size, 0):
            break
        kept = within
    return law


def expected_gram(n_visible: int, n_hidden: int) -> tuple[float, float]:
    """What `gram_norm` and `gram_off_diagonal` are near for Gaussian W.

    The norm: 2 sqrt(m/n) + m/n; the entries off the diagonal: 1 / sqrt(n).

    Args:
        n_visible: n.
        n_hidden: m.
    """
    ratio = n_hidden / n_visible
    return 2 * math.sqrt(ratio) + ratio, 1 / math.sqrt(n_visible)


def _outside(eigenvalues: np.ndarray, law: MarchenkoPastur, long: int):
    lower, upper = law.reach(eigenvalues.size, long)
    return eigenvalues < lower, eigenvalues > upper


def _gram(weights: np.ndarray, eigenvalues: np.ndarray) -> tuple[float, float]:
    """Norm and off-diagonal size of W^T W / n - I, from the eigenvalues and the columns' norms."""
    n_visible, n_hidden = weights.shape
    own = eigenvalues * (max(weights.shape) / n_visible)
    norm = max(abs(own[-1] - 1), abs(own[0] - 1), float(n_hidden > n_visible))
    if n_hidden < 2:
        return float(norm), 0.0
    diagonal = (weights**2).sum(0) / (n_visible * weights.var())
    rest = max(0.0, float((own**2).sum() - (diagonal**2).sum()))
    return float(norm), math.sqrt(rest / (n_hidden * (n_hidden - 1)))
