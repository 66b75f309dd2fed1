"""What a newcomer adds in a script, by public names alone: each against an answer of its own."""

import itertools
import json
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from jax import Array

import probrev as pr

ONE = pr.FiniteSlab([1.0], [1.0])
WEIGHTS = np.random.default_rng(0).normal(size=(12, 4))
STATES = np.array([*itertools.product((0.0, 1.0), repeat=4)])


def rectified_likelihood(states, x, weights, keep_prob, noise_std):
    """p(x | h) of one ReLU layer at the default gain, by SciPy, row by row: (obs, state)."""
    from scipy.stats import norm

    gain = 2 / (keep_prob * (weights**2).mean() * len(weights))
    z = states @ weights.T
    silent = 1 - keep_prob + keep_prob * norm.cdf(-z / noise_std)
    seen = keep_prob / gain * norm.pdf(x[:, None] / gain, z, noise_std)
    return np.where(x[:, None] > 0, seen, silent).prod(-1)


def inclusion_probs(weights_of_states, likelihood):
    joint = weights_of_states * likelihood
    return joint @ STATES / joint.sum(1, keepdims=True)


# A prior whose units are independent: log odds of its own, and a field of its own


@pr.pytree(data=("slope",))
@dataclass(frozen=True)
class Ramp(pr.SpikeAndSlab):
    """Later units are active more rarely."""

    slope: float = 0.8

    @property
    def inclusion_logit(self):
        return super().inclusion_logit - self.slope * jnp.arange(self.n_hidden)


RAMP = pr.LayeredModel(Ramp(4, 0.4, ONE, slope=0.7), [pr.Layer(WEIGHTS, 0.6, 1.3)])


def ramp_by_hand(x):
    prob = 1 / (1 + np.exp(-(np.log(0.4 / 0.6) - 0.7 * np.arange(4))))
    prior = np.where(STATES > 0, prob, 1 - prob).prod(1)
    return inclusion_probs(prior, rectified_likelihood(STATES, x, WEIGHTS, 0.6, 1.3))


@pytest.mark.slow
def test_a_prior_of_ones_own_is_enumerated():
    obs = RAMP.simulate(jax.random.key(1), 3)
    exact = pr.exact(RAMP, obs, num_draws=4)
    np.testing.assert_allclose(exact.inclusion_prob, ramp_by_hand(np.asarray(obs.x)), rtol=1e-9)
    assert list(pr.choose_methods(RAMP)) == ["exact", "gibbs"]


@pytest.mark.slow
def test_a_prior_of_ones_own_is_sampled():
    obs = RAMP.simulate(jax.random.key(1), 3)
    gibbs = pr.gibbs(jax.random.key(2), RAMP, obs)
    assert gibbs.status == "ok", gibbs.status_reason
    by_hand = ramp_by_hand(np.asarray(obs.x))
    np.testing.assert_allclose(gibbs.inclusion_prob, by_hand, atol=0.04)


# A prior whose units depend on each other: density and program


@pr.pytree()
class Pairs(pr.SpikeAndSlab):
    """Units 2i and 2i + 1 switch together: weight e^3 for each pair that agrees."""

    def log_prob(self, h):
        on = h > 0
        agree = 3.0 * (on[..., ::2] == on[..., 1::2]).sum(-1)
        return super().log_prob(h) + agree - 2 * jnp.log(jnp.exp(3.0) * 0.58 + 0.42)

    def __call__(self):
        states = jnp.asarray(STATES)
        state = numpyro.sample("state", dist.Categorical(logits=self.log_prob(states)))
        return states[state]


PAIRS = pr.LayeredModel(Pairs(4, 0.3, ONE), [pr.Layer(WEIGHTS, 0.5, 1.5)])


def pairs_by_hand(x):
    agree = (STATES[:, ::2] == STATES[:, 1::2]).sum(1)
    prior = np.where(STATES > 0, 0.3, 0.7).prod(1) * np.exp(3 * agree)
    return inclusion_probs(prior, rectified_likelihood(STATES, x, WEIGHTS, 0.5, 1.5))


