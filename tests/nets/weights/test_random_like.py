import jax
import numpy as np
import pytest

import probrev as pr
from probrev.nets.weights.random_like import THRESHOLDS

KEY = jax.random.key(2)
RNG = np.random.default_rng(9)
GAUSSIAN = 0.05 * RNG.normal(size=(300, 150))


def spiked(noise):
    left, right = (np.linalg.qr(RNG.normal(size=(side, 3)))[0] for side in noise.shape)
    return noise + noise.std() * left * 40 @ right.T


def glorot_uniform(n_visible, n_hidden):
    bound = np.sqrt(6 / (n_visible + n_hidden))
    return RNG.uniform(-bound, bound, size=(n_visible, n_hidden))


@pytest.mark.parametrize(
    ("weights", "word"),
    [
        (GAUSSIAN, "random-like"),
        (GAUSSIAN.T, "random-like"),
        (glorot_uniform(300, 150), "random-like, entries not Gaussian"),
        (spiked(GAUSSIAN), "spikes on a random bulk"),
        (spiked(glorot_uniform(300, 150)), "spikes on a random bulk, entries not Gaussian"),
        (GAUSSIAN * np.geomspace(0.05, 3, 150), "not random-like"),
        (RNG.normal(size=(40, 10)), "too small to say"),
    ],
)
def test_words(weights, word):
    found = pr.random_like(KEY, weights)
    assert found.word == word
    assert found.sentence.lower().startswith(f"{word}:".lower())
    assert (found.n_visible, found.n_hidden) == weights.shape


def test_glorot_uniform_is_told_apart_by_its_kurtosis():
    found = pr.random_like(KEY, glorot_uniform(300, 200))
    assert found.trained.entries.excess_kurtosis == pytest.approx(-1.2, abs=0.03)
    assert abs(found.measures["gaussian"].entries.excess_kurtosis) < 0.1
    assert found.trained.spectrum.mp_ks < 0.02


def test_controls_keep_what_they_should():
    weights = spiked(GAUSSIAN)
    found = pr.random_like(KEY, weights)
    trained, gaussian, spectral = (
        found.measures[name] for name in ("trained", "gaussian", "spectral")
    )
    # Up to the mean, which the spectral control does not keep.
    np.testing.assert_allclose(spectral.eigenvalues, trained.eigenvalues, rtol=0.02)
    assert gaussian.spectrum.bulk_num_above == 0
    assert gaussian.entries.std == pytest.approx(weights.std(), rel=0.02)
    assert found.expected_gram == pytest.approx((2 * np.sqrt(0.5) + 0.5, 1 / np.sqrt(300)))


def test_a_barely_trained_layer_is_said_to_be_one():
    said = pr.random_like(KEY, GAUSSIAN, init_share=0.6).sentence
    assert "initialisation alone would give 60% of the variance: it looks random, as" in said
    said = pr.random_like(KEY, GAUSSIAN, init_share=0.04).sentence
    assert said.endswith("initialisation alone would give 4% of the variance.")


def test_the_thresholds_are_said():
    for part in ("within 0.05 of Marchenko-Pastur", "at most 5% of the energy", "±0.5", "25%"):
        assert part in THRESHOLDS


def test_the_same_key_gives_the_same_controls():
    first, again = pr.random_like(KEY, GAUSSIAN), pr.random_like(KEY, GAUSSIAN)
    for name in first.measures:
        assert first.measures[name].entries == again.measures[name].entries


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (np.ones(3), {}, r"weights must have shape \(n_visible, n_hidden\); got shape \(3,\)"),
        (np.full((2, 3), np.inf), {}, "weights must be finite; got NaN or infinity"),
        (np.full((2, 3), 0.5), {}, "weights must not be constant; all of them are 0.5"),
        (
            GAUSSIAN,
            {"init_share": -0.1},
            "init_share must be a finite number, at least 0; got -0.1",
        ),
    ],
)
def test_bad_input_is_refused(weights, options, message):
    with pytest.raises(ValueError, match=message):
        pr.random_like(KEY, weights, **options)
