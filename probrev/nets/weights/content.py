"""What a file of weights holds: its tensors, what of it could not be read, and what it says."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from probrev.nets.weights.keras_config import KerasGraph


@dataclass(frozen=True)
class Content:
    """A file of weights as it was read.

    Attributes:
        tensors: arrays of numbers by name, bfloat16 as it is in the file; in the order of the file
            if it has one, else in the natural order of their names.
        left_out: why an array could not be read, by its name.
        is_ordered: the file keeps the order in which the tensors were made.
        graph: the layers that a Keras model's configuration lists; None if the file has none.
        bare: names of Keras layers without tensors, as far as the file lists them.
        is_part: the file is one of several that hold the net together.
    """

    tensors: Mapping[str, np.ndarray]
    left_out: Mapping[str, str] = field(default_factory=dict)
    is_ordered: bool = True
    graph: KerasGraph | None = None
    bare: tuple[str, ...] = ()
    is_part: bool = False

    def ndim(self, name: str) -> int:
        """Axes of a tensor; 0 of one that is not there."""
        return self.tensors[name].ndim if name in self.tensors else 0


def without_bfloat16(array: np.ndarray) -> np.ndarray:
    """The same numbers as float32 where they have the one type that NumPy does not know itself."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array
