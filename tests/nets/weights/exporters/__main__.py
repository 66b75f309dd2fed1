"""Writes the corpus of files that the readers are tested on, each by the library it is named after.

By hand, since the libraries are large: `uv run --isolated --group exporters python -m
tests.nets.weights.exporters`, then `git diff --stat` on the corpus. Seeds are fixed; formats with
times or random names in them differ from run to run all the same.
"""

from tests.nets.weights.exporters.corpus import CORPUS, MOST_BYTES, MOST_BYTES_IN_ALL
from tests.nets.weights.exporters.flax_nets import write_flax
from tests.nets.weights.exporters.keras_nets import write_keras
from tests.nets.weights.exporters.sklearn_nets import write_sklearn
from tests.nets.weights.exporters.torch_nets import write_torch

for write in (write_torch, write_keras, write_flax, write_sklearn):
    write()
sizes = {path: path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()}
for folder in sorted({path.parent for path in sizes}):
    inside = [size for path, size in sizes.items() if path.parent == folder]
    print(f"{folder.relative_to(CORPUS)}: {len(inside)} files, {sum(inside) / 1000:.0f} kB")
assert max(sizes.values()) <= MOST_BYTES, [p for p, size in sizes.items() if size > MOST_BYTES]
assert sum(sizes.values()) <= MOST_BYTES_IN_ALL
