"""The peak of a process is its own."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from analyses.benchmarks.memory import peak_bytes

ROOT = Path(__file__).parents[3]


def test_a_child_does_not_count_what_its_parent_used():
    before = peak_bytes()
    used = np.ones(200 * 2**20 // 8)
    assert peak_bytes() - before < 2 * used.nbytes
    assert peak_bytes() >= used.nbytes
    code = "from analyses.benchmarks.memory import peak_bytes; print(peak_bytes())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert 2**20 < int(done.stdout) < used.nbytes
