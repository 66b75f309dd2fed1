import itertools

import numpy as np
import pytest
from scipy import optimize
from scipy.special import expit, logit, ndtr

import probrev as pr
from probrev.model.activations import as_activation
from probrev.nets.fitting import likelihood
from probrev.nets.fitting.likelihood import read_pairs
from probrev.nets.fitting.maximum import Held, maximise, standard_errors

from . import pairs

FREE = Held(None, None, None, True)
# keep_prob, noise_std and gain, each known or not, with a bias or without.
HELD = [
    Held(*known, bias)
    for *known, bias in itertools.product([None, 0.7], [None, 1.1], [None, 0.5], [True, False])
]


def drawn(truth, num_obs, seed=0, density=1.0):
    rng = np.random.default_rng(seed)
    h = pairs.draw_h(rng, num_obs, truth.weights.shape[1]) * density
    return pairs.draw_x(rng, truth, h), h


def read(truth, x, h, keep_prob=None):
    activation = {0.0: "relu", 1.0: "identity"}.get(truth.slope)
    activation = as_activation(activation) if activation else pr.LeakyRelu(truth.slope)
    return read_pairs(activation, truth.weights, x, h, keep_prob)


def search(truth, x, h, held):
    """The maximum by SciPy, from the truth, over log noise, log gain, log odds and bias."""
    free = [
        held.noise_std is None, held.gain is None, held.keep_prob is None,
        *[held.bias] * len(truth.weights),
    ]  # fmt: skip
    first = np.array(
        [
            np.log(held.noise_std or truth.noise_std),
            np.log(held.gain or truth.gain),
            logit(min(held.keep_prob or truth.keep_prob, 1 - 1e-9)),
            *(truth.bias if held.bias else 0 * truth.bias),
        ]
    )

    def at(point):
        full = first.copy()
        full[np.array(free)] = point
        keep_prob = held.keep_prob or expit(full[2])
        return truth._replace(
            noise_std=np.exp(full[0]), gain=np.exp(full[1]), keep_prob=keep_prob, bias=full[3:]
        )

    def loss(point):
        return -pairs.log_likelihood(at(point), x, h).sum()

    start = first[np.array(free)]
    if not start.size:
        return at(start), -loss(start)
    found = optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-4})
    return at(found.x), -found.fun


def assert_is_the_maximum(truth, x, h, held, tolerance=2e-3):
    best, height = search(truth, x, h, held)
    data = read(truth, x, h, held.keep_prob)
    found = maximise(data, held)
    reached = likelihood.log_likelihood(data, found).sum() + data.log_slope.sum()
    assert height - 1e-5 <= reached <= height + 1e-3
    got = truth._replace(
        keep_prob=found.keep_prob, noise_std=found.noise_std, gain=found.gain, bias=found.bias
    )
    assert pairs.log_likelihood(got, x, h).sum() == pytest.approx(reached, abs=1e-6)
    for field in ("keep_prob", "noise_std", "gain", "bias"):
        np.testing.assert_allclose(getattr(got, field), getattr(best, field), tolerance, tolerance)
    return found


@pytest.mark.parametrize("held", HELD, ids=str)
def test_maximum_with_any_part_held(held):
    truth = pairs.random_truth(np.random.default_rng(5), 4, 2)
    x, h = drawn(truth, 60)
    found = assert_is_the_maximum(truth, x, h, held)
    for field in ("keep_prob", "noise_std", "gain"):
        if getattr(held, field) is not None:
            assert getattr(found, field) == pytest.approx(getattr(held, field), rel=1e-12)
    assert held.bias or not found.bias.any()


