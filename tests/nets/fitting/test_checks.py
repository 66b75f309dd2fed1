import numpy as np
import pytest
from scipy import stats

from probrev.nets.fitting import likelihood
from probrev.nets.fitting.checks import check_layer, draw_residuals, most_repeated, zero_share
from probrev.nets.fitting.maximum import Held, StandardErrors

from . import pairs
from .test_likelihood import parameters_of
from .test_maximum import drawn, read

FREE = Held(None, None, None, True)
ERRORS = StandardErrors(0.01, 0.01, 0.01, np.full(6, 0.01))


def big_case(slope, keep_prob, num_obs=2000):
    truth = pairs.random_truth(np.random.default_rng(1), 6, 3, slope=slope, keep_prob=keep_prob)
    x, h = drawn(truth, num_obs, seed=2)
    return truth, x, h


@pytest.mark.parametrize("keep_prob", [0.8, 1.0])
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_residuals_are_normal_and_apart_under_the_right_layer(slope, keep_prob):
    truth, x, h = big_case(slope, keep_prob)
    data = read(truth, x, h, keep_prob)
    found = draw_residuals(np.random.default_rng(0), data, parameters_of(truth))
    # 12,000 residuals: the standard error of a standard deviation is .0065, of a kurtosis .045.
    assert found.std == pytest.approx(1, abs=0.02)
    assert found.excess_kurtosis == pytest.approx(0, abs=0.14)
    assert found.mean_variance == pytest.approx(1, abs=0.1)
    assert found.effective_rows == pytest.approx(6, abs=0.1)
    assert found.num_rows == 6


def residuals_of(monkeypatch, data, at):
    """What `draw_residuals` turns to normal ones: places of x in their laws."""
    places = []

    def keep(place):
        places.append(place)
        return stats.norm.ppf(place)

    monkeypatch.setattr("probrev.nets.fitting.checks.ndtri", keep)
    draw_residuals(np.random.default_rng(0), data, at)
    return places[0]


@pytest.mark.parametrize("keep_prob", [0.8, 1.0])
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_places_are_uniform_row_by_row(slope, keep_prob, monkeypatch):
    truth, x, h = big_case(slope, keep_prob)
    data = read(truth, x, h, keep_prob)
    places = residuals_of(monkeypatch, data, parameters_of(truth))
    for row in places.T:
        assert stats.kstest(row, "uniform").pvalue > 1e-3
    other = parameters_of(truth._replace(gain=1.15 * truth.gain))
    wrong = residuals_of(monkeypatch, data, other)
    assert min(stats.kstest(row, "uniform").pvalue for row in wrong.T) < 1e-6


def test_residuals_of_rows_that_err_together():
    truth = pairs.random_truth(np.random.default_rng(1), 8, 3, slope=1.0, keep_prob=1.0)
    rng = np.random.default_rng(3)
    h = pairs.draw_h(rng, 4000, 3)
    x = pairs.draw_x(rng, truth, h, shared=0.5)
    found = draw_residuals(rng, read(truth, x, h, 1.0), parameters_of(truth))
    # Covariance (1 + J) / 2: eigenvalues 4.5 and seven times .5.
    assert found.effective_rows == pytest.approx(64 / (4.5**2 + 7 / 4), rel=0.05)
    assert found.mean_variance == pytest.approx(4.5, rel=0.1)
    assert found.std == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("num_obs", [30, 100, 1000])
