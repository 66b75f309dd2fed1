import numpy as np
import pytest
from scipy import optimize, stats
from scipy.special import log_ndtr

from probrev.nets.fitting import likelihood
from probrev.nets.fitting.maximum import Held, maximise
from probrev.nets.fitting.rivals import _Decoder, decoder_log_likelihood, null_log_likelihood

from . import pairs
from .test_maximum import drawn, read

FREE = Held(None, None, None, True)


def plain_null(x, new):
    """Row by row: a share of zeros, and the normal on the positive numbers of highest density."""
    total = np.zeros(len(new))
    for row in range(x.shape[1]):
        on = x[:, row][x[:, row] != 0]
        share = (len(x) - len(on) + 0.5) / (len(x) + 1)
        everyone = x[x != 0]
        mean = (on.sum() + everyone.mean()) / (len(on) + 1)
        square = ((on**2).sum() + (everyone**2).mean()) / (len(on) + 1)

        def loss(at, mean=mean, square=square):
            loc, scale = at[0], np.exp(at[1])
            energy = square - 2 * loc * mean + loc**2
            return energy / (2 * scale**2) + at[1] + log_ndtr(loc / scale)

        loc, log_scale = optimize.minimize(loss, [mean, 0.0], method="Nelder-Mead").x
        law = stats.truncnorm(-loc / np.exp(log_scale), np.inf, loc, np.exp(log_scale))
        with np.errstate(divide="ignore"):
            density = np.log(1 - share) + law.logpdf(new[:, row])
        total += np.where(new[:, row] == 0, np.log(share), density)
    return total


def test_null_of_rows_that_are_positive_or_0():
    truth = pairs.random_truth(np.random.default_rng(2), 4, 2, bias=np.full(4, 2.0))
    x, _ = drawn(truth, 60)
    new, _ = drawn(truth, 20, seed=1)
    np.testing.assert_allclose(null_log_likelihood(x, new), plain_null(x, new), atol=1e-3)


def test_null_of_rows_of_any_sign():
    truth = pairs.random_truth(np.random.default_rng(2), 4, 2, slope=1.0, keep_prob=1.0)
    x, _ = drawn(truth, 60)
    new, _ = drawn(truth, 20, seed=1)
    mean = (x.sum(0) + x.mean()) / 61
    square = ((x**2).sum(0) + (x**2).mean()) / 61
    expected = stats.norm.logpdf(new, mean, np.sqrt(square - mean**2)).sum(1)
    np.testing.assert_allclose(null_log_likelihood(x, new), expected, rtol=1e-10)


@pytest.mark.parametrize("slope", [0.0, 1.0])
@pytest.mark.parametrize("keep_prob", [0.8, 1.0])
def test_a_decoder_climbs_to_a_ridged_maximum(slope, keep_prob):
    """No step of its parameters, weights included, takes the penalised likelihood further up."""
    truth = pairs.random_truth(np.random.default_rng(4), 4, 2, slope=slope, keep_prob=keep_prob)
    x, h = drawn(truth, 150)
    data = read(truth, x, h, keep_prob)
    at = maximise(data, FREE._replace(keep_prob=None if keep_prob < 1 else 1.0))
    found = _Decoder(np.exp(at.log_t) * truth.weights, at).fit(data, h, 5.0)

    def height(scale, weights, b):
        other = _Decoder(weights, found.at._replace(log_s=scale, b=b))
        total = other.slopes(data, h).log_likelihood.sum()
        return total - 2.5 * (other.weights**2).sum()

    best = height(found.at.log_s, found.weights, found.at.b)

    def loss(point):
        return -height(point[0], point[1:9].reshape(4, 2), point[9:])

    start = np.concatenate([[found.at.log_s], found.weights.ravel(), found.at.b])
    higher = -optimize.minimize(loss, start, method="BFGS").fun
    assert best <= higher < best + 0.5


@pytest.mark.parametrize("wrong", [False, True])
def test_decoder_and_layer_held_against_each_other(wrong):
    """Where W is right its own weights cost a decoder little; where W is not they gain much."""
    rng = np.random.default_rng(5)
    truth = pairs.random_truth(rng, 12, 4)
    x, h = drawn(truth, 600)
    weights = rng.normal(size=truth.weights.shape) if wrong else truth.weights
    taken = truth._replace(weights=weights)
    data, new = read(taken, x[:300], h[:300]), read(taken, x[300:], h[300:])
    at = maximise(data, FREE)
    layer = likelihood.differentiate(new, at).log_likelihood
    decoder = decoder_log_likelihood(data, h[:300], new, h[300:], at, weights)
    gap = (decoder - layer).mean() / 12
    error = (decoder - layer).std() / np.sqrt(300) / 12
    if wrong:
        assert gap > 0.1 + 3 * error
    else:
        assert -0.02 < gap < 3 * error
