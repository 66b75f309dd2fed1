"""Matrices and vectors that no name tells apart, as `numpy.savez(file, *arrays)` writes them."""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from probrev.nets.weights.content import without_bfloat16
from probrev.nets.weights.matrices import ROWS
from probrev.nets.weights.trained_layer import TrainedLayer

COLUMNS = "a matrix whose name says nothing, taken as (n_visible, n_hidden)"
ROWS_BY_WIDTH = "taken as (n_hidden, n_visible), as the widths of the matrices follow each other"
NO_MATRIX = "a vector that belongs to no matrix for certain: name it after its layer, fc1.bias"


def read_plain(
    tensors: Mapping[str, np.ndarray],
) -> tuple[list[TrainedLayer], dict[str, str]]:
    """Layers of matrices, each with the vector that is its bias, and the vectors that are none's.

    The first vector belongs to the first matrix, and so on, if there are as many of both and all
    fit on one side. Sides are told by that, then by widths that follow each other.

    Args:
        tensors: finite, of one or two axes.
    """
    matrices = [name for name, tensor in tensors.items() if tensor.ndim == 2]
    vectors = [name for name, tensor in tensors.items() if tensor.ndim == 1]
    shapes = [tensors[name].shape for name in matrices]
    sizes = [tensors[name].size for name in vectors]
    fitting = [axis for axis in (1, 0) if sizes == [shape[axis] for shape in shapes]]
    assumed, units = COLUMNS, 1
    if fitting:
        units = fitting[0]
        assumed = COLUMNS if len(fitting) == 2 else "" if units else ROWS
    elif not _chain(shapes) and _chain([shape[::-1] for shape in shapes]):
        assumed, units = ROWS_BY_WIDTH, 0
    biases: Iterator[str | None] = iter(vectors if fitting else [None] * len(matrices))
    layers = []
    for name, bias in zip(matrices, biases, strict=True):
        kernel = without_bfloat16(tensors[name] if units else tensors[name].T)
        shift = np.zeros(kernel.shape[1]) if bias is None else np.asarray(tensors[bias], float)
        said = (assumed,) if assumed else ()
        layers.append(TrainedLayer(name, kernel, shift, assumed=said))
    return layers, {} if fitting else dict.fromkeys(vectors, NO_MATRIX)


def _chain(shapes: list[tuple[int, ...]]) -> bool:
    return all(one[1] == other[0] for one, other in pairwise(shapes))
