"""Kinds of tensors that are no layers, or whose axes nothing tells: named, and why."""

import numpy as np
import pytest

from probrev.nets.weights import findings, matrices, pairing, plain_matrices
from probrev.nets.weights.content import Content
from probrev.nets.weights.exclusions import AVERAGE, MASK, OPTIMIZER
from probrev.nets.weights.layers import find_layers

RNG = np.random.default_rng(7)


def read(tensors, is_ordered=False, **more):
    return find_layers(Content(tensors, is_ordered=is_ordered, **more))


def dense(name, n_in, n_out, bias=True):
    made = {f"{name}.weight": RNG.normal(size=(n_out, n_in))}
    return {**made, f"{name}.bias": RNG.normal(size=n_out)} if bias else made


def norm(name, width):
    means = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 2.0}
    return {f"{name}.{part}": RNG.normal(mean, 0.2, width) for part, mean in means.items()}


NET = {**dense("fc1", 4, 6), **dense("fc2", 6, 2)}
SQUARES = {name: array**2 for name, array in NET.items()}


def under(prefix, tensors):
    return {prefix + name: array for name, array in tensors.items()}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (under("adam.m.", NET), OPTIMIZER),
        ({**under("m.", NET), **under("v.", SQUARES)}, OPTIMIZER),
        ({**under("mu/", NET), **under("nu/", SQUARES)}, OPTIMIZER),
        ({f"{name}/Adam_1": array for name, array in NET.items()}, OPTIMIZER),
        (under("opt_state.0.trace.", NET), OPTIMIZER),
        (under("second_moment.", SQUARES), OPTIMIZER),
        (under("o.state.3.exp_avg_sq.", SQUARES), OPTIMIZER),
        (under("state_dict_ema.", NET), AVERAGE),
        ({"shadow_params.0": NET["fc1.weight"]}, AVERAGE),
        ({"fc1.weight_ema": NET["fc1.weight"]}, AVERAGE),
        ({"attention_mask": np.full((4, 4), -np.inf)}, MASK),
        ({"table": np.ones((3, 3))}, findings.UNKNOWN),
        ({"fc1.offset": np.ones(6)}, findings.UNKNOWN),
        ({"wte.weight": RNG.normal(size=(9, 4))}, matrices.EMBEDDING),
        ({"fc1.lora_A.default.weight": RNG.normal(size=(2, 4))}, matrices.LOW_RANK),
        ({"wide.weight": np.arange(24).reshape(6, 4)}, findings.INTEGERS),
        ({"seen": np.ones((2, 2), bool)}, findings.FLAGS),
        ({"up.weight": np.ones((8, 3, 2, 2)), "up.bias": np.ones(3)}, matrices.TRANSPOSED),
        (
            {"deconv1.weight": np.ones((8, 8, 2, 2)), "deconv1.bias": np.ones(8)},
            matrices.TRANSPOSED,
        ),
        ({"odd.weight": np.ones((6, 4)), "odd.bias": np.ones(5)}, "its bias has 5 entries"),
        ({"odd.weight": np.full((6, 4), np.inf)}, matrices.NOT_FINITE),
        ({"conv.w": np.ones((3, 3, 2, 4))}, "4 axes by the name w"),
    ],
)
def test_what_is_no_layer_is_named(more, reason):
    layers = read({**NET, **more})
    assert [layer.name for layer in layers] == ["fc1.weight", "fc2.weight"]
    assert set(layers.left_out) == set(more)
    assert all(reason in said for said in layers.left_out.values())
    assert bool(layers.doubts) == (reason not in findings.HARMLESS)


def test_layers_with_names_like_these_are_layers():
    tensors = {**dense("enc", 4, 6), **dense("mu", 6, 2), **dense("schema.0", 2, 3)}
    layers = read({**tensors, **dense("q.proj", 3, 3), **dense("v.proj", 3, 3)})
    assert len(layers) == 5
    assert not layers.left_out
    alone = read(under("ema.", NET))
    assert [layer.label for layer in alone] == ["ema.fc1", "ema.fc2"]


def test_a_mask_that_changes_nothing_leaves_its_layer():
    mask = RNG.integers(0, 2, (6, 4)).astype(float)
    masked = {**NET, "fc1.weight": NET["fc1.weight"] * mask, "fc1.mask": mask}
    assert len(read(masked)) == 2
    for other in (mask, np.where(mask, 0, -np.inf)):
        assert read({**NET, "fc1.mask": other}).left_out["fc1.weight"] == findings.MASKED


def test_a_direction_of_no_length_is_no_weight():
    pieces = {"fc3.weight_g": np.ones((3, 1)), "fc3.weight_v": np.zeros((3, 2))}
    layers = read({**NET, **pieces})
    assert layers.left_out == {"fc3.weight": matrices.NOT_FINITE}
    assert len(layers) == 2


def test_axes_are_those_that_the_biases_say():
    by_columns = {"c_fc.weight": RNG.normal(size=(4, 6)), "c_fc.bias": np.arange(6.0)}
    square = {"c_proj.weight": RNG.normal(size=(6, 6)), "c_proj.bias": np.arange(6.0)}
    layers = read({**by_columns, **square})
    assert [(layer.n_visible, layer.n_hidden) for layer in layers] == [(4, 6)]
    np.testing.assert_array_equal(layers[0].bias, np.arange(6.0))
    assert layers[0].assumed == (matrices.COLUMNS,)
    assert layers.left_out["c_proj.weight"] == matrices.UNKNOWN_AXES


