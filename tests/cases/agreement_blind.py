"""A posterior that is another one scaled and shifted where it is not 0, and one whose units were shuffled apart: both "agree"."""

import jax
import numpy as np
import numpyro

import probrev as pr

numpyro.enable_x64()
layer = pr.Layer(np.random.default_rng(0).normal(size=(60, 8)), keep_prob=0.5, noise_std=0.7)
model = pr.LayeredModel(pr.SpikeAndSlab(8, 0.2, pr.FiniteSlab([0.5, 1.0], [0.5, 0.5])), [layer])
obs = model.simulate(jax.random.key(0), 4)
exact = pr.exact(model, obs)
h, rng = np.asarray(exact.draws), np.random.default_rng(1)
apart = np.stack(
    [rng.permuted(h[..., i].reshape(-1, 4), axis=0).reshape(h.shape[:3]) for i in range(8)], -1
)
for name, draws in {"scaled": np.where(h > 0, 3 * h + 1, 0), "shuffled apart": apart}.items():
    found = pr.measure_agreement(pr.from_draws("elsewhere", draws, obs.x, model=model), exact)
    print(name, "agrees", np.asarray(found.agrees))
