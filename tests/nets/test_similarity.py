import jax
import numpy as np
import pytest

import probrev as pr
from probrev.nets.similarity import shuffle_pairs


def plain(a, b):
    """Every number by its definition, one observation or unit at a time."""
    cosine = []
    for x, y in zip(a, b, strict=True):
        norms = np.linalg.norm(x) * np.linalg.norm(y)
        cosine.append(sum(x[i] * y[i] for i in range(len(x))) / norms)
    correlation = [np.corrcoef(a[:, i], b[:, i])[0, 1] for i in range(a.shape[1])]
    difference = sum((x - y) @ (x - y) for x, y in zip(a, b, strict=True))
    both = sum(x > 0 and y > 0 for x, y in zip(a.flat, b.flat, strict=True))
    guessed, wanted = (sum(x > 0 for x in part.flat) for part in (a, b))
    precision, recall = both / guessed, both / wanted
    return {
        "cosine": np.mean(cosine),
        "cosine_std_error": np.std(cosine, ddof=1) / np.sqrt(len(cosine)),
        "correlation": np.mean(correlation),
        "scale": np.linalg.lstsq(a.reshape(-1, 1), b.ravel())[0][0],
        "relative_error": difference / np.linalg.norm(b) ** 2,
        "support_f1": 2 * precision * recall / (precision + recall),
    }


def test_agrees_with_definitions():
    rng = np.random.default_rng(0)
    b = np.maximum(rng.normal(0.3, 1, size=(9, 5)), 0)
    a = np.maximum(0.7 * b + rng.normal(0.1, 0.6, size=b.shape), 0)
    found = pr.measure_similarity(a, b)
    assert found.summary == pytest.approx(plain(a, b), rel=1e-12)
    assert found.cosine.shape == (9,)
    assert found.correlation.shape == (5,)


def test_the_same_and_the_scaled():
    b = np.array([[0.0, 2.0, 1.0], [3.0, 0.0, 0.5]])
    same, double = pr.measure_similarity(b, b), pr.measure_similarity(2 * b, b)
    np.testing.assert_allclose(same.cosine, 1)
    np.testing.assert_allclose(double.correlation, 1)
    assert (same.scale, same.relative_error, same.support_f1) == pytest.approx((1, 0, 1))
    assert (double.scale, double.relative_error) == pytest.approx((0.5, 1))


def test_zeros_are_kept_and_counted():
    truth = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 2.0], [3.0, 0.0, 2.0]])
    estimate = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [6.0, 1.0, 0.0]])
    found = pr.measure_similarity(estimate, truth)
    assert found.cosine == pytest.approx([1, 0, 18 / np.sqrt(13 * 37)])
    # The second unit never varies in truth; the third unit's estimate alone does not.
    assert np.isnan(found.correlation[1])
    assert found.correlation[2] == 0
    assert found.summary["correlation"] == pytest.approx(found.correlation[0] / 2)


def test_unrelated_half_normal_vectors_have_two_over_pi():
    rng = np.random.default_rng(3)
    a, b = np.abs(rng.normal(size=(2, 300, 200)))
    summary = pr.measure_similarity(a, b).summary
    assert summary["cosine"] == pytest.approx(2 / np.pi, abs=4 * summary["cosine_std_error"])
    assert summary["correlation"] == pytest.approx(0, abs=4 / np.sqrt(300 * 200))


@pytest.mark.parametrize("num_obs", [2, 3, 50])
def test_every_observation_gets_another_one(num_obs):
    partner = shuffle_pairs(jax.random.key(num_obs), num_obs)
    assert sorted(partner) == list(range(num_obs))
    assert (partner != np.arange(num_obs)).all()


@pytest.mark.parametrize(
    ("estimate", "truth", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), r"same|both have shape .* got \(2, 3\) and \(2, 4\)"),
        (np.ones((1, 3)), np.ones((1, 3)), "at least two observations"),
        (np.ones((2, 3)), np.zeros((2, 3)), "truth is 0 throughout"),
    ],
)
def test_bad_input(estimate, truth, message):
    with pytest.raises(ValueError, match=message):
        pr.measure_similarity(estimate, truth)
