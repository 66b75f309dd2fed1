import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import optimize, stats
from scipy.special import expit, log_ndtr, logit, logsumexp

import probrev as pr

from . import pairs

PRIOR = (0.4, 1.5)
NAMES = ("noise_std", "keep_prob", "inclusion_prob", "slab_scale")


def model_of(truth, prior=PRIOR, slab="half_normal"):
    law = dist.HalfNormal(prior[1]) if slab == "half_normal" else dist.Exponential(1 / prior[1])
    activation = {0.0: "relu", 1.0: "identity"}.get(truth.slope) or pr.LeakyRelu(truth.slope)
    layer = pr.Layer(
        truth.weights, truth.keep_prob, truth.noise_std, truth.gain, activation, truth.bias
    )
    return pr.LayeredModel(pr.SpikeAndSlab(truth.weights.shape[1], prior[0], law), [layer])


def draw(truth, num_obs, slab="half_normal", seed=0, prior=PRIOR):
    """X alone, h in plain NumPy."""
    rng = np.random.default_rng(seed)
    shape = num_obs, truth.weights.shape[1]
    h = np.abs(rng.normal(size=shape)) if slab == "half_normal" else rng.exponential(size=shape)
    return pairs.draw_x(rng, truth, prior[1] * h * (rng.random(shape) < prior[0]))


def off_the_truth(truth, prior=PRIOR):
    changed = {"keep_prob": 0.6 * truth.keep_prob, "noise_std": 1.4 * truth.noise_std}
    return truth._replace(**changed, bias=0 * truth.bias), (0.5 * prior[0] + 0.2, prior[1] / 1.5)


def gaps(fit, truth, prior=PRIOR):
    """Standard errors between the fit and the truth, by name."""
    values = dict(zip(NAMES, (truth.noise_std, truth.keep_prob, *prior), strict=True))
    values["bias"] = truth.bias
    return {
        name: (fit.values[name] - values[name]) / getattr(fit.std_errors, name) for name in values
    }


class Evidence:
    """Log p(x) of two half-normal units under a ReLU layer, h integrated by Gauss and Legendre."""

    def __init__(self, truth, x):
        self.truth, self.x = truth, x
        nodes, weights = np.polynomial.legendre.leggauss(30)
        q = 2.5 * (nodes + 1)
        log_w = np.log(2.5 * weights) + stats.halfnorm.logpdf(q)
        zero = np.zeros_like(q)
        pair = np.stack(np.meshgrid(q, q), -1).reshape(-1, 2)
        self.q = np.vstack([[[0, 0]], np.stack([q, zero], 1), np.stack([zero, q], 1), pair])
        self.log_w = np.concatenate([[0], log_w, log_w, np.add.outer(log_w, log_w).ravel()])
        self.count = (self.q > 0).sum(1)

    def __call__(self, point):
        """By observation; point as the search has it."""
        sigma, rho, rate, scale = np.exp(-point[0]), *expit(point[1:3]), np.exp(point[3])
        z = scale * self.q @ self.truth.weights.T + point[4:]
        seen, y = self.x > 0, self.x / self.truth.gain
        log_f = np.logaddexp(np.log1p(-rho), np.log(rho) + log_ndtr(-z / sigma))
        constant = np.log(rho / (sigma * self.truth.gain * np.sqrt(2 * np.pi)))
        square = (y**2 * seen).sum(1)[:, None] - 2 * (y * seen) @ z.T + seen @ (z**2).T
        rows = ~seen @ log_f.T + seen.sum(1)[:, None] * constant - square / (2 * sigma**2)
        prior = self.count * np.log(rate) + (2 - self.count) * np.log1p(-rate)
        return logsumexp(rows + prior + self.log_w, axis=1)


def second_derivatives(evidence, at, step=1e-3):
    """Of the sum over observations, by differences."""
    found, ways = np.zeros((at.size, at.size)), step * np.eye(at.size)
    for i, j in zip(*np.triu_indices(at.size), strict=True):
        a, b = ways[i], ways[j]
        ends = [evidence(at + end).sum() for end in (a + b, a - b, b - a, -a - b)]
        found[i, j] = found[j, i] = (ends[0] - ends[1] - ends[2] + ends[3]) / (4 * step**2)
    return found


