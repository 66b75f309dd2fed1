"""Which layer a batch normalisation belongs to, by what the file says of modules and places."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from probrev.nets.weights.batch_norms import BatchNorm
from probrev.nets.weights.keras_config import LINEAR, KerasGraph, KerasLayer
from probrev.nets.weights.modules import STATISTICS, Module
from probrev.nets.weights.names import snake, template
from probrev.nets.weights.trained_layer import DENSE, TrainedLayer

UNPAIRED = "a batch normalisation"
INSIDE = (
    f"{UNPAIRED}: whether layers have their activations before it the file does not say; save the "
    "whole model, as .keras"
)
# Names that Keras gives layers that are activations.
_ACTIVATIONS = ("activation", "elu", "leaky_re_lu", "p_re_lu", "re_lu", "relu", "softmax")
# Words that only say what kind of module a name is of.
_KINDS = {
    "affine", "batch", "batchnorm", "bn", "conv", "convolution", "dense", "fc", "layer", "lin",
    "linear", "norm", "normalization", "proj",
}  # fmt: skip
# Names that Keras and flax number by themselves, apart for each class.
_AUTOMATIC = re.compile(r"(BatchNorm|batch_normalization)(_\d+)?")


class Place(NamedTuple):
    """A layer with the module it is from."""

    module: Module
    layer: TrainedLayer


class Net(NamedTuple):
    """What pairing goes by.

    Attributes:
        modules: all of the file, in its order.
        norms: batch normalisations, in that order.
        places: layers in the order in which they act, if that is known.
        is_order_known: it is.
        is_ordered: the file keeps the order in which its modules were made.
        graph: of a Keras model.
        bare: names of Keras layers without tensors.
        others: modules with weights that are in none of the places.
    """

    modules: Sequence[Module]
    norms: Sequence[BatchNorm]
    places: Sequence[Place]
    is_order_known: bool
    is_ordered: bool
    graph: KerasGraph | None
    bare: Sequence[str]
    others: Sequence[Module]


class Pair(NamedTuple):
    """The layer of a normalisation.

    Attributes:
        number: of its place.
        is_before: the normalisation acts on the input of the layer, not on its weighted sums.
        is_certain: the file says that nothing lies between.
    """

    number: int
    is_before: bool = False
    is_certain: bool = False


class Misfit(NamedTuple):
    """A layer that a normalisation should belong to, by its number, and why it does not."""

    number: int
    reason: str


def pair(norm: BatchNorm, net: Net) -> Pair | Misfit | str:
    """The layer that a normalisation belongs to, or why it is not known.

    By the connections of a Keras model; by neighbouring numbers in one stack; by the same word or
    number in names of one module (fc1 and bn1); by the place right after a layer, where the file
    keeps an order; else by the widths, if they leave one choice.

    Args:
        norm: to be paired.
        net: what is known of the file.
    """
    if norm.module.layer is not None and net.graph is not None:
        return _by_graph(norm, net.places, net.graph, norm.module.layer)
    if norm.module.own_name.isdigit():
        found = _by_number(norm, net)
        if found is not None:
            return found
    if _has_too_few_activations(norm, net):
        return INSIDE
    index = _by_name(norm, net.places)
    for other in net.others:
        if _are_alike(norm, other) or (index is None and not net.is_ordered):
            return f"{UNPAIRED} that may belong to {other.name}, which is no layer here"
    if index is not None:
        return _checked(norm, index, net)
    if not net.is_ordered:
        return _by_widths(norm, net)
    before = net.modules[: net.modules.index(norm.module)]
    last = [i for i, place in enumerate(net.places) if before and place.module is before[-1]]
    return _fitting(norm, last[0], net.places) if last else f"{UNPAIRED} right after no layer"


def _by_graph(
    norm: BatchNorm, places: Sequence[Place], graph: KerasGraph, own: KerasLayer
) -> Pair | Misfit | str:
    names = [place.module.layer.name if place.module.layer else "" for place in places]
    source, is_alone = graph.source(own)
    if source is not None and source.name in names and source.nonlinearity == LINEAR and is_alone:
        return _fitting(norm, names.index(source.name), places, is_certain=True)
    target = graph.target(own)
    if target is not None and target.name in names:
        index = names.index(target.name)
        if _takes(places[index].layer, norm):
            return Pair(index, is_before=True, is_certain=True)
    what = source.name if source is not None else "the input"
    return f"{UNPAIRED} that acts on {what}, not on the weighted sums of a layer that it fits"


def _by_number(norm: BatchNorm, net: Net) -> Pair | Misfit | str | None:
    """By the numbers of one stack: right after a layer, or right before a dense one."""
    number, parent, places = int(norm.module.own_name), norm.module.parent, net.places
    found = {
        int(place.module.own_name): index
        for index, place in enumerate(places)
        if place.module.parent == parent and place.module.own_name.isdigit()
    }
    if not found and not any(other.parent == parent for other in net.others):
        return None
    if number - 1 in found:
        return _fitting(norm, found[number - 1], places, is_certain=True)
    if number + 1 in found and _takes(places[found[number + 1]].layer, norm):
        return Pair(found[number + 1], is_before=True, is_certain=True)
    if number == 0:
        return f"{UNPAIRED} that acts on the input, and not right before a dense layer"
    between = ".".join(filter(None, (parent, str(number - 1))))
    return (
        f"{UNPAIRED} right after {between}, which is no layer here: a nonlinearity would keep it "
        "from being folded into the layer before"
    )


def _by_name(norm: BatchNorm, places: Sequence[Place]) -> int | None:
    """The one layer in the same module, or of a list beside its own, of the same word or number."""
    if _AUTOMATIC.fullmatch(norm.module.own_name):
        return None
    beside = [one for one in enumerate(places) if one[1].module.parent == norm.module.parent]
    found = [index for index, place in beside if _are_alike(norm, place.module)] or [
        index for index, place in enumerate(places) if _are_alike(norm, place.module)
    ]
    fitting = [index for index in found if places[index].layer.n_hidden == norm.scale.size]
    best = found if len(found) == 1 else fitting
    return best[0] if len(best) == 1 else None


def _are_alike(norm: BatchNorm, module: Module) -> bool:
    """Whether a module beside a normalisation, or at the same place elsewhere, is named like it."""
    own, path = _tag(norm.module.own_name), _tag(norm.module.name)
    is_beside = module.parent == norm.module.parent
    return bool(own and is_beside and _tag(module.own_name) == own) or (
        bool(path) and _tag(module.name) == path
    )


def _tag(name: str) -> tuple[str, ...]:
    """Words and numbers of a name but those for kinds of modules: fc1 and bn1 have 1."""
    lower = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    words = re.findall(r"\d+|[a-z]+", re.sub(r"[123]d(?![a-z])", "", lower))
    return tuple(
        word for word in words if word not in _KINDS and word.removesuffix("s") not in _KINDS
    )


def _checked(norm: BatchNorm, index: int, net: Net) -> Pair | Misfit | str:
    """The pair by names, unless places or widths say that such pairs act on the input."""
    module = net.places[index].module
    if net.is_ordered and net.modules.index(norm.module) < net.modules.index(module):
        return f"{UNPAIRED} that comes before {module.name}, whose name is like its own"
    for other in net.norms if not net.is_ordered else ():
        beside = _by_name(other, net.places)
        layer = net.places[beside].layer if beside is not None else None
        if layer is not None and layer.n_hidden != other.scale.size == layer.num_channels:
            return (
                f"{UNPAIRED} whose file has others that act on the input of a layer: {other.name}"
            )
    return _fitting(norm, index, net.places)


def _has_too_few_activations(norm: BatchNorm, net: Net) -> bool:
    """Whether a file of Keras lists fewer activations than normalisations: layers may have some."""
    num_activations = sum(snake(one) in _ACTIVATIONS for one in net.bare)
    alike = sum(STATISTICS["Keras"][0] in one.module.parts for one in net.norms)
    return STATISTICS["Keras"][0] in norm.module.parts and num_activations < alike


def _by_widths(norm: BatchNorm, net: Net) -> Pair | str:
    """By the only way to give each normalisation a layer of its width, in the order of both.

    Both have one only if the layers do, and the names of the normalisations differ in their numbers
    alone; else only one may have that width.
    """
    kind = template(norm.name)
    alike = (
        [one for one in net.norms if template(one.name) == kind] if net.is_order_known else [norm]
    )
    names = [one.name for one in alike]
    rest = [one.scale.size for one in net.norms if one.name not in names]
    sizes = [one.scale.size for one in alike]
    widths = [place.layer.n_hidden for place in net.places]
    first = _assign(sizes, widths)
    last = [len(widths) - 1 - index for index in _assign(sizes[::-1], widths[::-1])][::-1]
    if first and first == last and norm.scale.size not in rest:
        return Pair(first[names.index(norm.name)])
    return f"{UNPAIRED} of {norm.scale.size} units: which layer it belongs to the file does not say"


def _assign(sizes: list[int], widths: list[int]) -> list[int]:
    """Gives each size the first width of its own that is left; empty if there is none."""
    found: list[int] = []
    for size in sizes:
        start = found[-1] + 1 if found else 0
        if size not in widths[start:]:
            return []
        found.append(widths.index(size, start))
    return found


def _takes(layer: TrainedLayer, norm: BatchNorm) -> bool:
    return layer.kind == DENSE and layer.n_visible == norm.scale.size


def _fitting(
    norm: BatchNorm, index: int, places: Sequence[Place], is_certain: bool = False
) -> Pair | Misfit:
    module, layer = places[index]
    if layer.n_hidden == norm.scale.size:
        return Pair(index, is_certain=is_certain)
    size = norm.scale.size
    return Misfit(index, f"{UNPAIRED} of {size} units beside {module.name} of {layer.n_hidden}")
