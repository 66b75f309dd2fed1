"""Where the corpus lies: a file of weights, and beside it what the net gave, in NAME.run.npz.

HDF5 is mostly empty space: such files, and the archives of them, are kept by gzip as they are.
"""

import gzip
from pathlib import Path

import numpy as np

CORPUS = Path(__file__).parents[1] / "corpus"
RUN, GZIP = ".run.npz", ".gz"
MOST_BYTES, MOST_BYTES_IN_ALL = 20_000, 1_000_000


def new_path(name):
    """A path in the corpus, with its folder."""
    path = CORPUS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def pack(path):
    """Compresses a file in its place, the same way every time."""
    path.with_name(path.name + GZIP).write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    path.unlink()


def write_run(name, x, y):
    """Writes an input and the output that the exporter's own net gives for it."""
    np.savez(new_path(name + RUN), x=np.asarray(x, "f8"), y=np.asarray(y, "f8"))
