"""The search on a toy whose answers are known: y_i ~ N(h_i, 1), h_i ~ N(theta, 2), h not seen."""

import numpy as np
import pytest
from scipy.special import expit

from probrev.nets.fitting.complete_data import Complete, Point
from probrev.nets.fitting.marginal_search import MOST_LOGIT, MarginalSearch

NUM_OBS, NUM_CHAINS = 50, 2
WHERE = 3  # of theta among the coordinates: log slab_scale, which has no end
START = Point(np.array([0.1, 0.2, 0.3, -2.0]), np.array([0.5, -0.5]))


def only(*coordinates):
    return np.isin(np.arange(6), coordinates)


def search_toy(y, num_warmup=50, num_samples=4000):
    rng = np.random.default_rng(1)
    search, trace = MarginalSearch(START, only(WHERE)), []
    for sweep in range(num_warmup + num_samples):
        theta = search.at.shared[WHERE]
        mean = (y + theta / 2) / 1.5
        h = rng.normal(mean, np.sqrt(1 / 1.5), (NUM_CHAINS, NUM_OBS)).ravel()
        slopes, information = np.zeros((h.size, 6)), np.zeros((6, 6))
        slopes[:, WHERE] = (h - theta) / 2
        information[WHERE, WHERE] = h.size / 2
        found = Complete(slopes, information)
        search.step(found, NUM_CHAINS, averages=sweep >= num_warmup)
        trace.append(search.at.shared[WHERE])
    return search, np.array(trace)


def test_average_and_information_are_those_of_what_is_seen():
    y = np.random.default_rng(0).normal(1.3, np.sqrt(3), NUM_OBS)
    search, trace = search_toy(y)
    errors = search.standard_errors()
    assert errors[WHERE] == pytest.approx(np.sqrt(3 / NUM_OBS), rel=0.02)
    # With h seen it would be sqrt(2 / NUM_OBS).
    assert search.average.shared[WHERE] == pytest.approx(y.mean(), abs=0.02 * errors[WHERE])
    assert trace[-500:].std() < 0.2 * trace[20:50].std()
    held = [0, 1, 2, 4, 5]
    np.testing.assert_allclose(np.concatenate(search.average)[held], np.concatenate(START)[held])
    assert not errors[held].any()


def push(slope, num_warmup=80, coordinate=1):
    """A search whose likelihood rises, or falls, with a coordinate as odds make it."""
    search = MarginalSearch(START, only(coordinate, WHERE))
    for sweep in range(num_warmup + 20):
        prob = expit(search.at.shared[coordinate])
        slopes, information = np.zeros((20, 6)), np.zeros((6, 6))
        slopes[:, coordinate] = slope * (1 - prob)
        information[coordinate, coordinate] = 20 * prob * (1 - prob)
        slopes[:, WHERE] = np.linspace(-1, 1, 20) - search.at.shared[WHERE]
        information[WHERE, WHERE] = 20
        search.step(Complete(slopes, information), 1, averages=sweep >= num_warmup)
    return search


def test_a_probability_that_rises_without_end_is_1():
    search = push(1.0)
    assert search.at.shared[1] == MOST_LOGIT
    assert search.average.values[1] == 1
    errors = search.standard_errors()
    assert np.isnan(errors[1])
    assert errors[WHERE] == pytest.approx(1 / np.sqrt(20))


def test_steps_are_bounded():
    search = MarginalSearch(START, only(WHERE, 4))
    slopes, information = np.zeros((20, 6)), np.eye(6) * 1e-3
    slopes[:, WHERE], slopes[:, 4] = 1e6, -1e6
    search.step(Complete(slopes, information), 1, averages=False)
    assert search.at.shared[WHERE] == START.shared[WHERE] + 1
    # The bias in units of the noise, exp(-.1).
    assert search.at.bias[0] == pytest.approx(0.5 - np.exp(-0.1))


def test_no_information_is_no_error():
    """Where what is not seen hides more than there is, the errors are not known."""
    search = MarginalSearch(START, only(WHERE))
    rng = np.random.default_rng(0)
    for _ in range(20):
        slopes = np.zeros((20, 6))
        slopes[:, WHERE] = 10 * rng.normal(size=20)
        search.step(Complete(slopes, np.eye(6)), 1, averages=True)
    assert np.isnan(search.standard_errors()[WHERE])
