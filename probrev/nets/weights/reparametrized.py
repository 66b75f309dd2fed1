"""Weights that a file keeps in pieces: torch's weight normalisation and pruning, put together."""

from collections.abc import Mapping

import numpy as np

OTHERWISE = "in pieces, by a parametrisation that is not known here: remove it before saving"
WEIGHT_NORM = "put together from the size and the direction of a weight normalisation"
PRUNED = "multiplied by the mask of a pruning"


def put_together(
    tensors: Mapping[str, np.ndarray],
) -> tuple[dict[str, np.ndarray], dict[str, str], dict[str, str]]:
    """Tensors with the pieces of a weight replaced by the weight, as `module.weight`.

    Returns:
        The tensors; how each that is new was put together; why pieces of another kind were not.

    Source: torch/nn/utils/weight_norm.py, parametrizations.py and prune.py.
    """
    whole: dict[str, np.ndarray] = {}
    made: dict[str, str] = {}
    failed: dict[str, str] = {}
    used = {piece for name in tensors for piece in _pieces(name, tensors)}
    for name, tensor in tensors.items():
        pieces = _pieces(name, tensors)
        if pieces:
            target = _target(name)
            is_mask = pieces[1].endswith("_mask")
            first, second = (np.asarray(tensors[piece]) for piece in pieces)
            whole[target] = first * second if is_mask else _scaled(first, second)
            made[target] = PRUNED if is_mask else WEIGHT_NORM
        elif name in used:
            continue
        elif _is_piece(name, tensors):
            failed[name] = OTHERWISE
        else:
            whole[name] = tensor
    return whole, made, failed


def _pieces(name: str, tensors: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The pieces that stand for a weight, if the name is that of the first: size or values."""
    for first, second in (("_g", "_v"), (".original0", ".original1"), ("_orig", "_mask")):
        other = name.removesuffix(first) + second
        if name.endswith(first) and other in tensors and name.removesuffix(first):
            one, two = tensors[name], tensors[other]
            is_mask = second == "_mask"
            if (one.shape == two.shape) if is_mask else _is_size(one, two):
                return name, other
    return ()


def _is_size(size: np.ndarray, direction: np.ndarray) -> bool:
    """Whether the one can hold the lengths of the other's slices."""
    if direction.ndim < 2 or size.ndim not in (0, direction.ndim):
        return False
    pairs = zip(size.shape, direction.shape, strict=False)
    return all(one in (1, other) for one, other in pairs)


def _scaled(size: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Directions at the lengths that belong to them: g v / |v|."""
    every = [*range(direction.ndim)]
    axes = tuple(axis for axis in every if not size.ndim or size.shape[axis] == 1)
    rest = [axis for axis in every if axis not in axes]
    # Sums of float64 without a copy of the directions in it.
    squares = np.einsum(direction, every, direction, every, rest, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = size / np.expand_dims(np.sqrt(squares), axes)
        dtype = np.result_type(direction, np.float32)
        return np.multiply(direction, factor, dtype=dtype, casting="same_kind")


def _target(name: str) -> str:
    """The weight that a first piece belongs to."""
    for ending in ("_g", "_orig", ".original0"):
        name = name.removesuffix(ending)
    return name.replace(".parametrizations.", ".").removeprefix("parametrizations.")


def _is_piece(name: str, tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether it is a piece of a weight in a way that is not known here."""
    if "parametrizations." in name:
        return True
    stem = name.rpartition("_")[0]
    return name.endswith(("_orig", "_u", "_v", "_g")) and f"{stem}_orig" in tensors
