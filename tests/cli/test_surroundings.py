"""A command in an environment that says otherwise: no home, no letters, strict settings."""

import os
import subprocess
import sys

import numpy as np
import pytest

import probrev as pr
from probrev.cli.surroundings import settle
from tests.cli.conftest import SMALL

ODD = {
    "HOME": "/nonexistent",
    "JAX_DEBUG_NANS": "1",
    "JAX_DEFAULT_PRNG_IMPL": "rbg",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "JAX_NUMPY_RANK_PROMOTION": "raise",
    "LC_ALL": "C",
    "MPLBACKEND": "QtAgg",
    "PYTHONIOENCODING": "ascii",
    "TERM": "dumb",
}


def test_settings_that_change_numbers_are_gone(monkeypatch):
    for name, value in ODD.items():
        monkeypatch.setenv(name, value)
    settle()
    assert not [name for name in os.environ if name.startswith("JAX_N") or name == "JAX_DEBUG_NANS"]
    assert os.environ["MPLBACKEND"] == "agg"


@pytest.mark.slow
def test_a_command_computes_the_same_in_an_odd_environment(small_run, tmp_path):
    folder, _ = small_run
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.family: no such\n")
    (tmp_path / "arvizrc").write_text("data.sample_dims: draw\nstats.ci_prob: 0.5\n")
    rungs = ("--inverse", "universal", "--inverse", "calibrated", "--inverse", "first_step")
    words = ("compare", "one_layer", *SMALL, "--posterior", "exact", *rungs, "--out", "odd")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "probrev", *words],
        cwd=tmp_path, env=os.environ | ODD, capture_output=True, check=False,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr, done.stderr
    assert (tmp_path / "odd" / "report.html").exists()
    found, wanted = pr.load(tmp_path / "odd" / "run.nc"), pr.load(folder / "first" / "run.nc")
    np.testing.assert_array_equal(found.tree["data/x"], wanted.tree["data/x"])
    assert len(found.table()) == len(wanted.table())
