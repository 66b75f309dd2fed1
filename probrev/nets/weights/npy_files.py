"""Arrays as NumPy writes them, checked against the bytes that are there."""

import math
from io import BytesIO
from zipfile import ZipFile

import numpy as np

from probrev.nets.weights.archive import read_member
from probrev.plumbing.refusal import Refusal


def read_npy(content: bytes) -> np.ndarray:
    """Reads the content of a .npy file of numbers.

    Raises:
        ValueError: it is truncated, or holds Python objects or records.
    """
    file = BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise Refusal(f"expected version 1 or 2 of the format; got {version}")
    read = np.lib.format.read_array_header_1_0
    if version == (2, 0):
        read = np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    if dtype.kind not in "biuf":
        raise Refusal(f"expected an array of numbers; got one of {dtype}")
    expected, held = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if min(shape, default=0) < 0 or held < expected:
        raise Refusal(f"shape {shape} needs {expected} bytes; the file holds {held}")
    array = np.frombuffer(content, dtype, math.prod(shape), file.tell())
    return array.reshape(shape, order="F" if is_fortran else "C")


def read_npz(archive: ZipFile) -> dict[str, np.ndarray]:
    """Reads every array of a .npz file.

    Raises:
        ValueError: a member is truncated, or no array of numbers.
    """
    found = {}
    for name in archive.namelist():
        try:
            found[name.removesuffix(".npy")] = read_npy(read_member(archive, name))
        except ValueError as error:
            raise Refusal(f"{name}: {error}") from None
    return found
