"""A mixture of two classes of spikes, and a plain sampler that alternates class and units.

In the quiet class a unit is active with probability .1, in the busy one with .9. What x says of one
unit is weak, of all of them strong: given the class the units follow it, and given the units the
class does, so that no chain ever changes class.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expit, logit

import probrev as pr

PROBS = np.array([0.1, 0.9])
NUM_CHAINS, NUM_WARMUP, NUM_DRAWS = 4, 50, 250


class Classes(NamedTuple):
    """Class 0 or 1 at even odds, h_i in {0, 1} given it, x = h + N(0, noise²)."""

    noise_std: jax.Array
    num_units: jax.Array  # as zeros, so that a compiled call knows how many
    n_visible = property(lambda self: len(self.num_units))
    n_hidden = property(lambda self: len(self.num_units))

    def simulate(self, key, num_obs):
        keys = jax.random.split(key, 3)
        label = jax.random.bernoulli(keys[0], 0.5, (num_obs,)).astype(int)
        shape = (num_obs, self.n_hidden)
        h = (jax.random.uniform(keys[1], shape) < jnp.asarray(PROBS)[label][:, None]).astype(float)
        x = h + self.noise_std * jax.random.normal(keys[2], shape)
        return pr.Observations(x, h, sites={"class": label})


MODEL = Classes(jnp.asarray(1.5), jnp.zeros(30))


def evidence_of(model, obs):
    """Log likelihood ratio of h_i = 1 against 0."""
    return (np.asarray(obs.x) - 0.5) / float(model.noise_std) ** 2


def rng_of(key):
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def exact_draws(key, model, obs):
    """iid draws: the class with the units summed out, then the units."""
    rng, evidence = rng_of(key), evidence_of(model, obs)
    # log p(x | class) but for a constant.
    by_class = np.log1p(PROBS[:, None, None] * np.expm1(evidence)).sum(-1)
    size = (1, NUM_CHAINS * NUM_DRAWS, len(evidence))
    label = (rng.uniform(size=size) < expit(by_class[1] - by_class[0])).astype(int)
    h = rng.uniform(size=(*size, evidence.shape[1])) < expit(
        logit(PROBS[label])[..., None] + evidence
    )
    return pr.from_draws(
        "exact draws", h.astype(float), obs.x, model=model, sampling="iid", sites={"class": label}
    )


def alternate(key, model, obs, start=None):
    """Class given units, units given class and x; blind chains start with no unit active."""
    rng, evidence = rng_of(key), evidence_of(model, obs)
    shape = (NUM_CHAINS, *evidence.shape)
    h = np.zeros(shape) if start is None else np.broadcast_to(start, shape)
    draws, labels = [], []
    odds = logit(PROBS)
    log_prob = np.log([PROBS, 1 - PROBS])
    for sweep in range(NUM_WARMUP + NUM_DRAWS):
        active = h.sum(-1)
        joint = active[..., None] * log_prob[0] + (shape[-1] - active)[..., None] * log_prob[1]
        label = (rng.uniform(size=shape[:2]) < expit(joint[..., 1] - joint[..., 0])).astype(int)
        h = (rng.uniform(size=shape) < expit(odds[label][..., None] + evidence)).astype(float)
        if sweep >= NUM_WARMUP:
            draws.append(h)
            labels.append(label)
    return pr.from_draws(
        "alternate", np.stack(draws, 1), obs.x, model=model, sites={"class": np.stack(labels, 1)}
    )


def alternate_from_truth(key, model, obs):
    return alternate(key, model, obs, start=np.asarray(obs.h))
