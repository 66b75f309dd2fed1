import numpy as np
import pytest
from scipy import stats
from scipy.special import logit

from probrev.nets.fitting.complete_data import Point, differentiate_complete

from . import pairs
from .test_maximum import drawn, read

STEP = 1e-4


def log_joint(truth, prior, power, x, h):
    """Log p(x, h) by observation, written out anew."""
    rate, scale = prior
    law = stats.halfnorm(scale=scale) if power == 2 else stats.expon(scale=scale)
    units = np.where(h > 0, np.log(rate) + law.logpdf(h), np.log1p(-rate))
    return pairs.log_likelihood(truth, x, h).sum(1) + units.sum(1)


def derivatives(function, point):
    ways = STEP * np.eye(point.size)
    return np.array([(function(point + way) - function(point - way)) / (2 * STEP) for way in ways])


@pytest.mark.parametrize(("slope", "power"), [(0.0, 2), (0.2, 1), (1.0, 2)])
def test_derivatives_by_all_parameters(slope, power):
    truth = pairs.random_truth(np.random.default_rng(0), 5, 3, slope=slope)
    x, h = drawn(truth, 30)
    start = [-np.log(1.1), logit(0.7), logit(0.4), np.log(1.3)]
    start = np.array([*start, *(truth.bias + 0.1)])

    def by_obs(point):
        at = Point(point[:4], point[4:])
        noise_std, keep_prob, *prior = at.values
        other = truth._replace(noise_std=noise_std, keep_prob=keep_prob, bias=at.bias)
        return log_joint(other, prior, power, x, h)

    def differentiate(point):
        at = Point(point[:4], point[4:])
        data = read(truth, x, 0 * h)
        return differentiate_complete(data, truth.weights, h, truth.gain, power, at)

    np.testing.assert_allclose(
        differentiate(start).slopes.T, derivatives(by_obs, start), rtol=1e-6, atol=1e-6
    )
    second = derivatives(lambda point: differentiate(point).slopes.sum(0), start)
    np.testing.assert_allclose(-differentiate(start).information, second, rtol=1e-6, atol=1e-5)


def test_values():
    at = Point(np.array([-np.log(1.1), logit(0.7), logit(0.4), np.log(1.3)]), np.zeros(2))
    np.testing.assert_allclose(at.values, [1.1, 0.7, 0.4, 1.3])