@pytest.mark.slow
def test_fit_and_errors_are_those_of_the_evidence_by_quadrature():
    """SciPy's maximum of log p(x), and the inverse of its numerical second derivatives."""
    rng = np.random.default_rng(3)
    truth = pairs.random_truth(rng, 4, 2)
    x = draw(truth, 150)
    evidence = Evidence(truth, x)
    start = np.array([-np.log(0.9), logit(0.8), logit(PRIOR[0]), np.log(PRIOR[1]), *truth.bias])
    best = optimize.minimize(lambda p: -evidence(p).sum(), start, method="BFGS").x
    errors = np.sqrt(np.diag(np.linalg.inv(-second_derivatives(evidence, best))))
    fit = pr.fit_marginal(
        jax.random.key(1), model_of(*off_the_truth(truth)), x, num_warmup=150, num_samples=2000
    )
    values, spread = fit.values, fit.std_errors
    found = np.array(
        [
            -np.log(values["noise_std"]), logit(values["keep_prob"]),
            logit(values["inclusion_prob"]), np.log(values["slab_scale"]), *values["bias"],
        ]
    )  # fmt: skip
    # Chance is about .1 of them.
    np.testing.assert_allclose((found - best) / errors, 0, atol=0.35)
    of_values = errors[:4] * [
        values["noise_std"],
        *[values[name] * (1 - values[name]) for name in ("keep_prob", "inclusion_prob")],
        values["slab_scale"],
    ]
    np.testing.assert_allclose([getattr(spread, name) for name in NAMES], of_values, rtol=0.06)
    np.testing.assert_allclose(spread.bias, errors[4:], rtol=0.06)
    assert fit.drift < 0.3


@pytest.mark.slow
@pytest.mark.parametrize(("slope", "slab"), [(0.0, "half_normal"), (0.2, "exponential")])
def test_truth_is_found_from_x_alone(slope, slab):
    truth = pairs.random_truth(np.random.default_rng(4), 20, 4, slope=slope)
    x = draw(truth, 300, slab)
    fit = pr.fit_marginal(
        jax.random.key(0), model_of(*off_the_truth(truth), slab), x, num_warmup=60, num_samples=200
    )
    found = gaps(fit, truth)
    assert max(abs(float(found[name])) for name in NAMES) < 3
    assert np.abs(found["bias"]).max() < 3.5
    assert 0.4 < (found["bias"] ** 2).mean() < 2
    assert fit.trace["bias"].shape == (260, 20)
    assert fit.drift < 1
    assert repr(fit).startswith("MarginalFit of 20 x 4, 300 observations: noise_std 0.")


@pytest.fixture(scope="module")
def tiny():
    truth = pairs.random_truth(np.random.default_rng(5), 6, 2)
    return truth, draw(truth, 40)


@pytest.mark.slow
def test_what_is_held_stays_and_has_no_error(tiny):
    truth, x = tiny
    start = model_of(truth)
    fit = pr.fit_marginal(
        jax.random.key(0), start, x, free=["noise_std", "slab_scale"],
        num_warmup=5, num_samples=10, num_chains=1,
    )  # fmt: skip
    assert fit.values["keep_prob"] == pytest.approx(0.8)
    assert fit.values["inclusion_prob"] == pytest.approx(PRIOR[0])
    assert float(fit.model.layers[0].gain) == pytest.approx(truth.gain)
    np.testing.assert_allclose(fit.values["bias"], truth.bias, rtol=1e-12)
    assert fit.std_errors.keep_prob == fit.std_errors.inclusion_prob == 0
    assert not fit.std_errors.bias.any()
    for name in ("noise_std", "slab_scale"):
        assert fit.trace[name].shape == (15,)
        assert fit.trace[name].std() > 0
        logs = np.log(fit.trace[name][5:])
        assert float(fit.values[name]) == pytest.approx(np.exp(logs.mean()))


