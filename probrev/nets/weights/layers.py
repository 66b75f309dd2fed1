"""Trained layers in a file of weights, each as the theory sees it."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from probrev.nets.weights.batch_norms import fold_after, fold_before
from probrev.nets.weights.content import Content
from probrev.nets.weights.files import read_content
from probrev.nets.weights.findings import HARMLESS, UNKNOWN, Findings, find
from probrev.nets.weights.initializers import INITIALIZERS, check_initializer
from probrev.nets.weights.matrices import LIKE_TRANSPOSED, TRANSPOSED
from probrev.nets.weights.names import WEIGHTS
from probrev.nets.weights.order import Order, find_order
from probrev.nets.weights.pairing import Misfit, Net, Pair, Place, pair
from probrev.nets.weights.plain_matrices import read_plain
from probrev.nets.weights.trained_layer import TrainedLayer, TrainedLayers
from probrev.plumbing import door
from probrev.plumbing.refusal import Refusal

BEFORE_ACTIVATION = (
    "batch normalisations are taken to act before the activation of their layer, as their names "
    "and places suggest: the file does not say"
)
TWICE = "a batch normalisation beside another one of the same layer"
IN_MODEL = "the layers come in the order of the model's configuration"
ONE_OF_SEVERAL = "the file is one of several that hold the net: give their index.json"
# Each is held against the others.
_MOST_TENSORS = 10_000
# Names that flax numbers by itself come by class, whatever file they are in.
_AUTOMATIC = re.compile(r"(^|[./])(params|batch_stats|[A-Z]\w*_\d+)[./]")


@door.guard(path=door.path)
def read_layers(
    path: str | Path, tensor: str | None = None, initializer: str = ""
) -> TrainedLayers:
    """Reads the trained layers of a net, next to x first as far as the order is known.

    Weights are told by their names: `weight` and `coef` (torch, scikit-learn's linear models: out,
    in), `kernel`, `weights`, `coefs`, `w` (Keras, flax, scikit-learn's nets, ours: in, out), with
    their biases beside them; `vars/0` in Keras 3. Where no name of a file says so, any matrix is
    taken as (n_visible, n_hidden). Convolutions become (k * k * c_in, c_out). Batch normalisations
    are folded in where the file says which layer they act on, W' = W gamma / sqrt(variance +
    epsilon). Weight normalisations and prunings of torch are put together.

    What is none of these is in `left_out`, by name and with the reason: optimisers, averages,
    masks, integers, recurrent, depthwise, transposed and attention's kernels, embeddings, norms
    without running statistics, biases of no layer. What the file does not say and was taken so is
    in `assumed` of each layer. A file of tensors never says the whole net: `doubts` has what is
    known to be amiss if the layers are taken for one.

    Args:
        path: what `read_tensors` reads.
        tensor: a single tensor to read, by its name, the end of it, or its module's name; by
            default all layers.
        initializer: what drew the weights, a name of `init_variance`; by default what the file
            says, which only a Keras model does.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read, holds no layer, or not that one.
    """
    check_initializer(initializer)
    content = read_content(path)
    if len(content.tensors) > _MOST_TENSORS:
        raise Refusal(
            f"{path}: expected the layers of a net, at most {_MOST_TENSORS} arrays; got "
            f"{len(content.tensors)}"
        )
    found = find_layers(content)
    if tensor is not None:
        layer = _choose(found, content, tensor, path)
        found = TrainedLayers((layer,), order=found.order if len(found) == 1 else "")
    if not found:
        reasons = [f"{name}: {reason}" for name, reason in found.left_out.items()]
        raise Refusal(
            f"{path}: expected layers, weights of two axes or more; got none: {reasons[0]}"
        )
    if initializer:
        layers = tuple(replace(layer, initializer=initializer) for layer in found)
        found = replace(found, layers=layers)
    return found


def label_layers(layers: Sequence[TrainedLayer]) -> list[str]:
    """A name for each layer: short ones if they tell them apart, else those of the tensors."""
    short = [layer.label for layer in layers]
    return short if len({*short}) == len(short) else [layer.name for layer in layers]


def find_layers(content: Content) -> TrainedLayers:
    """The layers among what a file holds, as `read_layers` describes them."""
    found = find(content)
    is_ordered = content.is_ordered and not any(map(_AUTOMATIC.search, content.tensors))
    order = _order(found, content, is_ordered)
    places = [found.places[index] for index in order.places]
    known = [place.module for place in places]
    others = [
        module
        for module in found.modules
        if module not in known and content.ndim(module.parts.get(WEIGHTS, "")) > 1
    ]
    net = Net(
        found.modules, found.norms, places, order.is_known, is_ordered, content.graph,
        content.bare, others,
    )  # fmt: skip
    layers = _fold(net, found)
    kept = [index for index, place in enumerate(places) if place in found.places]
    doubts = [] if order.is_known else [f"{order.sentence}."]
    if content.graph is not None:
        doubts += [f"{said}." for said in (*content.graph.branches(), *content.graph.gaps())]
    doubts += [f"{ONE_OF_SEVERAL}."] if content.is_part else []
    doubts += _doubts(found.left_out)
    return TrainedLayers(
        tuple(layers[index] for index in kept),
        found.left_out,
        order.is_known,
        order.sentence,
        tuple(doubts),
    )


def _order(found: Findings, content: Content, is_ordered: bool) -> Order:
    if content.graph is not None and all(place.module.layer for place in found.places):
        is_chain = not any(content.graph.branches())
        sentence = IN_MODEL if is_chain else "the model is no chain of layers"
        return Order([*range(len(found.places))], is_chain, sentence)
    return find_order([place.layer for place in found.places], is_ordered)


def _fold(net: Net, found: Findings) -> list[TrainedLayer]:
    """The layers with their normalisations; what could not be paired is left out by name."""
    pairs: dict[Pair, int] = {}
    for number, norm in enumerate(net.norms):
        one = pair(norm, net)
        taken = {(other.number, other.is_before) for other in pairs}
        if isinstance(one, Pair) and (one.number, one.is_before) not in taken:
            pairs[one] = number
            continue
        if isinstance(one, Misfit):
            place = net.places[one.number]
            is_likely = LIKE_TRANSPOSED in place.layer.assumed and place in found.places
            if is_likely and place.layer.num_channels == norm.scale.size:
                found.drop(place, TRANSPOSED)
        reason = one.reason if isinstance(one, Misfit) else one if isinstance(one, str) else TWICE
        found.leave_out(norm.module, reason)
    layers = [_described(place, net) for place in net.places]
    for one in sorted(pairs, key=lambda one: not one.is_before):
        norm, layer = net.norms[pairs[one]], layers[one.number]
        said = () if one.is_certain else (BEFORE_ACTIVATION,)
        layer = (fold_before if one.is_before else fold_after)(layer, norm)
        layers[one.number] = replace(layer, assumed=(*layer.assumed, *said))
    return layers


def _described(place: Place, net: Net) -> TrainedLayer:
    """A layer with what the configuration of a Keras model says of it."""
    own = place.module.layer
    if own is None or net.graph is None:
        return place.layer
    known = own.initializer if own.initializer in INITIALIZERS else ""
    return replace(place.layer, initializer=known, activation=net.graph.activation(own))


def _doubts(left_out: dict[str, str]) -> list[str]:
    """A sentence for each reason why something that a net may need was left out."""
    reasons = sorted((reason, name) for name, reason in left_out.items() if reason not in HARMLESS)
    doubts = []
    for reason, group in groupby(reasons, key=lambda one: one[0]):
        names = [name for _, name in group]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        doubts.append(f"{', '.join(names[:3])}{more}: {reason}.")
    return doubts


def _choose(found: TrainedLayers, content: Content, name: str, path: str | Path) -> TrainedLayer:
    pattern = re.compile(rf"(^|[/.]){re.escape(name)}(:\d+)?$")
    module = re.compile(rf"(^|[/.]){re.escape(name)}[/.][^/.]+$")
    exact = [layer for layer in found if layer.name == name]
    ending = [layer for layer in found if pattern.search(layer.name)]
    chosen = exact or [layer for layer in found if layer.label == name] or ending
    if len(chosen) == 1:
        return chosen[0]
    out = [one for one in found.left_out if pattern.search(one) or module.search(one)]
    if not chosen and out:
        if found.left_out[out[0]] == UNKNOWN and content.ndim(out[0]) == 2:
            return read_plain({out[0]: content.tensors[out[0]]})[0][0]
        raise Refusal(f"{path}: {out[0]} is no layer: {found.left_out[out[0]]}")
    names = ", ".join(layer.name for layer in found)
    trouble = f"{len(chosen)} layers end in" if chosen else "no layer"
    raise Refusal(f"{path}: {trouble} {name!r}; its layers: {names}")
