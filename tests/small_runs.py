"""Small comparisons of every kind that a report must cope with, each built once."""

from functools import cache
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import xarray as xr
from numpyro import sample

import probrev as pr
from probrev.posterior.posterior import from_draws

N_VISIBLE, N_HIDDEN, NUM_OBS = 20, 5, 6
HOSTILE = "<script>alert('x')</script>"


@cache
def model():
    slab = pr.FiniteSlab([0.4, 1.3], [0.7, 0.3])
    prior = pr.SpikeAndSlab(N_HIDDEN, inclusion_prob=0.35, slab=slab, max_active=3)
    weights = jax.random.normal(jax.random.key(3), (N_VISIBLE, N_HIDDEN))
    return pr.LayeredModel(prior, [pr.Layer(weights, keep_prob=0.7, noise_std=0.8)])


@cache
def continuous_model():
    def prior():
        return jnp.asarray(sample("h", dist.HalfCauchy(0.3).expand([N_HIDDEN]).to_event(1)))

    return pr.LayeredModel(prior, model().layers)


@cache
def observations():
    return model().simulate(jax.random.key(1), num_obs=NUM_OBS)


@cache
def exact():
    return pr.exact(model(), observations())


def net(x):
    readout = np.asarray(x) @ np.asarray(model().layers[0].weights)
    return np.maximum(readout - 0.2, 0)


def dense_net(x):
    return net(x) + 0.05


def dropout_net(x, key):
    kept = jax.random.bernoulli(key, 0.5, x.shape)
    return net(np.where(kept, 2 * x, 0))


def sampled(num_obs=NUM_OBS):
    """Independent draws of the exact posterior, as a sampler would hand them in."""
    h = exact().draws.to_numpy()[:, ::2, :num_obs]
    return from_draws("gibbs", h, np.asarray(observations().x)[:num_obs], model=model())


def stuck():
    """Chains that stay at different values in one unit."""
    h = exact().draws.to_numpy()[:, ::2].copy()
    h[:, :, 2, 3] = np.array([0.0, 0.4, 0.4, 1.3])[:, None]
    return from_draws("gibbs", h, observations().x, model=model())


def boldness(case):
    return case.estimates.mean("hidden")


boldness.__doc__ = f"Mean of an estimate over units, {HOSTILE}.\n\nNot for the glossary."


def compare(obs, posteriors, of=None, inverses=None, **provenance):
    """A comparison without its curve, which costs seconds."""
    with mock.patch("probrev.comparison.compare.noise_curve", return_value=None):
        inverses = inverses or {"net": net, "dense": dense_net}
        return pr.compare(
            of or model(), obs, inverses, posteriors, random_inverses={"dropout": dropout_net},
            metrics={"boldness": boldness}, provenance=provenance,
        )  # fmt: skip


@cache
def full():
    """Truth, atom, curve, two posteriors, provenance that tries to break out."""
    run = compare(
        observations(), {"exact": exact(), "gibbs": sampled()},
        model=HOSTILE, model_source=f"def build():\n    # {HOSTILE}", seed=7,
        parameters={"noise_std": 0.8, "weights": None}, versions={"jax": HOSTILE},
        command=f"probrev compare '{HOSTILE}'", created="2020-02-02T02:02:02+00:00",
    )  # fmt: skip
    rule, noise = ["universal", "net"], [0.4, 0.8, 1.6]
    risk = np.array([[0.5, 0.4], [0.6, 0.5], [0.9, 0.8]])
    run.tree["curve"] = xr.DataTree(
        xr.Dataset(
            {
                "net_risk": (("noise_std", "rule"), risk),
                "net_risk_std_error": (("noise_std", "rule"), risk / 20),
                "bayes_risk": ("noise_std", np.array([0.1, 0.3, 0.7])),
                "risk_ratio": (("noise_std", "rule"), risk / np.array([[0.1], [0.3], [0.7]])),
            },
            coords={"noise_std": noise, "rule": rule},
            attrs={"own_noise_std": 0.8},
        )
    )
    ratio = xr.DataArray(
        [[2.0, 3.0], [2.5, 3.5]], {"weight_seed": [0, 1], "inverse": ["net", "dense"]}
    )
    run.tree["over_weights"] = xr.DataTree(ratio.to_dataset(name="ratio"))
    return run


@cache
def without_truth():
    """Real x, and a sampler that is stuck."""
    return compare(pr.Observations(observations().x), {"gibbs": stuck()})


@cache
def without_atom():
    """A continuous prior: no unit is ever exactly 0."""
    h = np.random.default_rng(0).gamma(2.0, 0.3, size=(4, 300, NUM_OBS, N_HIDDEN))
    obs = continuous_model().simulate(jax.random.key(2), num_obs=NUM_OBS)
    posterior = from_draws("hmc", h, obs.x, model=continuous_model())
    return compare(obs, {"hmc": posterior}, of=continuous_model())


@cache
def of_one():
    """One observation, from which no interval can be had."""
    one = observations()[:1]
    return compare(one, {"gibbs": sampled(1)})


@cache
def of_two_in_six():
    """A posterior of the first two observations only."""
    return compare(observations(), {"hmc": sampled(2)})


@cache
def with_rungs():
    """Estimates between a net and Bayes, under the names of rungs."""
    mean = exact().mean.to_numpy()
    shares = {
        "theory": 1.2, "universal": 1.0, "calibrated": 0.8, "trained": 0.5, "scalar": 0.9,
        "first_step": 0.6, "two_steps": 0.3, "three_steps": 0.2, "converged": 0.1,
    }  # fmt: skip
    inverses = {
        name: lambda x, share=share: mean + share * (net(x) - mean)
        for name, share in shares.items()
    }
    return compare(observations(), {"exact": exact()}, inverses=inverses)


@cache
def under_four_priors():
    """Four models on one x: one far less likely than two, and one whose evidence is not known."""

    def under(rate, slab=None):
        prior = pr.SpikeAndSlab(N_HIDDEN, rate, slab or model().prior.slab, max_active=3)
        return pr.LayeredModel(prior, model().layers)

    obs = observations()
    close = pr.exact(under(0.36), obs)
    far = pr.exact(under(0.9, pr.FiniteSlab([5.0, 9.0], [0.5, 0.5])), obs)
    h = exact().draws.to_numpy()[:, ::2]
    unknown = from_draws("gibbs", h, obs.x, model=under(0.5))
    return compare(obs, {"own": exact(), "close": close, "far": far, "unknown": unknown})


RUNS = {
    "full": full,
    "without_truth": without_truth,
    "without_atom": without_atom,
    "of_one": of_one,
    "of_two_in_six": of_two_in_six,
    "with_rungs": with_rungs,
}
