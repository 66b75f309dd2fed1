"""Seven equal layers named 0, 2, ... 12, as an unnamed stack of linear and ReLU gets in a safetensors file."""

import tempfile

import numpy as np
import numpyro
from safetensors.numpy import save_file

import probrev as pr

numpyro.enable_x64()
rng = np.random.default_rng(0)
names, x = [str(2 * i) for i in range(7)], rng.random((5, 32))
W = [rng.normal(size=(32, 32)) * 0.4 for _ in names]  # (out, in)
path = tempfile.mkdtemp() + "/deep.safetensors"
save_file(
    {f"{n}.weight": w for n, w in zip(names, W)} | {f"{n}.bias": np.full(32, 0.1) for n in names},
    path,
)
h = x
for w in W:
    h = np.maximum(h @ w.T + 0.1, 0)
layers = pr.read_layers(path)
net = pr.FeedforwardNet.from_weights([l.weights for l in layers], [l.bias for l in layers])
print(
    "order",
    [l.name for l in layers],
    "relative error",
    np.linalg.norm(net(x) - h) / np.linalg.norm(h),
)
