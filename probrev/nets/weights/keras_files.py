"""HDF5 files and Keras archives: all arrays by path, in Keras's order where Keras says it."""

import itertools
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import jax.numpy as jnp
import numpy as np

from probrev.nets.weights.archive import MOST_INFLATION, Archive, Room
from probrev.nets.weights.content import Content
from probrev.nets.weights.keras_config import KerasGraph, read_config
from probrev.nets.weights.names import natural
from probrev.plumbing.refusal import Refusal

# Members of a .keras archive.
CONFIG, VARIABLES = "config.json", "model.weights.h5"
BFLOAT16 = "bfloat16"
# Groups within groups that a path may have, and objects that a file may.
_DEEPEST, _MOST_OBJECTS = 60, 2**16


def read_hdf5(path: Path) -> Content:
    """Reads every array of numbers, by its path in the file.

    Raises:
        ValueError: an array lies outside the file, or claims a size that it cannot have.
        OSError: no HDF5 file, or a damaged one.
    """
    with h5py.File(path, "r") as file:
        config: Any = file.attrs.get("model_config")
        graph = read_config(config) if isinstance(config, str | bytes) else None
        return _read_file(file, path.stat().st_size, graph)


def read_keras_archive(archive: Archive) -> Content:
    """Reads a .keras file: the variables of HDF5, the layers of its configuration.

    Raises:
        ValueError: as for `read_hdf5`.
    """
    content = archive.read(VARIABLES)
    graph = read_config(archive.read(CONFIG))
    with h5py.File(BytesIO(content), "r") as file:
        return _read_file(file, len(content), graph)


def _read_file(file: h5py.File, held: int, graph: KerasGraph | None) -> Content:
    listed = list(dict.fromkeys(_listed_by_keras(file)))
    arrays, bare = _visit(file)
    tensors: dict[str, np.ndarray] = {}
    left_out: dict[str, str] = {}
    room = Room(held)
    for name in _in_order(arrays, listed, graph):
        found = graph.find(name) if graph is not None else None
        array = _read(file[name], held, room, "" if found is None else found[0].dtype)
        if isinstance(array, str):
            left_out[name] = array
        else:
            tensors[name] = array
    is_ordered = bool(listed) or graph is not None
    return Content(tensors, left_out, is_ordered, graph, (*_bare(file), *bare))


def _visit(file: h5py.File) -> tuple[list[str], list[str]]:
    """Paths of all arrays, and names of the layers of Keras 3 that have none.

    Raises:
        ValueError: too many, or nested without end.
    """
    arrays: list[str] = []
    bare: list[str] = []
    numbers = itertools.count()

    def look(name: str, item: Any) -> None:
        if next(numbers) == _MOST_OBJECTS or name.count("/") > _DEEPEST:
            raise Refusal(f"more than {_MOST_OBJECTS} objects, or groups within {_DEEPEST} others")
        if _is_array(item):
            arrays.append(name)
        elif isinstance(item, h5py.Group) and name.endswith("/vars") and not len(item):
            bare.append(name.split("/")[-2])

    file.visititems(look)
    return arrays, bare


def _in_order(paths: list[str], listed: list[str], graph: KerasGraph | None) -> list[str]:
    """Paths of all arrays: layer by layer as Keras lists them, then as a reader would sort them."""
    first = [name for name in listed if name in {*paths}]
    rest = sorted({*paths} - {*first}, key=natural)
    if graph is None:
        return [*first, *rest]
    places = {layer.name: place for place, layer in enumerate(graph.layers)}
    found = {name: graph.find(name) for name in (*first, *rest)}
    ends = {name: places[one[0].name] if one else len(places) for name, one in found.items()}
    return sorted(found, key=lambda name: ends[name])


def _is_array(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and item.shape is not None and item.dtype.kind in "biufcV"


def _listed_by_keras(file: Any) -> Iterator[str]:
    for root in ("", "model_weights/"):
        group = file[root or "/"] if not root or root[:-1] in file else None
        if group is None:
            continue
        for layer in _texts(group.attrs.get("layer_names", ())):
            if layer in group:
                for weight in _texts(group[layer].attrs.get("weight_names", ())):
                    yield f"{root}{layer}/{weight}"


def _bare(file: Any) -> Iterator[str]:
    """Names of listed layers that have no arrays, such as activations."""
    for group in (file[root] for root in ("/", "model_weights") if root in file):
        for layer in _texts(group.attrs.get("layer_names", ())):
            if layer in group and not _texts(group[layer].attrs.get("weight_names", ())):
                yield layer


def _texts(values: Any) -> list[str]:
    """An attribute as texts; none if it is something else."""
    listed = (
        values if isinstance(values, list | tuple | np.ndarray) and np.ndim(values) == 1 else ()
    )
    return [
        value.decode(errors="replace") if isinstance(value, bytes) else value
        for value in listed
        if isinstance(value, str | bytes)
    ]


def _read(dataset: Any, held: int, room: Room, dtype: str) -> np.ndarray | str:
    """An array, or why it is none that can be read.

    Args:
        dataset: of the file.
        held: bytes of the file.
        room: for the arrays of the file.
        dtype: that of the layer, as its configuration says it: HDF5 has no bfloat16 of its own.
    """
    if dataset.is_virtual or dataset.external:
        raise Refusal(f"{dataset.name} lies in another file; expected it in this one")
    held = min(dataset.id.get_storage_size(), held)
    if dataset.nbytes > MOST_INFLATION * held:
        raise Refusal(f"{dataset.name} claims {dataset.nbytes} bytes; the file holds {held}")
    room.take(dataset.name, dataset.nbytes)
    if dataset.dtype.kind == "c" or dataset.dtype.names:
        return "complex numbers or records"
    if dataset.dtype.kind != "V":
        return dataset[()]
    said = _texts([dataset.attrs.get("dtype", dtype), ""])[0]
    if dataset.dtype.itemsize == 2 and said == BFLOAT16:
        return np.asarray(dataset[()]).view(jnp.bfloat16)
    return f"{dataset.dtype.itemsize} bytes an entry, of a type that the file does not say"
