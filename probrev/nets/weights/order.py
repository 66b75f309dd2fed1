"""The order of layers: as the file has it, by the numbers in their names, by their widths."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from probrev.nets.weights.names import natural, template
from probrev.nets.weights.trained_layer import CONVOLUTION, TrainedLayer

ONE, FILE, NUMBERS, ONLY = (
    "there is one layer",
    "the layers come in the order of the file, and their widths follow each other",
    "the layers come in the order of the numbers in their names, and their widths follow each "
    "other",
    "the layers come in the only order in which their widths follow each other: no name or place "
    "in the file says it",
)
NONE, MANY, CONTRADICTED = (
    "the order of the layers is not known: there is none in which each has as many inputs as the "
    "one before has outputs",
    "the order of the layers is not known: their widths follow each other in more than one",
    "the order of the layers is not known: that of the file is not that of the numbers in their "
    "names",
)
# Steps of the search, after which an order is not known.
MOST_STEPS = 20_000


class Order(NamedTuple):
    """An order of layers.

    Attributes:
        places: indices of the layers, first to last.
        is_known: whether they act one after the other in this order.
        sentence: where it is from, or why it is not known.
    """

    places: list[int]
    is_known: bool
    sentence: str


def find_order(layers: Sequence[TrainedLayer], is_ordered: bool) -> Order:
    """The order in which layers act.

    Names that differ in their numbers alone come by their numbers. Where the file keeps the order
    in which its tensors were made, that is the order, unless the numbers or the widths contradict
    it. Among what is left, the widths must allow one order only.

    Args:
        layers: in the order of the file, or in the natural order of their names.
        is_ordered: the file has an order.
    """
    places = list(range(len(layers)))
    if len(layers) < 2:
        return Order(places, True, ONE)
    runs = _runs(layers)
    agrees = all(run == sorted(run) for run in runs)
    if is_ordered and _chains(layers, places):
        return Order(places, agrees, FILE if agrees else CONTRADICTED)
    found = _merge(layers, runs)
    if len(found) == 1:
        by_numbers = len(runs) == 1
        return Order(found[0], True, NUMBERS if by_numbers else ONLY)
    return Order(places, False, MANY if found else NONE)


def follows(lower: TrainedLayer, upper: TrainedLayer) -> bool:
    """Whether one layer can take what the other gives: as many channels, or these at many places.

    A dense layer on top of a convolution sees its channels at every place, or their means.
    """
    if lower.kind == CONVOLUTION and upper.kind != CONVOLUTION:
        return upper.n_visible % lower.n_hidden == 0
    if lower.kind != CONVOLUTION and upper.kind == CONVOLUTION:
        return False
    return lower.n_hidden == upper.num_channels


def _chains(layers: Sequence[TrainedLayer], places: list[int]) -> bool:
    return all(follows(layers[one], layers[other]) for one, other in pairwise(places))


def _runs(layers: Sequence[TrainedLayer]) -> list[list[int]]:
    """Indices of the layers whose names differ in their numbers alone, by these numbers."""
    runs: dict[str, list[int]] = {}
    for index, layer in enumerate(layers):
        runs.setdefault(template(layer.name), []).append(index)
    return [sorted(run, key=lambda index: natural(layers[index].name)) for run in runs.values()]


def _merge(layers: Sequence[TrainedLayer], runs: list[list[int]]) -> list[list[int]]:
    """Up to two orders that keep every run and in which the widths follow each other."""
    found: list[list[int]] = []
    steps = 0
    waiting: list[tuple[tuple[int, ...], list[int]]] = [((0,) * len(runs), [])]
    while waiting and len(found) < 2:
        taken, order = waiting.pop()
        steps += 1
        if steps > MOST_STEPS:
            return [order, order]
        if len(order) == len(layers):
            found.append(order)
        for index, run in enumerate(runs):
            if taken[index] < len(run):
                following = run[taken[index]]
                if not order or follows(layers[order[-1]], layers[following]):
                    more = (*taken[:index], taken[index] + 1, *taken[index + 1 :])
                    waiting.append((more, [*order, following]))
    return found
