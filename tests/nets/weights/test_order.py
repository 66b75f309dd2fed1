import numpy as np
import pytest

from probrev.nets.weights import order
from probrev.nets.weights.order import find_order
from probrev.nets.weights.trained_layer import CONVOLUTION, TrainedLayer


def layer(name, n_visible, n_hidden, size=0):
    kernel = np.ones((n_visible * max(size, 1), n_hidden))
    kind = {"kernel_size": size, "kind": CONVOLUTION} if size else {}
    return TrainedLayer(name, kernel, np.zeros(n_hidden), **kind)


@pytest.mark.parametrize(
    ("layers", "is_ordered", "names", "sentence"),
    [
        ("a:5-5", False, "a", order.ONE),
        ("net.10:6-6 net.2:6-6 net.0:6-6", False, "net.0 net.2 net.10", order.NUMBERS),
        ("dense_10:6-6 dense:6-6 dense_2:6-6", False, "dense dense_2 dense_10", order.NUMBERS),
        ("fc_in:5-7 hidden:7-9 out:9-3", True, "fc_in hidden out", order.FILE),
        ("add:9-3 fc_in:5-7 hidden:7-9", False, "fc_in hidden add", order.ONLY),
        ("out:9-3 fc_in:5-7 hidden:7-9", True, "fc_in hidden out", order.ONLY),
        ("head:6-2 block.1:6-6 block.0:6-6", False, "block.0 block.1 head", order.ONLY),
        ("fc_in:6-6 hidden:6-6", False, None, order.MANY),
        ("fc_in:6-6 hidden:6-6", True, "fc_in hidden", order.FILE),
        ("fc2:6-6 fc1:6-6", True, None, order.CONTRADICTED),
        ("fc2:6-3 fc1:6-6", True, "fc1 fc2", order.NUMBERS),
        ("fc1:6-3 fc2:6-6", False, None, order.NONE),
        ("a:4-5 b:7-8", True, None, order.NONE),
        ("dense:32-9 conv2d:2-4/9 conv2d_1:4-8/9", False, "conv2d conv2d_1 dense", order.ONLY),
        ("dense:30-9 conv2d:2-4/9 conv2d_1:4-8/9", False, None, order.NONE),
    ],
)
def test_orders(layers, is_ordered, names, sentence):
    made = []
    for one in layers.split():
        name, _, shape = one.partition(":")
        sides, _, size = shape.partition("/")
        made.append(layer(name, *map(int, sides.split("-")), int(size or 0)))
    found = find_order(made, is_ordered)
    assert found.sentence == sentence
    assert found.is_known == (names is not None)
    if names:
        assert " ".join(made[index].name for index in found.places) == names


def test_a_search_without_end_is_given_up():
    made = [layer(f"{'ab'[index % 2] * (index + 1)}", 6, 6) for index in range(30)]
    made.append(layer("last", 7, 7))
    assert not find_order(made, is_ordered=False).is_known