@pytest.mark.slow
def test_gain_times_slab_scale_is_all_that_x_tells(tiny):
    truth, x = tiny
    fits = []
    for factor in (1, 2):
        other = truth._replace(
            gain=factor * truth.gain, noise_std=truth.noise_std / factor, bias=truth.bias / factor
        )
        start = model_of(other, (PRIOR[0], PRIOR[1] / factor))
        settings = {"num_warmup": 20, "num_samples": 20, "num_chains": 1}
        fits.append(pr.fit_marginal(jax.random.key(0), start, x, **settings))
    one, two = fits
    for name in ("noise_std", "slab_scale", "bias"):
        np.testing.assert_allclose(2 * two.values[name], one.values[name], rtol=1e-6)
    for name in ("keep_prob", "inclusion_prob"):
        assert float(two.values[name]) == pytest.approx(float(one.values[name]), rel=1e-6)


@pytest.mark.slow
def test_no_dropout_is_keep_prob_1():
    truth = pairs.random_truth(np.random.default_rng(5), 6, 2, slope=1.0, keep_prob=1.0)
    x = draw(truth, 100)
    start = model_of(truth._replace(keep_prob=0.9))
    fit = pr.fit_marginal(jax.random.key(0), start, x, num_warmup=60, num_samples=60)
    assert fit.values["keep_prob"] == 1
    assert np.isnan(fit.std_errors.keep_prob)
    assert 0 < fit.std_errors.noise_std < 0.2
    assert np.abs(gaps(fit, truth)["bias"]).max() < 4


WEIGHTS = np.ones((3, 2)) + np.eye(3, 2)
X = np.ones((20, 3))


def small(slab=None, rate=0.4, layers=1, max_active=None, **changed):
    prior = pr.SpikeAndSlab(2, rate, slab or dist.HalfNormal(1.0), max_active)
    layer = pr.Layer(WEIGHTS, **({"keep_prob": 0.8, "noise_std": 0.9} | changed))
    above = [pr.Layer(np.eye(2), 0.8, 0.9)] * (layers - 1)
    return pr.LayeredModel(prior, [layer, *above])


def k_sparse():
    return pr.LayeredModel(pr.KSparse(2, 1, dist.HalfNormal(1.0)), small().layers)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (small(), {"free": ("gain", "slab_scale")}, "make the same x, which tells only gain times"),
        (small(), {"free": ("rho",)}, "free must name some of noise_std, keep_prob"),
        (small(), {"free": ()}, "free must name some of"),
        (small(), {"free": "bias"}, "free must name some of"),
        (small(keep_prob=1.0), {}, "keep_prob is free and starts at 1, an end of its range"),
        (small(rate=1.0), {}, "inclusion_prob is free and starts at 1"),
        (small(layers=2), {}, "a LayeredModel of one layer"),
        (small(dist.Gamma(2.0, 1.0)), {}, "one HalfNormal or Exponential for all units"),
        (small(dist.HalfNormal(jnp.ones(2))), {}, "one inclusion_prob and one HalfNormal"),
        (small(rate=jnp.array([0.2, 0.3])), {}, "one inclusion_prob"),
        (small(max_active=1), {}, "without max_active"),
        (
            pr.LayeredModel(pr.KSparse(2, 1, dist.HalfNormal(1.0)), small().layers),
            {},
            "without max",
        ),
        (small(noise_std=0.0), {}, "fit_marginal needs noise_std > 0"),
        (small(activation=pr.ClippedRelu(6.0), gain=1.0), {}, "z above 0 and a multiple of z"),
        (small(), {"x": X[:, :2]}, r"x must have shape \(num_obs, 3\) .* got \(20, 2\)"),
        (small(), {"x": X[:15]}, "at least 16 observations"),
        (small(), {"x": X * np.nan}, "x must be finite"),
        (small(), {"x": -X}, 'layer next to x activation="identity"'),
        (small(), {"x": X * [1, 0, 0]}, "2 rows of x are 0 throughout, the first of them row 1"),
        (small(), {"x": 0 * X, "free": ("noise_std",)}, "x is 0 throughout"),
        (small(), {"num_samples": 1}, "num_samples must be at least 2; got 1"),
        (small(), {"num_warmup": 0}, "num_warmup must be at least 1; got 0"),
    ],
)
def test_refusals(model, settings, message):
    with pytest.raises(pr.Refusal, match=message):
        pr.fit_marginal(jax.random.key(0), model, **({"x": X} | settings))
