"""Arrays as NumPy writes them, checked against the bytes that are there."""

import math
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np

from probrev.nets.weights.archive import Archive
from probrev.nets.weights.content import Content
from probrev.plumbing.refusal import REFUSALS, Refusal


def read_npy(name: str, data: bytes) -> Content:
    """Reads the one array of a .npy file.

    Args:
        name: what it is called by.
        data: of the file.

    Raises:
        ValueError: it is truncated.
    """
    array = _read_array(data)
    return Content({}, {name: array}) if isinstance(array, str) else Content({name: array})


def read_npy_file(path: str | Path) -> np.ndarray:
    """Reads the array of numbers in a .npy file.

    Args:
        path: the file, which is there.

    Raises:
        ValueError: it has none; the words do not name it.
    """
    try:
        data = Path(path).read_bytes()
        if data.startswith(b"PK"):
            raise Refusal("it holds several arrays: save one with numpy.save")
        array = _read_array(data)
    except REFUSALS:
        raise
    except Exception as error:  # NumPy parses a header as Python, and raises what that does
        raise Refusal(f"it is no .npy file ({error})") from error
    if isinstance(array, str):
        raise Refusal(array)
    return array


def read_npz(archive: Archive) -> Content:
    """Reads every array of a .npz file.

    Raises:
        ValueError: a member is truncated.
    """
    tensors: dict[str, np.ndarray] = {}
    left_out: dict[str, str] = {}
    for member in archive.names:
        name = member.removesuffix(".npy")
        try:
            array = _read_array(archive.read(member))
        except ValueError as error:
            raise Refusal(f"{member}: {error}") from None
        if isinstance(array, str):
            left_out[name] = array
        else:
            tensors[name] = array
    return Content(tensors, left_out)


def _read_array(data: bytes) -> np.ndarray | str:
    """An array of numbers, or why it is none."""
    file = BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise Refusal(f"expected version 1 or 2 of the format; got {version}")
    read = np.lib.format.read_array_header_1_0
    if version == (2, 0):
        read = np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that Python 2 wrote it
        shape, is_fortran, dtype = read(file)
    if dtype.kind not in "biuf":
        return f"expected an array of numbers; got one of {dtype}"
    expected, held = math.prod(shape) * dtype.itemsize, len(data) - file.tell()
    if min(shape, default=0) < 0 or held < expected:
        raise Refusal(f"shape {shape} needs {expected} bytes; the file holds {held}")
    if held > expected:
        raise Refusal(
            f"{held - expected} bytes follow an array of shape {shape}, as where several are "
            "written one after the other: save them by name, as .npz"
        )
    array = np.frombuffer(data, dtype, math.prod(shape), file.tell())
    return array.reshape(shape, order="F" if is_fortran else "C")
