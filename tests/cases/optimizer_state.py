"""Adam's moments under the key `optim`, as many training loops save them beside the weights."""

import tempfile

import numpy as np
from safetensors.numpy import save_file

import probrev as pr

g = lambda *s: np.random.default_rng(0).normal(size=s)
path = tempfile.mkdtemp() + "/checkpoint.safetensors"
save_file(
    {
        "model.0.weight": g(64, 48),
        "model.0.bias": g(64),
        "optim.state.0.exp_avg": g(64, 48),
        "optim.state.0.exp_avg_sq": g(64, 48) ** 2,
    },
    path,
)
print([(layer.name, layer.weights.shape) for layer in pr.read_layers(path)])
