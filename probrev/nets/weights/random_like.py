"""Are trained weights like random ones? Entries, spectrum and controls, and a verdict in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from jax.typing import ArrayLike
from jaxtyping import Float, PRNGKeyArray

from probrev.nets.weights.controls import draw_with_values, gaussian_control
from probrev.nets.weights.entries import (
    Entries,
    measure_entries,
    sampling_kurtosis_std,
    score_density,
)
from probrev.nets.weights.spectrum import (
    Spectrum,
    expected_gram,
    measure_spectrum,
    scaled_eigenvalues,
)
from probrev.plumbing import door
from probrev.plumbing.readable import Table, cut, readable
from probrev.plumbing.refusal import Refusal

TRAINED, GAUSSIAN, SPECTRAL = "trained", "gaussian", "spectral"
# The verdict's thresholds, on effects that do not depend on the size of the matrix.
MOST_KURTOSIS = 0.5
MOST_KS = 0.05
MOST_ENERGY_OUTSIDE = 0.05
MOST_SPIKES = 0.25
MOST_INIT_SHARE = 0.5
# Eigenvalues repel each other, so that the sampling error of their distance is of order 1 / their
# number: 99 % of Gaussian matrices of up to 100 eigenvalues are within this over the number.
SAMPLING_KS = 3.0
# Fewer singular values make no spectrum.
FEWEST_VALUES = 16

RANDOM, SPIKED, NOT_RANDOM = "random-like", "spikes on a random bulk", "not random-like"
TOO_SMALL, NOT_GAUSSIAN = "too small to say", ", entries not Gaussian"
THRESHOLDS = (
    f"“{RANDOM.capitalize()}” is said where the singular values are within {MOST_KS:g} of "
    f"Marchenko-Pastur (Kolmogorov-Smirnov distance), with at most {MOST_ENERGY_OUTSIDE:.0%} of "
    f"the energy outside its edges; “{SPIKED}” where at most {MOST_SPIKES:.0%} of them lie above "
    f"the edge of the bulk, and the others are within {MOST_KS:g} of Marchenko-Pastur at the "
    f"bulk's own scale; else “{NOT_RANDOM}”. Entries are Gaussian if their excess kurtosis is "
    f"within ±{MOST_KURTOSIS:g} and their distance at most {MOST_KS:g}. Sampling error is allowed "
    f"for in small matrices; one with fewer than {FEWEST_VALUES} singular values is {TOO_SMALL}."
)


@readable
class Measures(NamedTuple):
    """What is measured of one matrix.

    Attributes:
        entries: beside a Gaussian.
        spectrum: beside the law of Marchenko and Pastur.
        eigenvalues: of W^T W / N at unit entry variance, N the longer side; increasing.
        score_density: of the entries' standard scores, in the bins of `SCORE_EDGES`.
    """

    entries: Entries
    spectrum: Spectrum
    eigenvalues: Float[np.ndarray, " short"]
    score_density: Float[np.ndarray, " bin"]


@readable
@dataclass(frozen=True)
class RandomLike:
    """A weight matrix held against random ones.

    Attributes:
        n_visible: rows.
        n_hidden: columns.
        measures: of "trained", the matrix itself; of "gaussian", iid entries of its shape, mean and
            standard deviation; of "spectral", its singular values between random vectors.
        init_share: share of the variance that the initialisation alone would give; None if it is
            unknown.
        word: "random-like", "spikes on a random bulk", "not random-like" or "too small to say"; the
            first two with ", entries not Gaussian" where that is so. THRESHOLDS says when.
        sentence: the verdict in plain words.
    """

    n_visible: int
    n_hidden: int
    measures: Mapping[str, Measures]
    init_share: float | None
    word: str
    sentence: str

    def __repr__(self) -> str:
        return cut(f"RandomLike, {self.n_visible} x {self.n_hidden}: {self.sentence}")

    def _table(self) -> Table:
        both = {
            name: one.entries._asdict() | one.spectrum._asdict()
            for name, one in self.measures.items()
        }
        return Table(self.sentence, pd.DataFrame(both).rename_axis("measure").reset_index())

    @property
    def trained(self) -> Measures:
        """Those of the matrix itself."""
        return self.measures[TRAINED]

    @property
    def expected_gram(self) -> tuple[float, float]:
        """What `gram_norm` and `gram_off_diagonal` are near for Gaussian weights."""
        return expected_gram(self.n_visible, self.n_hidden)


@door.guard(
    key=door.random_key,
    weights=door.finite_array("n_visible", "n_hidden"),
    init_share=door.optional(door.nonnegative),
)
def random_like(
    key: PRNGKeyArray, weights: ArrayLike, *, init_share: float | None = None
) -> RandomLike:
    """Holds a weight matrix against random ones of its shape, beside two controls.

    Everything is measured at unit entry variance, as the theory has it. Not measured here: whether
    the layer reverses (that takes its activations).

    Args:
        key: random key, of the controls.
        weights: W, (n_visible, n_hidden), finite and not constant.
        init_share: variance that the initialisation gives, over the variance after training, if
            known. A barely trained layer looks random because it is.

    Raises:
        ValueError: weights that are no such matrix, or a negative share.

    Source: the hypothesis is that of Arora, Liang and Ma 2015 (arXiv:1511.05653).
    """
    weights = np.asarray(weights, float)
    _check(weights, init_share)
    key_gaussian, key_spectral = jax.random.split(key)
    trained = measure(weights)
    values = np.sqrt(trained.eigenvalues * max(weights.shape)) * weights.std()
    same_values = draw_with_values(key_spectral, values, weights.shape)
    same_eigenvalues = trained.eigenvalues * (weights.var() / same_values.var())
    measures = {
        TRAINED: trained,
        GAUSSIAN: measure(gaussian_control(key_gaussian, weights)),
        SPECTRAL: _measure(same_values, same_eigenvalues),
    }
    word, sentence = _judge(measures[TRAINED], weights.size, init_share)
    n_visible, n_hidden = weights.shape
    return RandomLike(n_visible, n_hidden, measures, init_share, word, sentence)


def measure(weights: Float[np.ndarray, "visible hidden"]) -> Measures:
    """Entries and spectrum of one matrix."""
    return _measure(weights, scaled_eigenvalues(weights))


def _measure(weights: np.ndarray, eigenvalues: np.ndarray) -> Measures:
    spectrum = measure_spectrum(weights, eigenvalues)
    return Measures(measure_entries(weights), spectrum, eigenvalues, score_density(weights))


def _check(weights: np.ndarray, init_share: float | None) -> None:
    if weights.ndim != 2 or not weights.size:
        raise Refusal(f"weights must have shape (n_visible, n_hidden); got shape {weights.shape}")
    if not np.isfinite(weights).all():
        raise Refusal("weights must be finite; got NaN or infinity")
    if np.ptp(weights) == 0:
        raise Refusal(f"weights must not be constant; all of them are {weights.flat[0]:g}")
    if init_share is not None and not init_share >= 0:
        raise Refusal(f"init_share must be at least 0; got {init_share}")


def _judge(measures: Measures, count: int, init_share: float | None) -> tuple[str, str]:
    """Word and sentence."""
    entries, short = measures.entries, measures.eigenvalues.size
    if short < FEWEST_VALUES:
        return TOO_SMALL, f"Too small to say: it has {short} singular values."
    are_gaussian = has_gaussian_entries(entries, count)
    word, spectrum_said = _judge_spectrum(measures.spectrum, short)
    if word != NOT_RANDOM and not are_gaussian:
        word += NOT_GAUSSIAN
    said = [
        f"entries {'near' if are_gaussian else 'not'} Gaussian (excess kurtosis "
        f"{entries.excess_kurtosis:.2f}, distance {entries.ks:.3f})",
        spectrum_said,
    ]
    if init_share is not None:
        is_doubtful = init_share >= MOST_INIT_SHARE and not word.startswith(NOT_RANDOM)
        doubt = ": it looks random, as far as it does, because it is" if is_doubtful else ""
        said.append(f"initialisation alone would give {init_share:.0%} of the variance{doubt}")
    return word, f"{word[0].upper()}{word[1:]}: {'; '.join(said)}."


def _judge_spectrum(spectrum: Spectrum, short: int) -> tuple[str, str]:
    """The same for the singular values alone."""
    most_ks = max(MOST_KS, SAMPLING_KS / short)
    raw = f"distance {spectrum.mp_ks:.3f}"
    if spectrum.mp_ks <= most_ks and spectrum.energy_outside <= MOST_ENERGY_OUTSIDE:
        return RANDOM, f"singular values follow Marchenko-Pastur ({raw})"
    has_bulk = spectrum.bulk_ks <= most_ks
    said = (
        f"singular values do not follow Marchenko-Pastur ({raw}): {spectrum.bulk_num_above} of "
        f"{short} lie above the bulk, {spectrum.bulk_energy_outside:.0%} of the energy is outside "
        f"its edges, and the bulk {'follows' if has_bulk else 'does not follow'} that law at its "
        f"own scale (distance {spectrum.bulk_ks:.3f})"
    )
    is_spiked = has_bulk and spectrum.bulk_num_above <= MOST_SPIKES * short
    return SPIKED if is_spiked else NOT_RANDOM, said


def has_gaussian_entries(entries: Entries, count: int) -> bool:
    """Whether so many entries are near Gaussian: kurtosis and distance within the thresholds.

    Args:
        entries: as measured.
        count: their number, which decides the sampling error that is allowed for.
    """
    most_kurtosis = max(MOST_KURTOSIS, 4 * sampling_kurtosis_std(count))
    most_ks = max(MOST_KS, 1.5 / np.sqrt(count))
    return abs(entries.excess_kurtosis) <= most_kurtosis and entries.ks <= most_ks