@pytest.mark.slow
def test_a_dependent_prior_is_enumerated_and_refused_by_what_needs_independence():
    obs = PAIRS.simulate(jax.random.key(3), 2)
    exact = pr.exact(PAIRS, obs, num_draws=4)
    np.testing.assert_allclose(exact.inclusion_prob, pairs_by_hand(np.asarray(obs.x)), rtol=1e-9)
    why = "units that are independent but for their number.*Pairs overrides log_prob, __call__"
    with pytest.raises(ValueError, match=f"gibbs needs {why}"):
        pr.gibbs(jax.random.key(0), PAIRS, obs)
    with pytest.raises(ValueError, match=f"message_passing needs {why}"):
        pr.message_passing(PAIRS, obs)
    assert list(pr.choose_methods(PAIRS)) == ["exact"]


@pytest.mark.slow
def test_a_dependent_prior_is_sampled_by_its_program():
    obs = PAIRS.simulate(jax.random.key(3), 1)
    hmc = pr.hmc(jax.random.key(4), PAIRS, obs, num_warmup=200)
    np.testing.assert_allclose(hmc.inclusion_prob, pairs_by_hand(np.asarray(obs.x)), atol=0.05)


# An activation


class Leaky(pr.Activation):
    """z above 0, a fifth of it below: it has no flats, so every row that is kept is seen."""

    stretches = ((-np.inf, np.inf),)

    def __call__(self, z):
        return jnp.where(z > 0, z, z / 5)

    def inverse(self, y):
        return jnp.where(y > 0, y, 5 * y)

    def log_inverse_slope(self, y):
        return jnp.where(y > 0, 0.0, np.log(5))


LEAKY = pr.LayeredModel(
    pr.SpikeAndSlab(4, 0.4, ONE),
    [pr.Layer(WEIGHTS, 0.6, 1.3, gain=0.7, activation=Leaky(), bias=np.linspace(-1, 1, 12))],
)


def leaky_by_hand(x):
    z = STATES @ WEIGHTS.T + np.linspace(-1, 1, 12)
    y = x[:, None] / 0.7
    root, slope = np.where(y > 0, y, 5 * y), np.where(y > 0, 1, 5)
    density = 0.6 / 0.7 * slope * np.exp(-((root - z) ** 2) / (2 * 1.3**2)) / 1.3
    likelihood = np.where(y == 0, 0.4, density / np.sqrt(2 * np.pi))
    return inclusion_probs(np.where(STATES > 0, 0.4, 0.6).prod(1), likelihood.prod(-1))


@pytest.mark.slow
def test_an_activation_of_ones_own_is_enumerated():
    obs = LEAKY.simulate(jax.random.key(1), 3)
    for part in (obs[:1], obs):  # summed in different ways
        exact = pr.exact(LEAKY, part, num_draws=4)
        np.testing.assert_allclose(exact.mean, leaky_by_hand(np.asarray(part.x)), rtol=1e-10)


@pytest.mark.slow
def test_an_activation_of_ones_own_is_sampled():
    obs = LEAKY.simulate(jax.random.key(1), 16)
    exact, gibbs = pr.exact(LEAKY, obs), pr.gibbs(jax.random.key(2), LEAKY, obs)
    assert gibbs.status == "ok", gibbs.status_reason
    found = pr.measure_agreement(gibbs, exact)
    assert found.agrees, found.reason


# A metric


def cosine(case):
    """Cosine of an estimate and the posterior mean."""
    mean = case.posterior.mean
    norms = np.sqrt((case.estimates**2).sum("hidden") * (mean**2).sum("hidden"))
    return (case.estimates * mean).sum("hidden") / norms.where(norms > 0, 1)


