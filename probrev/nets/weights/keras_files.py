"""HDF5 files: all arrays by path, in Keras's order where Keras wrote them, and its initialisers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from probrev.nets.weights.archive import MOST_INFLATION
from probrev.plumbing.refusal import Refusal


def read_hdf5(path: Path) -> dict[str, np.ndarray]:
    """Reads every array of numbers, by its path in the file.

    Raises:
        ValueError: an array lies outside the file, or claims a size that it cannot have.
        OSError: no HDF5 file, or a damaged one.
    """
    with h5py.File(path, "r") as file:
        return {name: _read(file[name], path) for name in _in_order(file)}


def read_initializers(path: Path) -> dict[str, str]:
    """The names of the kernels' initialisers by the names of their layers, as Keras saves them.

    Empty for any other file; a layer is left out if its initialiser has no name here.
    """
    if not h5py.is_hdf5(path):
        return {}
    with h5py.File(path, "r") as file:
        config: Any = file.attrs.get("model_config")
    try:
        layers = json.loads(config)["config"]
        layers = layers["layers"] if isinstance(layers, dict) else layers
        known = {one["config"]["name"]: _initializer(one["config"]) for one in layers}
    except (TypeError, KeyError, ValueError):
        return {}
    return {name: initializer for name, initializer in known.items() if initializer}


def _initializer(layer: dict[str, Any]) -> str:
    found = layer.get("kernel_initializer") or {}
    settings = found.get("config", {})
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", found.get("class_name", "")).lower()
    if words != "variance_scaling":
        return words
    spread = "uniform" if settings.get("distribution") == "uniform" else "normal"
    family = {
        (1.0, "fan_avg"): "glorot", (2.0, "fan_in"): "he", (1.0, "fan_in"): "lecun",
    }.get((settings.get("scale"), settings.get("mode")))  # fmt: skip
    return f"{family}_{spread}" if family else ""


def _in_order(file: h5py.File) -> list[str]:
    """Paths of all arrays: layer by layer as Keras lists them, then as a reader would sort them."""
    paths: list[str] = []
    file.visititems(lambda name, item: paths.append(name) if _holds_numbers(item) else None)
    listed = dict.fromkeys(_listed_by_keras(file))
    rest = sorted({*paths} - {*listed}, key=_natural)
    return [*(name for name in listed if name in {*paths}), *rest]


def _holds_numbers(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and item.shape is not None and item.dtype.kind in "biuf"


def _listed_by_keras(file: Any) -> Iterator[str]:
    for root in ("", "model_weights/"):
        group = file[root or "/"] if not root or root[:-1] in file else None
        if group is None:
            continue
        for layer in _texts(group.attrs.get("layer_names", ())):
            if layer in group:
                for weight in _texts(group[layer].attrs.get("weight_names", ())):
                    yield f"{root}{layer}/{weight}"


def _texts(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts dense_2 before dense_10."""
    return [(int(part or -1), "") if part.isdigit() else (-1, part) for part in _PARTS.split(name)]


_PARTS = re.compile(r"(\d+)")


def _read(dataset: Any, path: Path) -> np.ndarray:
    if dataset.is_virtual or dataset.external:
        raise Refusal(f"{dataset.name} lies in another file; expected it in {path.name}")
    held = min(dataset.id.get_storage_size(), path.stat().st_size)
    if dataset.nbytes > MOST_INFLATION * held:
        raise Refusal(f"{dataset.name} claims {dataset.nbytes} bytes; the file holds {held}")
    return dataset[()]
