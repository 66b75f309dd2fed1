"""A file laid out as Keras 3 lays out *.weights.h5: layers/NAME/vars/0 is the kernel, /1 the bias."""

import tempfile

import h5py
import numpy as np

import probrev as pr

rng = np.random.default_rng(0)
path = tempfile.mkdtemp() + "/net.weights.h5"
with h5py.File(path, "w") as f:
    f["layers/conv2d/vars/0"], f["layers/conv2d/vars/1"] = (
        rng.normal(size=(3, 3, 3, 16)),
        rng.normal(size=16),
    )
    f["layers/dense/vars/0"], f["layers/dense/vars/1"] = (
        rng.normal(size=(64, 32)),
        rng.normal(size=32),
    )
for layer in pr.read_layers(path):
    print(layer.name, layer.weights.shape, "largest bias", abs(layer.bias).max())