@pytest.mark.slow
def test_a_metric_of_ones_own_is_in_table_and_report(tmp_path):
    obs = RAMP.simulate(jax.random.key(1), 16)
    exact = pr.exact(RAMP, obs)
    net = pr.FeedforwardNet.from_model(jax.random.key(2), RAMP)
    result = pr.compare(RAMP, obs, {"net": net}, {"exact": exact}, metrics={"cosine": cosine})
    found = result.table().set_index(["metric", "subject"])["value"]["cosine", "net"]
    h, mean = np.asarray(net(obs.x)), exact.mean.to_numpy()
    norms = np.linalg.norm(h, axis=1) * np.linalg.norm(mean, axis=1)
    assert found == pytest.approx(((h * mean).sum(1) / np.where(norms > 0, norms, 1)).mean())
    result.save(tmp_path / "run.nc")
    pr.write_report(pr.load(tmp_path / "run.nc"), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Cosine of an estimate and the posterior mean." in page


# A model of a script that brings its own sweep, plan and rungs, and an inference method


class SweepState(NamedTuple):
    """State of the chains: their hidden vectors, and the key of the next sweep."""

    h: Array
    key: Array


class Tanh(NamedTuple):
    """x = tanh(W h) + noise, units of h on with probability `prob`: whatever it can be asked."""

    weights: Array
    prob: float = 0.3
    noise_std: float = 0.5
    n_visible = property(lambda self: self.weights.shape[0])
    n_hidden = property(lambda self: self.weights.shape[1])

    def log_joint(self, h, x):
        odds = jnp.log(self.prob / (1 - self.prob))
        return h.sum(-1) * odds - ((x - jnp.tanh(h @ self.weights.T)) ** 2).sum(-1) / (
            2 * self.noise_std**2
        )

    def states(self):
        return pr.FiniteStates(jnp.ones((self.n_hidden, 1)), 0, self.n_hidden)

    def simulate(self, key, num_obs):
        keys = jax.random.split(key)
        h = jax.random.bernoulli(keys[0], self.prob, (num_obs, self.n_hidden)).astype(float)
        noise = self.noise_std * jax.random.normal(keys[1], (num_obs, self.n_visible))
        return pr.Observations(jnp.tanh(h @ self.weights.T) + noise, h)

    def gibbs_sweep(self):
        return pr.Sweep(start_sweep, sweep_units, size="four units")

    def rungs(self):
        weights = np.asarray(self.weights)
        return {
            "nothing": lambda key: lambda x: np.zeros((len(x), self.n_hidden)),
            "readout": lambda key: lambda x: np.clip(np.asarray(x) @ weights, 0, 1),
        }


def start_sweep(key, model, x, num_chains, num_warmup):
    key_start, key = jax.random.split(key)
    shape = (num_chains, len(x), model.n_hidden)
    return SweepState(jax.random.bernoulli(key_start, 0.5, shape).astype(float), key)


def sweep_units(state, model, x):
    key, *keys = jax.random.split(state.key, 1 + model.n_hidden)
    h = state.h
    for unit in range(model.n_hidden):
        on, off = (model.log_joint(h.at[..., unit].set(value), x[None]) for value in (1.0, 0.0))
        drawn = jax.random.bernoulli(keys[unit], jax.nn.sigmoid(on - off))
        h = h.at[..., unit].set(drawn)
    return SweepState(h, key)


TANH = Tanh(jnp.asarray(WEIGHTS))


def tanh_by_hand(x, prob=0.3):
    rest = x[:, None] - np.tanh(STATES @ WEIGHTS.T)
    likelihood = np.exp(-(rest**2).sum(-1) / (2 * 0.5**2))
    return inclusion_probs(np.where(STATES > 0, prob, 1 - prob).prod(1), likelihood)


@pytest.mark.slow
def test_a_model_brings_its_sweep_and_its_rungs():
    obs = TANH.simulate(jax.random.key(5), 3)
    by_hand = tanh_by_hand(np.asarray(obs.x))
    np.testing.assert_allclose(pr.exact(TANH, obs, num_draws=4).mean, by_hand, rtol=1e-9)
    gibbs = pr.gibbs(jax.random.key(6), TANH, obs, num_warmup=50, num_samples=1000)
    assert gibbs.status == "ok", gibbs.status_reason
    np.testing.assert_allclose(gibbs.mean, by_hand, atol=0.05)
    assert pr.list_rungs(TANH) == ("nothing", "readout")
    ladder = pr.build_ladder(jax.random.key(0), TANH, ["readout"])
    wanted = np.clip(np.asarray(obs.x) @ WEIGHTS, 0, 1)
    np.testing.assert_allclose(ladder["readout"](obs.x), wanted)
    chosen = pr.choose_methods(TANH)
    assert chosen["gibbs"] == "it samples the posterior itself, and is quick with four units"
    assert list(chosen) == ["exact", "gibbs"]


class Planned(NamedTuple):
    """Tanh without states: it says itself how it is solved."""

    model: Tanh
    n_visible, n_hidden = 12, 4

    def exact_plan(self):
        return pr.ExactPlan("by_hand", "num_states", 16, "all 16 states by NumPy", solve_by_hand)


def solve_by_hand(model, x, options):
    mean = tanh_by_hand(np.asarray(x))
    nothing = np.zeros(len(x))
    return pr.ExactResult(
        mean=mean, var=mean * (1 - mean), inclusion_prob=mean, log_evidence=nothing,
        top_states=np.zeros((1, len(x), 4)), top_log_prob=np.zeros((len(x), 1)),
        unvisited_mass=nothing, integration_error=nothing,
        draws=np.tile(np.round(mean), (options.num_draws, 1, 1)),
    )  # fmt: skip


def test_a_model_brings_its_exact_plan():
    obs = TANH.simulate(jax.random.key(5), 3)
    exact = pr.exact(Planned(TANH), obs, num_draws=4)
    np.testing.assert_allclose(exact.mean, pr.exact(TANH, obs, num_draws=4).mean, rtol=1e-9)
    assert json.loads(exact.tree.attrs["settings"])["exact_method"] == "by_hand"
    assert exact.status_reason == "all 16 states by NumPy"
    assert list(pr.choose_methods(Planned(TANH))) == ["exact"]


def resample(key, model, obs, num_draws=2000, num_proposals=20_000):
    """An inference method: draws from the model, taken again by their likelihood."""
    h = model.simulate(key, num_proposals).h
    rest = np.asarray(obs.x)[:, None] - np.tanh(np.asarray(h) @ np.asarray(model.weights).T)
    log_weight = -(rest**2).sum(-1) / (2 * model.noise_std**2)
    weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
    rng = np.random.default_rng(0)
    picked = [rng.choice(len(h), num_draws, p=one / one.sum()) for one in weight]
    draws = np.stack([np.asarray(h)[one] for one in picked], axis=1)[None]
    return pr.from_draws("resample", draws, obs.x, model=model, sampling="iid")


@pytest.mark.slow
def test_a_method_of_ones_own_stands_beside_exact():
    obs = TANH.simulate(jax.random.key(5), 8)
    posteriors = {"exact": pr.exact(TANH, obs), "mine": resample(jax.random.key(7), TANH, obs)}
    assert posteriors["mine"].status == "ok"
    np.testing.assert_allclose(posteriors["mine"].mean, tanh_by_hand(np.asarray(obs.x)), atol=0.08)
    result = pr.compare(TANH, obs, pr.build_ladder(jax.random.key(0), TANH), posteriors)
    assert set(result.posteriors) == {"exact", "mine"}
    assert result.judge == "exact"
    assert not result.doubts
    table = result.table().set_index(["metric", "subject", "posterior"])["value"]
    mine, exact = (table["risk_ratio", "readout", name] for name in ("mine", "exact"))
    assert mine == pytest.approx(exact, rel=0.1)


# A model that is a program and no more

FACTORS = '''
    """Factor analysis: h ~ N(0, I), x = W h + noise."""

    from dataclasses import dataclass

    import jax
    import jax.numpy as jnp
    import numpy as np
    import numpyro
    import numpyro.distributions as dist

    import probrev as pr


    @pr.pytree(data=("weights", "noise_std"))
    @dataclass(frozen=True)
    class FactorAnalysis:
        weights: jax.Array
        noise_std: float
        n_visible, n_hidden = 6, 2

        def program(self, x=None):
            h = numpyro.sample("h", dist.Normal().expand([2]).to_event(1))
            law = dist.Normal(self.weights @ h, self.noise_std).to_event(1)
            return numpyro.sample("x", law, obs=x)

        def simulate(self, key, num_obs):
            keys = jax.random.split(key)
            h = jax.random.normal(keys[0], (num_obs, 2))
            noise = self.noise_std * jax.random.normal(keys[1], (num_obs, 6))
            return pr.Observations(h @ self.weights.T + noise, h)


    def build(noise_std: float = 0.8):
        """Builds it."""
        weights = np.random.default_rng(0).normal(size=(6, 2))
        return FactorAnalysis(jnp.asarray(weights), noise_std)


    def inverses(model):
        inverse = np.linalg.pinv(np.asarray(model.weights))
        return {"least_squares": lambda x: np.asarray(x) @ inverse.T}
'''


@pytest.fixture
def factors(tmp_path):
    """The file, and what running it defines."""
    path = tmp_path / "factors.py"
    path.write_text(textwrap.dedent(FACTORS).lstrip(), encoding="utf-8")
    names = {"__name__": "factors"}
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), names)
    return path, names