def test_independent_rows_do_not_look_like_few_where_observations_are(num_obs):
    """Beside what the covariance of as many observations says, 60 rows that are 60."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        truth = pairs.random_truth(rng, 60, 3, slope=1.0, keep_prob=1.0)
        h = pairs.draw_h(rng, num_obs, 3)
        data = read(truth, pairs.draw_x(rng, truth, h), h, 1.0)
        found.append(draw_residuals(rng, data, parameters_of(truth)))
    assert max(one.effective_rows for one in found) <= 60
    assert np.mean([one.effective_rows for one in found]) > 56


def test_rows_that_do_not_fire_are_left_out():
    truth, x, h = big_case(0.0, 0.8, 50)
    x[:, 2] = 0
    found = draw_residuals(np.random.default_rng(0), read(truth, x, h), parameters_of(truth))
    assert found.num_rows == 5


@pytest.mark.parametrize("slope", [0.0, 0.2])
def test_zeros(slope):
    truth, x, h = big_case(slope, 0.8)
    data = read(truth, x, h)
    share = zero_share(data, parameters_of(truth))
    below = stats.norm.cdf(0, h @ truth.weights.T + truth.bias, truth.noise_std)
    expected = 0.2 + 0.8 * below if slope == 0 else np.full(x.shape, 0.2)
    np.testing.assert_allclose(share, expected, rtol=1e-12)
    gap = (share - (x == 0)).mean(0)
    np.testing.assert_allclose(gap, 0, atol=3.5 * 0.5 / np.sqrt(len(x)))


def test_most_repeated_value():
    assert most_repeated(np.array([[0.0, 2.0, 3.0], [0.0, 2.0, 0.0]])) == (2.0, 2 / 3)
    assert most_repeated(np.zeros((2, 2))) == (0.0, 0.0)


def gates(x, residuals, zeros=(0.3, 0.3), **rivals):
    rng = np.random.default_rng(0)
    model = rng.normal(size=100)
    noise = rng.normal(size=(4, 100))
    below = {"null": 0.5, "gaussian": 0.5, "shuffled": -3.0, "decoder": -1.0} | rivals
    found = {name: model - gap + one for (name, gap), one in zip(below.items(), noise, strict=True)}
    at = parameters_of(pairs.random_truth(rng, 6, 2))
    checks = check_layer(x, {"model": model, **found}, zeros, residuals, at, ERRORS, FREE)
    return {check.name: check for check in checks if check.is_gate}, checks


GATES = ["repeated values", "above null", "above gaussian", "zeros", "residual spread"]


def test_gates_hold_and_fail_one_by_one():
    truth, x, h = big_case(0.0, 0.8, 100)
    data, at = read(truth, x, h), parameters_of(truth)
    right = draw_residuals(np.random.default_rng(0), data, at)
    found, checks = gates(x, right)
    assert list(found) == GATES
    assert [check.name for check in checks[:5]] == GATES
    assert all(check.holds for check in checks)
    # .5 nats by 10 standard errors, and per row of 6.
    assert found["above null"].value == pytest.approx(0.5 / 6, abs=0.05)
    assert found["above null"].std_error == pytest.approx(0.1 / 6, rel=0.2)

    wide, narrow = (right._replace(std=std) for std in (1.11, 0.89))
    for failing, (found, _) in {
        "repeated values": gates(np.round(x, 1), right),
        "above null": gates(x, right, null=0.0),
        "above gaussian": gates(x, right, gaussian=-0.5),
        "zeros": gates(x, right, zeros=(0.3, 0.311)),
        "residual spread": gates(x, wide),
    }.items():
        assert [name for name, check in found.items() if not check.holds] == [failing]
    assert not gates(x, narrow)[0]["residual spread"].holds
    assert not gates(x, right, zeros=(0.311, 0.3))[0]["zeros"].holds


def test_what_is_said():
    truth, x, h = big_case(0.0, 0.8, 100)
    right = draw_residuals(np.random.default_rng(0), read(truth, x, h), parameters_of(truth))
    checks = [*gates(x, right)[1], *gates(np.round(x), right, (0.5, 0.3), null=-1.0)[1]]
    for check in checks:
        assert not check.sentence[0].islower() or check.sentence.startswith("x ")
        assert check.sentence.endswith(".")
        assert not check.wanted or isinstance(check.holds, bool | np.bool_)
    said = {check.name: check.sentence for check in checks[len(checks) // 2 :]}
    assert "have no density" in said["repeated values"]
    assert "W^T is not its way down" in said["above null"]
    assert said["zeros"] == (
        "A share of 0.300 of held-out x is 0; the layer says 0.500. Its dropout or its noise is "
        "not that of x. Try another layer of the net."
    )
    assert said["keep_prob"] == "x is masked in a share 0.2000 of its entries."


def test_tied_share():
    truth, x, h = big_case(0.0, 0.8, 100)
    data, at = read(truth, x, h), parameters_of(truth)
    right = draw_residuals(np.random.default_rng(0), data, at)
    checks = {check.name: check for check in gates(x, right, null=4.0, decoder=-4.0)[1]}
    assert checks["tied share"].value == pytest.approx(0.5, abs=0.05)
    assert checks["tied share"].holds
    nothing = {check.name: check for check in gates(x, right, null=1.0, decoder=2.0)[1]}
    assert np.isnan(nothing["tied share"].value)
    assert "adds nothing to the null" in nothing["tied share"].sentence


def test_keep_prob_at_the_end_of_its_range_is_told_and_a_given_one_is_not():
    truth, x, h = big_case(0.0, 0.8, 100)
    right = draw_residuals(np.random.default_rng(0), read(truth, x, h), parameters_of(truth))
    arguments = (x, gates_likelihood(100), (0.3, 0.3), right)
    one = parameters_of(truth._replace(keep_prob=1.0))
    assert "end of its range" in check_layer(*arguments, one, ERRORS, FREE)[-1].sentence
    held = check_layer(*arguments, one, ERRORS, FREE._replace(keep_prob=1.0))
    assert held[-1].name == "tied share"


@pytest.mark.parametrize(
    ("effective_rows", "said"), [(5.5, "next to none err together"), (2.0, "they err together")]
)
def test_rows_err_together_only_where_they_do(effective_rows, said):
    truth, x, h = big_case(0.0, 0.8, 100)
    at = parameters_of(truth)
    right = draw_residuals(np.random.default_rng(0), read(truth, x, h), at)
    one = right._replace(effective_rows=effective_rows)
    checks = check_layer(x, gates_likelihood(100), (0.3, 0.3), one, at, ERRORS, FREE)
    (told,) = [check.sentence for check in checks if check.name == "effective rows"]
    assert said in told


def gates_likelihood(num_obs):
    rng = np.random.default_rng(1)
    names = ("model", "null", "gaussian", "shuffled", "decoder")
    return {name: rng.normal(size=num_obs) for name in names}


def test_log_likelihood_at_the_truth_is_above_that_of_others():
    """What all gates rest on: on average no layer is likelier than the one that made x."""
    truth, x, h = big_case(0.0, 0.8)
    data = read(truth, x, h)
    best = likelihood.log_likelihood(data, parameters_of(truth)).sum()
    for changed in (
        truth._replace(keep_prob=0.7), truth._replace(noise_std=1.1), truth._replace(gain=0.45),
        truth._replace(bias=truth.bias + 0.2),
    ):  # fmt: skip
        assert likelihood.log_likelihood(data, parameters_of(changed)).sum() < best - 10