@pytest.mark.parametrize("shape", [(7,), (1, 7), (7, 1)])
def test_biases_of_one_row_or_column(shape):
    bias = RNG.normal(size=shape)
    (layer,) = read({"W1": RNG.normal(size=(4, 7)), "b1": bias})
    np.testing.assert_array_equal(layer.bias, bias.ravel())


def test_plain_matrices_take_the_vectors_that_fit():
    square = [RNG.normal(size=(6, 6)) for _ in range(2)]
    vectors = [RNG.normal(size=6) for _ in range(2)]
    layers = read({"a": square[0], "b": square[1], "c": vectors[0], "d": vectors[1]})
    np.testing.assert_array_equal([layer.weights for layer in layers], square)
    np.testing.assert_array_equal([layer.bias for layer in layers], vectors)
    assert layers[0].assumed == (plain_matrices.COLUMNS,)
    rows = read({"a": np.ones((7, 4)) + np.eye(7, 4), "b": np.eye(3, 7)})
    assert [layer.n_hidden for layer in rows] == [7, 3]
    assert rows[0].assumed == (plain_matrices.ROWS_BY_WIDTH,)
    listed = {"params.0": RNG.normal(size=(7, 4)), "params.1": np.arange(7.0)}
    (layer,) = read({**listed, "steps": np.array(3)}, is_ordered=True)
    np.testing.assert_array_equal(layer.weights, listed["params.0"].T)
    np.testing.assert_array_equal(layer.bias, np.arange(7.0))
    scales = read({"l.qweight": np.ones((8, 4), "i4"), "l.scales": RNG.normal(size=(2, 4))})
    assert not len(scales)


@pytest.mark.parametrize(
    "names", ["layers.{}.linear layers.{}.norm", "convs.{} bns.{}", "fc{} bn{}"]
)
def test_norms_are_paired_by_names_beyond_ten(names):
    first, second = names.split()
    tensors = {}
    for index in range(12):
        tensors |= {**dense(first.format(index), 6, 6), **norm(second.format(index), 6)}
    layers = read({name: tensors[name] for name in sorted(tensors)} | dense("head", 6, 2))
    said = [one.name for layer in layers for one in layer.norms]
    places = [layer.label for layer in layers if layer.norms]
    assert said == [second.format(int("".join(filter(str.isdigit, one)))) for one in places]
    assert len(said) == 12


@pytest.mark.parametrize(
    ("tensors", "is_ordered", "reason"),
    [
        ({**norm("bn1", 6), **dense("fc1", 6, 6), **dense("out", 6, 2)}, True, "before fc1, whose"),
        ({**dense("a", 6, 6), **dense("b", 6, 6), **norm("n", 6)}, False, "the file does not say"),
        ({**dense("a", 6, 6), **dense("b", 6, 2), **norm("n", 6)}, True, "beside b of 2"),
        (
            {
                **dense("b0.fc1", 6, 6), **norm("b0.bn1", 6), **dense("b1.fc1", 6, 8),
                **norm("b1.bn1", 6),
            },
            False, "others that act on the input of a layer: b1.bn1",
        ),
        (
            {**dense("0", 6, 6), "1.weight": np.ones(6), **norm("2", 6), **dense("4", 6, 2)}, True,
            "right after 1, which is no layer",
        ),
        ({**dense("fc1", 6, 6), **norm("1.bn", 6), **norm("bn1", 6)}, False, "beside another one"),
        ({**NET, **norm("bn1", 5)}, False, "5 units beside fc1 of 6"),
        ({**dense("a", 4, 6), **dense("b", 6, 6), **norm("n", 6)}, False, "the file does not say"),
        ({**NET, **norm("bn1", 6), "bn1.running_var": -np.ones(6)}, False, "negative"),
    ],
)  # fmt: skip
def test_a_norm_whose_layer_is_not_known_is_named(tensors, is_ordered, reason):
    layers = read(tensors, is_ordered)
    said = {one for name, one in layers.left_out.items() if name.endswith("running_var")}
    assert len(said) == 1
    assert reason in said.pop()
    assert layers.doubts


def test_norms_of_one_width_without_numbers_are_not_told_apart():
    tensors = {**dense("a", 4, 6), **dense("b", 6, 6), **dense("c", 6, 2)}
    named = read({**tensors, **norm("x.early", 6), **norm("x.late", 6)})
    assert not any(layer.norms for layer in named)
    numbered = read({**tensors, **norm("x.n1", 6), **norm("x.n2", 6)})
    assert [one.name for layer in numbered for one in layer.norms] == ["x.n1", "x.n2"]


def test_a_norm_of_what_is_no_layer_is_given_to_no_other():
    depthwise = {"conv2.weight": np.ones((6, 1, 3, 3)), "conv2.bias": np.ones(6)}
    tensors = {"conv1.weight": RNG.normal(size=(6, 3, 3, 3)), "conv1.bias": np.ones(6)}
    layers = read({**tensors, **depthwise, **norm("bn2", 6), **dense("fc2", 6, 6)})
    assert "conv2.weight" in layers.left_out
    assert not any(layer.norms for layer in layers)
    assert "may belong to conv2" in layers.left_out["bn2.weight"]


def test_norms_of_keras_need_as_many_activations_as_the_file_lists():
    parts = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 2.0}
    tensors = {"dense/kernel": RNG.normal(size=(4, 6))}
    tensors |= {f"batch_normalization/{part}": RNG.normal(m, 0.1, 6) for part, m in parts.items()}
    inside = read(tensors)
    assert inside.left_out["batch_normalization/gamma"] == pairing.INSIDE
    (folded,) = read(tensors, bare=("re_lu",))
    assert [one.epsilon for one in folded.norms] == [1e-3]
