"""One matrix that is no layer (all 0, or a mask of -inf) beside a good layer."""

import tempfile

import numpy as np
from safetensors.numpy import save_file

from probrev.cli import main

w, folder = np.random.default_rng(0).normal(size=(64, 48)), tempfile.mkdtemp()
for name, odd in (("zero", np.zeros((64, 4))), ("mask", np.triu(np.full((32, 32), -np.inf), 1))):
    save_file({"fc.weight": w, f"{name}.buffer": odd}, f"{folder}/{name}.safetensors")
    print(
        name,
        "exit status",
        main(["weights", f"{folder}/{name}.safetensors", "--out", f"{folder}/{name}"]),
    )
