"""Draws that never vary, one chain of one draw: status ok, and a confident word."""

import arviz as az
import jax
import numpy as np
import numpyro

import probrev as pr

numpyro.enable_x64()
layer = pr.Layer(np.random.default_rng(0).normal(size=(60, 8)), keep_prob=0.5, noise_std=0.7)
model = pr.LayeredModel(pr.SpikeAndSlab(8, 0.2, pr.FiniteSlab([0.5, 1.0], [0.5, 0.5])), [layer])
obs = model.simulate(jax.random.key(0), 8)
one = az.from_dict({"posterior": {"h": np.zeros((1, 1, 8, 8))}}, dims={"h": ["obs", "hidden"]})
result = pr.compare(model, obs, {"nothing": lambda x: np.zeros((len(x), 8))}, {"constant": one})
print(result.conclusive, result.verdicts[0].sentence)