def posterior_of_factors(weights, noise_std, x):
    """Mean and covariance of h given x, in closed form."""
    covariance = np.linalg.inv(np.eye(2) + weights.T @ weights / noise_std**2)
    return x @ weights @ covariance / noise_std**2, covariance


def test_a_program_is_a_model(factors):
    """Draws in closed form, so that nothing is sampled: what is compared, and what is left out."""
    model = factors[1]["build"]()
    assert list(pr.choose_methods(model)) == ["hmc"]
    obs = model.simulate(jax.random.key(0), 16)
    mean, covariance = posterior_of_factors(np.asarray(model.weights), 0.8, np.asarray(obs.x))
    assert (mean < 0).any()
    noise = (
        np.random.default_rng(1).normal(size=(1, 2000, 16, 2)) @ np.linalg.cholesky(covariance).T
    )
    posterior = pr.from_draws("closed form", mean + noise, obs.x, model=model, sampling="iid")
    result = pr.compare(model, obs, factors[1]["inverses"](model), {"closed": posterior})
    found = set(result.table()["metric"])
    assert {"risk_ratio", "relative_risk", "truth_in_interval"} <= found
    assert not {"support_prob", "log_likelihood", "reconstruction_error"} & found
    assert not {name for name in found if name.startswith("predictive")}


@pytest.mark.slow
def test_a_program_is_compared_on_the_command_line(factors):
    path, names = factors
    command = [sys.executable, "-m", "probrev", "compare", path.name, "--num-obs", "2"]
    done = subprocess.run(
        [*command, "--out", "o", "--json"], cwd=path.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "2 observations\n"
    said = json.loads(done.stdout)
    assert {row["subject"] for row in said["metrics"]} == {"least_squares", "posterior", "hmc"}
    hmc = pr.load(path.parent / said["run"]).posteriors["hmc"]
    assert hmc.status == "ok", hmc.status_reason
    weights, x = np.asarray(names["build"]().weights), hmc.tree["observed_data/x"].to_numpy()
    mean, covariance = posterior_of_factors(weights, 0.8, x)
    np.testing.assert_allclose(hmc.mean, mean, atol=0.05)
    np.testing.assert_allclose(hmc.var, np.tile(np.diag(covariance), (2, 1)), rtol=0.1)
    page = (path.parent / said["report"]).read_text(encoding="utf-8")
    assert "least_squares" in page
    assert "switched on or off" not in page
