"""A safetensors file with one float8 matrix beside a float32 one."""

import json
import struct
import tempfile

import ml_dtypes
import numpy as np

import probrev as pr

w = np.random.default_rng(0).normal(size=(64, 48)).astype("f4")
parts, head, at = (
    {"a.weight": ("F32", w), "b.weight": ("F8_E4M3", w.astype(ml_dtypes.float8_e4m3fn))},
    {},
    0,
)
for name, (kind, array) in parts.items():
    head[name] = {
        "dtype": kind,
        "shape": list(array.shape),
        "data_offsets": [at, at + array.nbytes],
    }
    at += array.nbytes
text = json.dumps(head).encode()
path = tempfile.mkdtemp() + "/mixed.safetensors"
with open(path, "wb") as f:
    f.write(
        struct.pack("<Q", len(text))
        + text
        + b"".join(array.tobytes() for _, array in parts.values())
    )
print([layer.name for layer in pr.read_layers(path)])
