"""A script may import ArviZ and modules of NumPyro in any order."""

import subprocess
import sys

SCRIPT = """
import arviz
import numpyro.distributions as dist
import numpy as np
import probrev as pr

prior = pr.SpikeAndSlab(2, 0.4, dist.HalfNormal(1.0))
pr.LayeredModel(prior, [pr.Layer(np.eye(2), 0.6, 0.8, 0.5)])
import numpyro

numpyro.handlers.seed(numpyro.factor, 0)("name", 0.0)
"""


def test_arviz_first_and_then_a_module_of_numpyro():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
