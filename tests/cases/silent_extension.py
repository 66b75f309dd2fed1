"""A prior whose units are not independent, written as a subclass: exact is right, gibbs is wrong and says ok."""

from dataclasses import dataclass

import jax
import numpy as np
import numpyro

import probrev as pr

numpyro.enable_x64()


@pr.pytree(data=("inclusion_prob", "slab", "tilting_slab"), meta=("n_hidden", "max_active"))
@dataclass(frozen=True)
class Pairs(pr.SpikeAndSlab):
    """Units 2i and 2i + 1 switch together: weight e^3 for each pair that agrees."""

    def log_prob(self, h):
        on = h > 0
        return super().log_prob(h) + 3.0 * (on[..., ::2] == on[..., 1::2]).sum(-1)


slab = pr.FiniteSlab([1.0], [1.0])
W = np.random.default_rng(0).normal(size=(12, 4))
model = pr.LayeredModel(Pairs(4, 0.3, slab), [pr.Layer(W, 0.5, 1.5)])
obs = pr.LayeredModel(pr.SpikeAndSlab(4, 0.3, slab), model.layers).simulate(jax.random.key(3), 4)
exact, gibbs = pr.exact(model, obs), pr.gibbs(jax.random.key(1), model, obs)
print(
    "gibbs says",
    gibbs.status,
    "largest error of an inclusion probability",
    float(abs(exact.inclusion_prob - gibbs.inclusion_prob).max()),
)
