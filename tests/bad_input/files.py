"""Files that the rows of the command line name."""

import os
from pathlib import Path

import numpy as np

GOOD = '''"""A model."""
import numpy as np
import probrev as pr

def build(noise_std: float = 1.2, keep_prob: float = 0.7, free=None):
    """Builds it."""
    weights = np.random.default_rng(5).normal(size=(6, 3))
    prior = pr.SpikeAndSlab(3, 0.25, pr.FiniteSlab([0.5], [1.0]))
    return pr.LayeredModel(prior, [pr.Layer(weights, keep_prob, noise_std)])
'''
BROKEN = {
    "empty.py": "",
    "syntax.py": "def build(:\n",
    "deep.py": "x = " + "(" * 5000 + ")" * 5000 + "\n" + GOOD,
    "minus.py": "x = " + "-" * 50_000 + "1\n" + GOOD,
    "binary.py": b"\x7fELF\0\0\xff\xfe",
    "latin.py": b'"""caf\xe9"""\n',
    "codec.py": b"# coding: no-such-codec\n",
    "nul.py": b"x = 1\0\n" + GOOD.encode(),
    "no_build.py": "x = 1\n",
    "number.py": "build = 3\n",
    "class.py": "class build: ...\n",
    "lambda.py": "build = lambda: None\n",
    "async.py": "async def build(): ...\n",
    "huge.py": GOOD + "#" + "x" * 2**24,
    "annotated.py": GOOD.replace("free=None", "free: 'not valid(' = None"),
    "literal.py": GOOD.replace("free=None", "free: Literal[unknown] = None"),
    "tuple.py": GOOD.replace("free=None", "free: tuple[()] = None"),
    "shape.py": GOOD.replace("free=None", "free: Float[Array, 3 +  x] = None"),
    "unknown.py": GOOD.replace("free=None", "free: Callable[[int], str] = None"),
    "needs.py": GOOD.replace("free=None", "*, free"),
}


def write_files(folder: Path) -> None:
    """Model files, arrays and what is none, in a folder."""
    (folder / "good.py").write_text(GOOD)
    for name, text in BROKEN.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "good.toml").write_text('model = "good.py"\n[axes]\nnoise_std = [1.0]\n')
    (folder / "folder.py").mkdir()
    (folder / "taken").write_text("a file")
    (folder / "linked").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "run").mkdir()
    (folder / "run" / "run.nc").write_text("precious")
    os.mkfifo(folder / "pipe")
    arrays = {
        "scalar": np.array(3.0), "vector": np.ones(3), "cube": np.ones((2, 2, 2)),
        "words": np.array([["a", "b"]]), "nan": np.full((4, 3), np.nan), "none": np.ones((0, 3)),
        "complex": np.ones((4, 3), complex), "records": np.zeros(3, [("a", float), ("b", int)]),
        "times": np.zeros((4, 3), "datetime64[s]"), "zeros": np.zeros((4, 3)),
        "few": np.ones((20, 6)), "many": np.ones((300, 6)),
    }  # fmt: skip
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "pickled.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    whole = (folder / "cube.npy").read_bytes()
    (folder / "cut.npy").write_bytes(whole[:-8])
    (folder / "head.npy").write_bytes(whole[:30])
    (folder / "vast.npy").write_bytes(whole.replace(b"(2, 2, 2)", b"(9**9, 9)"))
    (folder / "parens.npy").write_bytes(whole.replace(b"(2, 2, 2), }", b"((((((((((((("))
    (folder / "zip.npy").write_bytes(b"PK\x03\x04 no archive")
    (folder / "text.npy").write_text("1 2 3")
    np.savez(folder / "layers.npz", w1=np.ones((6, 4)), b1=np.zeros(4), w2=np.ones((4, 2)))
    (folder / "net.npz").write_bytes(b"PK\x03\x04 no archive")