@pytest.mark.parametrize(
    ("slope", "keep_prob"), [(0.0, 1.0), (0.2, 0.8), (0.2, 1.0), (1.0, 0.8), (1.0, 1.0)]
)
def test_maximum_of_other_layers(slope, keep_prob):
    """With no 0 but the noise's the likelihood rises with keep_prob to the end of its range."""
    truth = pairs.random_truth(np.random.default_rng(6), 4, 2, slope=slope, keep_prob=keep_prob)
    x, h = drawn(truth, 60)
    held = FREE if keep_prob < 1 else FREE._replace(keep_prob=1.0)
    found = assert_is_the_maximum(truth, x, h, held)
    if keep_prob == 1 and slope:
        free = maximise(read(truth, x, h), FREE)
        assert free.keep_prob == 1
        np.testing.assert_allclose(free.bias, found.bias, atol=1e-6)
        assert free.noise_std == pytest.approx(found.noise_std, rel=1e-6)
        errors = standard_errors(read(truth, x, h), free, FREE)
        held_errors = standard_errors(read(truth, x, h, 1.0), found, held)
        assert np.isnan(errors.keep_prob)
        assert held_errors.keep_prob == 0
        np.testing.assert_allclose(errors.bias, held_errors.bias, rtol=1e-4)
        assert errors.gain == pytest.approx(held_errors.gain, rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_keep_prob_of_a_rectified_layer_without_dropout(seed):
    """Between the truth, 1, and what chance takes away."""
    truth = pairs.random_truth(np.random.default_rng(seed), 5, 2, keep_prob=1.0)
    x, h = drawn(truth, 200, seed)
    data = read(truth, x, h)
    found = maximise(data, FREE)
    assert found.keep_prob > 0.95
    one = maximise(data, FREE._replace(keep_prob=1.0))
    heights = [likelihood.log_likelihood(data, at).sum() for at in (found, one)]
    assert heights[1] - 1e-9 <= heights[0] < heights[1] + 5


def test_rows_that_never_fire():
    truth = pairs.random_truth(np.random.default_rng(7), 6, 2)
    x, h = drawn(truth, 80)
    x[:, [1, 4]] = 0
    alive = [0, 2, 3, 5]
    data = read(truth, x, h)
    found = maximise(data, FREE)
    errors = standard_errors(data, found, FREE)
    part = maximise(data.rows(np.array(alive)), FREE)
    np.testing.assert_allclose(found.bias[alive], part.bias, rtol=1e-10)
    assert found[:3] == pytest.approx(part[:3])
    fires = found.keep_prob * ndtr((h @ truth.weights.T + found.bias) / found.noise_std)
    np.testing.assert_allclose(fires.mean(0)[[1, 4]], 0.5 / 81, rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(errors.bias), np.isin(np.arange(6), [1, 4]))
    held = FREE._replace(bias=False)
    assert_is_the_maximum(truth, x, h, held)
    assert not standard_errors(data, maximise(data, held), held).bias.any()


def test_rows_that_are_never_seen_without_a_flat():
    """A row that is 0 throughout was dropped: it tells of keep_prob, and not of its bias."""
    truth = pairs.random_truth(np.random.default_rng(7), 4, 2, slope=1.0, keep_prob=1.0)
    x, h = drawn(truth, 80)
    x[:, 2] = 0
    data = read(truth, x, h)
    found = maximise(data, FREE)
    errors = standard_errors(data, found, FREE)
    assert found.keep_prob == pytest.approx(0.75)
    assert errors.keep_prob == pytest.approx(0, abs=1e-9)  # every observation has one 0
    assert found.bias[2] == 0
    np.testing.assert_array_equal(np.isnan(errors.bias), [False, False, True, False])
    rest = [0, 1, 3]
    part = maximise(data.rows(np.array(rest)), FREE)
    np.testing.assert_allclose(found.bias[rest], part.bias, rtol=1e-6)
    assert found.gain == pytest.approx(part.gain)


def test_every_row_fires_always():
    truth = pairs.random_truth(np.random.default_rng(8), 4, 2, keep_prob=1.0, bias=np.full(4, 9.0))
    x, h = drawn(truth, 60)
    assert (x > 0).all()
    found = maximise(read(truth, x, h), FREE)
    assert found.keep_prob == 1
    best, _ = search(truth, x, h, FREE._replace(keep_prob=1.0))
    np.testing.assert_allclose(found.bias, best.bias, rtol=2e-3)
    assert found.gain == pytest.approx(best.gain, rel=2e-3)


@pytest.mark.parametrize("num_rows", [1, 2])
def test_few_rows(num_rows):
    truth = pairs.random_truth(np.random.default_rng(9), num_rows, 3)
    x, h = drawn(truth, 120)
    assert_is_the_maximum(truth, x, h, FREE)


def test_columns_of_other_scales_and_twice_the_same():
    """W h is all that the likelihood sees; units of x and of W h change what they should."""
    truth = pairs.random_truth(np.random.default_rng(10), 5, 3)
    x, h = drawn(truth, 80)
    found = maximise(read(truth, x, h), FREE)
    scales = np.array([1e-4, 1.0, 1e5])
    weights = np.column_stack([truth.weights * scales, truth.weights[:, :1]])
    again = np.column_stack([h / scales * [0.3, 1, 1], 0.7 * h[:, 0]])
    other = maximise(read(truth._replace(weights=weights), x, again), FREE)
    np.testing.assert_allclose(other.bias, found.bias, rtol=1e-5)
    for scale in (1e-6, 1e6):
        louder = maximise(read(truth, scale * x, h), FREE)
        wider = maximise(read(truth._replace(weights=scale * truth.weights), x, h), FREE)
        assert louder.gain == pytest.approx(scale * found.gain, rel=1e-5)
        assert wider.gain == pytest.approx(found.gain / scale, rel=1e-5)
        assert wider.noise_std == pytest.approx(scale * found.noise_std, rel=1e-5)
        np.testing.assert_allclose(louder.bias, found.bias, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(wider.bias, scale * found.bias, rtol=1e-4, atol=1e-5 * scale)
        assert louder.keep_prob == pytest.approx(found.keep_prob, rel=1e-5)


@pytest.mark.parametrize("noise_std", [1e-3, 30.0])
def test_hardly_any_noise_and_hardly_any_signal(noise_std):
    truth = pairs.random_truth(np.random.default_rng(11), 5, 3, noise_std=noise_std)
    x, h = drawn(truth, 100)
    assert_is_the_maximum(truth, x, h, FREE._replace(gain=0.4), 1e-2)


@pytest.mark.slow
def test_random_problems():
    """Whatever SciPy reaches from the truth is reached blindly, and nothing warns."""
    for seed in range(15):
        rng = np.random.default_rng(100 + seed)
        slope = (0.0, 0.0, 0.1, 1.0)[seed % 4]
        truth = pairs.random_truth(
            rng, int(rng.integers(2, 6)), int(rng.integers(1, 4)), slope=slope,
            keep_prob=rng.uniform(0.3, 0.95), noise_std=np.exp(rng.normal()),
            gain=np.exp(rng.normal(0, 2)),
        )  # fmt: skip
        x, h = drawn(truth, int(rng.integers(30, 120)), seed)
        held = HELD[rng.integers(len(HELD))]
        data = read(truth, x, h, held.keep_prob)
        _, height = search(truth, x, h, held)
        reached = likelihood.log_likelihood(data, maximise(data, held)).sum() + data.log_slope.sum()
        # Rows that never fire have no maximum in their bias: SciPy goes on, by little.
        assert reached > height - (1e-4 if data.fires.all() else 0.7 * (~data.fires).sum()), seed


@pytest.mark.parametrize(
    "held", [FREE, Held(None, 1.1, None, True), Held(0.7, None, 0.5, True)], ids=str
)
@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_standard_errors_are_the_sandwich_of_numerical_derivatives(held, slope):
    truth = pairs.random_truth(np.random.default_rng(12), 4, 2, slope=slope)
    x, h = drawn(truth, 150)
    data = read(truth, x, h, held.keep_prob)
    found = maximise(data, held)
    errors = standard_errors(data, found, held)
    names = [name for name in ("keep_prob", "noise_std", "gain") if getattr(held, name) is None]
    point = np.array([*(getattr(found, name) for name in names), *found.bias])
    fixed = truth._replace(keep_prob=found.keep_prob, noise_std=found.noise_std, gain=found.gain)

    def by_obs(point):
        at = fixed._replace(**dict(zip(names, point, strict=False)), bias=point[len(names) :])
        return pairs.log_likelihood(at, x, h).sum(1)

    def slopes(point, step=1e-4):
        ways = step * np.eye(point.size)
        return np.array([(by_obs(point + way) - by_obs(point - way)) / (2 * step) for way in ways])

    step = 1e-4
    ways = step * np.eye(point.size)
    hessian = [
        (slopes(point + way).sum(1) - slopes(point - way).sum(1)) / (2 * step) for way in ways
    ]
    influence = np.linalg.solve(np.array(hessian), slopes(point))
    expected = np.sqrt((influence**2).sum(1) * 150 / 149)
    got = [*(getattr(errors, name) for name in names), *errors.bias]
    np.testing.assert_allclose(got, expected, rtol=1e-3)
    for name in {"keep_prob", "noise_std", "gain"} - set(names):
        assert getattr(errors, name) == 0
