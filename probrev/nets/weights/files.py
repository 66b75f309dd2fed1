"""Files of weights, read as tensors by name: NumPy, safetensors, HDF5 and torch."""

import zlib
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open

from probrev.nets.weights.keras_files import read_hdf5
from probrev.nets.weights.npy_files import read_npy, read_npz
from probrev.nets.weights.torch_files import read_torch_legacy, read_torch_zip
from probrev.plumbing.refusal import MissingFileRefusal, Refusal

FORMATS = ".npy, .npz, safetensors, HDF5 or a torch state dict"
# What a file begins with.
NPY, ZIP, HDF5, PICKLE = b"\x93NUMPY", b"PK", b"\x89HDF\r\n\x1a\n", b"\x80"
# What the libraries below raise for damaged files.
UNREADABLE = (
    BadZipFile, EOFError, KeyError, MemoryError, NotImplementedError, OSError, OverflowError,
    RuntimeError, SafetensorError, SyntaxError, TypeError, ValueError, zlib.error,
)  # fmt: skip


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the arrays of numbers in a file of weights, in its order; runs nothing that it says.

    The format is told by the file's content, not by its name. The one array of a .npy file is
    called by the name of the file. Names in HDF5 are paths; those of nested torch dicts are joined
    by dots. Arrays may be read-only views.

    Args:
        path: .npy, .npz, safetensors, HDF5 (Keras or other) or a torch state dict of either format.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is none of these, is truncated, or asks for more than data; the message
            names the file, what was expected and what came.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileRefusal(f"no file {path}: expected {FORMATS}")
    if not path.is_file():
        raise Refusal(f"{path}: expected a file, {FORMATS}; got a folder")
    with path.open("rb") as file:
        beginning = file.read(16)
    kind, read = _reader(beginning)
    try:
        tensors = read(path)
    except UNREADABLE as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise Refusal(f"{path}: cannot be read as {kind}: {said}") from None
    found = {name: _plain(array) for name, array in tensors.items()}
    if not found:
        raise Refusal(f"{path}: expected {FORMATS} with arrays of numbers; got {kind} with none")
    return found


def _plain(array: np.ndarray) -> np.ndarray:
    """An array without the one type that NumPy does not know by itself."""
    return array.astype(np.float32) if array.dtype == jnp.bfloat16 else array


def _reader(beginning: bytes) -> tuple[str, Callable[[Path], dict[str, np.ndarray]]]:
    """What kind of file begins so, and the function that reads it."""
    # The length of a JSON header, which may begin like any of the others, and the header.
    if beginning[4:9] == b"\0\0\0\0{":
        return "a safetensors file", _read_safetensors
    if beginning.startswith(NPY):
        return "a .npy file", lambda path: {path.stem: read_npy(path.read_bytes())}
    if beginning.startswith(HDF5):
        return "an HDF5 file", read_hdf5
    if beginning.startswith(ZIP):
        return "a .npz file or a torch state dict", _read_zip
    if beginning.startswith(PICKLE):
        return "a torch state dict", lambda path: read_torch_legacy(path.read_bytes())
    return FORMATS, _refuse


def _refuse(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        beginning = file.read(16)
    raise Refusal(f"it begins with {beginning!r}" if beginning else "it is empty")


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    with ZipFile(path) as archive:
        names = archive.namelist()
        if names and all(name.endswith(".npy") for name in names):
            return read_npz(archive)
        return read_torch_zip(archive)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.offset_keys()}
