"""The calibration error by hand, bin by bin."""

import numpy as np
import pytest

import probrev as pr


def test_by_hand():
    """Two bins of half the range: |1/2 - .4| in three of five images... counted one by one."""
    probs = np.array(
        [[0.3, 0.3, 0.4], [0.45, 0.3, 0.25], [0.9, 0.1, 0.0], [0.1, 0.6, 0.3], [0, 0, 1]]
    )
    labels = np.array([2, 1, 0, 2, 2])
    # Up to 1/2: confidences .4, .45, one right; above: .9, .6, 1, two right.
    expected = 2 / 5 * abs(1 / 2 - 0.425) + 3 / 5 * abs(2 / 3 - 2.5 / 3)
    found = pr.expected_calibration_error(np.log(probs + 1e-300), labels, num_bins=2)
    assert float(found) == pytest.approx(expected)


def test_one_bin_is_accuracy_less_confidence():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 4)), rng.integers(4, size=50)
    odds = np.exp(logits)
    confidence = (odds.max(1) / odds.sum(1)).mean()
    accuracy = (logits.argmax(1) == labels).mean()
    found = pr.expected_calibration_error(logits, labels, num_bins=1)
    assert float(found) == pytest.approx(abs(accuracy - confidence))


def test_a_calibrated_classifier_has_little():
    """Labels drawn from its own probabilities."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, size=(20_000, 3))
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (rng.uniform(size=(20_000, 1)) > probs.cumsum(1)).sum(1)
    assert pr.expected_calibration_error(logits, labels) < 0.012
    assert pr.expected_calibration_error(3 * logits, labels) > 0.1
