"""Another tool's draws with the observations in another order, and labelled so."""

import arviz as az
import jax
import numpy as np
import numpyro

import probrev as pr

numpyro.enable_x64()
layer = pr.Layer(np.random.default_rng(0).normal(size=(60, 8)), keep_prob=0.5, noise_std=0.7)
model = pr.LayeredModel(pr.SpikeAndSlab(8, 0.2, pr.FiniteSlab([0.5, 1.0], [0.5, 0.5])), [layer])
obs = model.simulate(jax.random.key(0), 4)
exact = pr.exact(model, obs)
order = [3, 2, 1, 0]
turned = az.from_dict(
    {"posterior": {"h": np.asarray(exact.draws)[:, :, order]}},
    dims={"h": ["obs", "hidden"]},
    coords={"obs": order},
)
net = pr.FeedforwardNet.from_model(jax.random.key(1), model)
for name, posterior in {
    "exact": exact,
    "elsewhere": turned,
}.items():  # each alone: together the disagreement is caught
    print(pr.compare(model, obs, {"net": net}, {name: posterior}).verdicts[0].sentence)
