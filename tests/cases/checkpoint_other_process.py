"""A checkpoint written by one process and gone on with by another: "belongs to another run" whenever strings hash differently."""

import pathlib
import subprocess
import sys
import tempfile

code = """
import jax, numpy as np, numpyro, probrev as pr, sys
numpyro.enable_x64()
model = pr.LayeredModel(pr.SpikeAndSlab(5, .3, pr.FiniteSlab([.5, 1.], [.5, .5])), [pr.Layer(np.random.default_rng(0).normal(size=(20, 5)), .5, 1.)])
pr.gibbs(jax.random.key(1), model, model.simulate(jax.random.key(0), 2), num_samples=int(sys.argv[2]), checkpoint=sys.argv[1])
"""
path = pathlib.Path(tempfile.mkdtemp(), "gibbs.npz")
for seed, draws in (("1", "200"), ("2", "400")):
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), draws],
        capture_output=True,
        text=True,
        env={**__import__("os").environ, "PYTHONHASHSEED": seed},
    )
    print("hash seed", seed, "exit", done.returncode, done.stderr.strip().splitlines()[-1:])
