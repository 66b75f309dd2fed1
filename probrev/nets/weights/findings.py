"""Layers and batch normalisations among the tensors of a file, and what is neither."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from probrev.nets.weights.batch_norms import BatchNorm, as_norm
from probrev.nets.weights.content import Content
from probrev.nets.weights.exclusions import AVERAGE, MASK, OPTIMIZER, exclude
from probrev.nets.weights.keras_config import BATCH_NORM
from probrev.nets.weights.matrices import (
    ATTENTIVE,
    COLUMNS,
    NOT_FINITE,
    ROWS,
    TRANSPOSED,
    UNKNOWN_AXES,
    are_heads,
    as_layer,
    reason_of_parts,
)
from probrev.nets.weights.modules import CONVOLUTIONS, Module, find_modules, is_affine, is_norm
from probrev.nets.weights.names import BIAS, WEIGHTS, read_name, template
from probrev.nets.weights.pairing import Place
from probrev.nets.weights.plain_matrices import read_plain
from probrev.nets.weights.reparametrized import put_together
from probrev.nets.weights.trained_layer import CONVOLUTION

UNKNOWN = "neither the weights nor the bias of a layer, by its name"
AFFINE = "a scale or shift by itself: a norm without running statistics, or a learned slope"
BIAS_ALONE = "a bias whose weights are not read"
INTEGERS = "integers: no weights without the scale that they were rounded at"
FLAGS = "true or false"
NUMBER, EMPTY, COUNTS = "one number", "empty", "integers in a row"
GROUPED = (
    "it sees fewer channels than the convolution before it gives, and none other gives as many: "
    "grouped or depthwise, or of another input"
)
MASKED = "its mask would set some of its weights to 0, and when it is applied is not known"
# What a net can do without.
HARMLESS = (OPTIMIZER, AVERAGE, MASK, FLAGS, NUMBER, EMPTY, COUNTS)


@dataclass(frozen=True)
class Findings:
    """What was found in a file.

    Attributes:
        modules: all of its modules, in its order.
        places: layers with their modules, in its order.
        norms: batch normalisations, in its order.
        left_out: why a tensor is in none of them, by its name.
    """

    modules: list[Module] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    norms: list[BatchNorm] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    def leave_out(self, module: Module, reason: str) -> None:
        """Leaves out every tensor of a module."""
        self.left_out.update(dict.fromkeys(module.parts.values(), reason))

    def drop(self, place: Place, reason: str) -> None:
        """Takes a layer out again."""
        self.places.remove(place)
        self.leave_out(place.module, reason)


def find(content: Content) -> Findings:
    """Tells layers and batch normalisations of a file from what is neither."""
    tensors, made, failed = put_together(content.tensors)
    excluded = exclude(tensors)
    left_out = {**content.left_out, **failed, **excluded}
    kept = {name: tensor for name, tensor in tensors.items() if name not in left_out}
    odd = {name: reason for name, tensor in kept.items() if (reason := _odd(tensor))}
    sound = {name: tensor for name, tensor in kept.items() if name not in odd}
    modules = find_modules(sound, content.graph)
    found = Findings(modules, left_out={**left_out, **odd})
    for module in modules:
        _sort(module, sound, found, _holds_heads(module, modules))
    named = any(WEIGHTS in module.parts for module in modules)
    if not named and {*found.left_out.values()} <= {UNKNOWN, AFFINE, BIAS_ALONE, *HARMLESS}:
        _add_plain(found, sound)
    masks = {name: tensors[name] for name, reason in excluded.items() if reason == MASK}
    _read_masks(found, masks, sound)
    _drop_unknown_axes(found)
    _drop_grouped(found, content.is_ordered)
    _drop_twins(found)
    _forget_counters(found)
    for index, (module, layer) in enumerate(found.places):
        if layer.name in made:
            said = replace(layer, assumed=(*layer.assumed, made[layer.name]))
            found.places[index] = Place(module, said)
    return found


def _odd(tensor: np.ndarray) -> str:
    """Why an array is none that a layer could have, by its type and size."""
    if tensor.dtype.kind == "b":
        return FLAGS
    if not tensor.ndim:
        return NUMBER
    if tensor.dtype.kind in "iu":
        return COUNTS if tensor.ndim == 1 else INTEGERS
    return "" if tensor.size else EMPTY


def _holds_heads(module: Module, modules: list[Module]) -> bool:
    """Whether a module lies in one of attention."""
    beside = {one.own_name for one in modules if one.parent == module.parent}
    above = [one for one in modules if module.parent and one.name == module.parent]
    return are_heads(beside) or any("in_proj_weight" in one.parts for one in above)


def _sort(
    module: Module, tensors: Mapping[str, np.ndarray], found: Findings, in_attention: bool
) -> None:
    parts = module.parts
    weights = tensors[parts[WEIGHTS]] if WEIGHTS in parts else None
    if is_norm(module) and module.class_name in ("", BATCH_NORM):
        norm = as_norm(module, tensors)
        if isinstance(norm, str):
            found.leave_out(module, norm)
        else:
            found.norms.append(norm)
    elif reason := reason_of_parts(module):
        found.leave_out(module, reason)
    elif weights is not None and weights.ndim > 1:
        layer = as_layer(module, tensors, in_attention)
        if isinstance(layer, str):
            found.leave_out(module, layer)
        else:
            found.places.append(Place(module, layer))
            rest = [name for part, name in parts.items() if part not in (WEIGHTS, BIAS)]
            found.left_out.update(dict.fromkeys(rest, UNKNOWN))
    elif {*parts} == {BIAS}:
        found.leave_out(module, BIAS_ALONE)
    elif is_affine(module, tensors):
        found.leave_out(module, AFFINE)
    else:
        found.leave_out(module, ATTENTIVE if in_attention else UNKNOWN)


def _add_plain(found: Findings, tensors: Mapping[str, np.ndarray]) -> None:
    """Takes matrices by any name, in a file where no name is that of weights."""
    plain: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        if found.left_out.get(name) in (UNKNOWN, AFFINE, BIAS_ALONE) and tensor.ndim in (1, 2):
            if np.isfinite(tensor).all():
                plain[name] = tensor
            else:
                found.left_out[name] = NOT_FINITE
    layers, without = read_plain(plain)
    if layers:
        for name in plain:
            del found.left_out[name]
        found.left_out.update(without)
        for layer in layers:
            module = Module(layer.name, {WEIGHTS: layer.name})
            found.places.append(Place(module, layer))


def _read_masks(
    found: Findings, masks: Mapping[str, np.ndarray], tensors: Mapping[str, np.ndarray]
) -> None:
    """Drops layers beside a mask of their shape that would change them."""
    for name, mask in masks.items():
        for place in list(found.places):
            weights = tensors[place.module.parts[WEIGHTS]]
            is_beside = read_name(name).module == place.module.name and mask.shape == weights.shape
            if is_beside and not np.array_equal(np.where(mask == 1, weights, 0), weights):
                found.drop(place, MASKED)


def _drop_unknown_axes(found: Findings) -> None:
    """Drops dense layers whose bias does not tell rows from columns, if others' biases surprise."""
    surprising = {
        place.module.word
        for place in found.places
        if {COLUMNS, ROWS} & {*place.layer.assumed} and place.module.parts.get(BIAS)
    }
    for place in list(found.places):
        module, layer = place
        shows = BIAS in module.parts and layer.n_visible != layer.n_hidden
        if module.word in surprising and layer.kind != CONVOLUTION and not shows:
            found.drop(place, UNKNOWN_AXES)


def _drop_grouped(found: Findings, is_ordered: bool) -> None:
    """Drops convolutions of as many channels as none gives, if the one before explains them.

    They may be grouped if it gives a multiple of their channels, and transposed if it gives as many
    as they seem to have units. Without an order of the file, it is the one before by its numbers.
    """
    convolutions = [place for place in found.places if place.layer.kind == CONVOLUTION]
    given = {place.layer.n_hidden for place in convolutions}
    for lower, upper in pairwise(convolutions):
        num_channels, num_given = upper.layer.num_channels, lower.layer.n_hidden
        roots = {template(place.module.name.split(".")[0]) for place in (lower, upper)}
        is_before = is_ordered or len(roots) == 1
        is_told = num_channels in (*given, num_given) or upper.module.class_name in CONVOLUTIONS
        if is_told or not is_before:
            continue
        if num_channels < num_given and num_given % num_channels == 0:
            found.drop(upper, GROUPED)
        elif upper.layer.n_hidden == num_given and upper.layer.kernel_size > 1:
            found.drop(upper, TRANSPOSED)


def _drop_twins(found: Findings) -> None:
    """Keeps one of the layers whose weights are the same numbers."""
    seen: dict[tuple[tuple[int, ...], bytes], str] = {}
    for place in list(found.places):
        kernel = place.layer.kernel
        if np.ptp(kernel):
            digest = hashlib.sha256()
            for row in kernel:  # not all at once: a transposed one would be copied
                digest.update(np.ascontiguousarray(row, float))
            key = kernel.shape, digest.digest()
            first = seen.setdefault(key, place.layer.name)
            if first != place.layer.name:
                found.drop(place, f"the same numbers as {first}, which is taken once")


def _forget_counters(found: Findings) -> None:
    """Says nothing of the counters in batch normalisations: nothing of a net depends on them."""
    counters = {f"{norm.name}.num_batches_tracked" for norm in found.norms}
    for name in counters & {*found.left_out}:
        del found.left_out[name]
