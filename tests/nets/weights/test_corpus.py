"""Files as torch, Keras, flax and scikit-learn write them: read right, or refused by name.

`exporters` writes them, each with an input and what the exporter's own net gave for it. Every file
has an expectation here, so that none is misread in silence.
"""

import gzip
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from probrev.nets.weights.files import read_content
from probrev.nets.weights.findings import AFFINE, BIAS_ALONE, GROUPED, INTEGERS, NUMBER
from probrev.nets.weights.layers import BEFORE_ACTIVATION, find_layers, read_layers
from probrev.nets.weights.matrices import (
    ATTENTIVE,
    BILINEAR,
    DEPTHWISE,
    EMBEDDING,
    NOT_FINITE,
    RECURRENT,
    TRANSPOSED,
)
from probrev.nets.weights.order import CONTRADICTED, MANY
from probrev.nets.weights.pairing import INSIDE
from probrev.nets.weights.plain_matrices import NO_MATRIX

CORPUS = Path(__file__).with_name("corpus")
RUN, GZIP = ".run.npz", ".gz"
FILES = sorted(
    path.relative_to(CORPUS).as_posix().removesuffix(GZIP)
    for path in CORPUS.rglob("*.*")
    if not path.name.endswith(RUN)
)


@dataclass(frozen=True)
class Net:
    """Layers that give what the exporter's net gave; nothing of the net is left out."""

    num_layers: int
    norms: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    activations: str = ""
    channels_first: bool = False


@dataclass(frozen=True)
class Part:
    """Layers that are not the whole net, and why, by the tensors that are left out."""

    labels: tuple[str, ...]
    left_out: dict[str, str] = field(default_factory=dict)
    doubt: str = ""


@dataclass(frozen=True)
class Refused:
    """A file of which nothing is read."""

    message: str


MLP = Net(3)
OPTIMIZER, AVERAGE, WITHIN = "state of an optimiser", "an average over training", "layer of class "
NUMBERED = tuple(str(3 * index + 1) for index in range(12))
FLAX_NORMS = tuple(f"BatchNorm_{index}" for index in range(12))
KERAS_RELU = "relu " * 12 + "linear"
MODULE = "asks for torch.nn.modules.container.Sequential, which is refused"
EXPECTED = {
    "flax/ambiguous_norm.safetensors": Part(
        ("params.Dense_0", "params.Dense_1", "params.Dense_2"),
        {"params/BatchNorm_0/scale": "which layer it belongs to the file does not say"},
    ),
    "flax/convolutions.safetensors": Net(2),
    "flax/deep.msgpack": Refused("msgpack file of flax: save it as safetensors or .npz"),
    "flax/deep.npz": Net(13),
    "flax/deep.safetensors": Net(13),
    "flax/kinds.safetensors": Part(
        ("params.Conv_0",),
        {
            "params/Conv_1/kernel": GROUPED,
            "params/ConvTranspose_0/kernel": TRANSPOSED,
            "params/LayerNorm_0/scale": AFFINE,
            "params/MultiHeadDotProductAttention_0/out/kernel": ATTENTIVE,
            "params/MultiHeadDotProductAttention_0/query/bias": ATTENTIVE,
            "params/OptimizedLSTMCell_0/hf/kernel": RECURRENT,
        },
    ),
    "flax/nnx.npz": Net(12, ("norm",)),
    "flax/norms.npz": Net(4, FLAX_NORMS[:3]),
    "flax/norms.safetensors": Net(13, FLAX_NORMS),
    "keras/bfloat16.h5": Net(2, activations="relu linear"),
    "keras/bfloat16.keras": Net(2, activations="relu linear"),
    "keras/bfloat16.weights.h5": Net(2),
    "keras/convolution_1d.weights.h5": Net(1),
    "keras/convolution_kinds.h5": Part(
        ("conv2d", "dense"),
        {
            "model_weights/*/depthwise_conv2d/kernel": f"{WITHIN}DepthwiseConv2D",
            "model_weights/*/separable_conv2d/pointwise_kernel": f"{WITHIN}SeparableConv2D",
            "model_weights/*/conv2d_transpose/kernel": f"{WITHIN}Conv2DTranspose",
        },
    ),
    "keras/convolution_kinds.keras": Part(
        ("conv2d", "dense"),
        {
            "layers/depthwise_conv2d/vars/0": f"{WITHIN}DepthwiseConv2D",
            "layers/separable_conv2d/vars/1": f"{WITHIN}SeparableConv2D",
            "layers/conv2d_transpose/vars/0": f"{WITHIN}Conv2DTranspose",
        },
    ),
    "keras/convolution_kinds.weights.h5": Part(
        ("conv2d", "dense"),
        {
            "layers/depthwise_conv2d/vars/0": WITHIN,
            "layers/separable_conv2d/vars/1": WITHIN,
            "layers/conv2d_transpose/vars/0": WITHIN,
        },
    ),
    "keras/convolutions.h5": Net(2, ("batch_normalization",), activations="relu linear"),
    "keras/convolutions.keras": Net(2, ("batch_normalization",), activations="relu linear"),
    "keras/convolutions.weights.h5": Net(2, ("layers.batch_normalization",)),
    "keras/deep.h5": Net(13, activations=KERAS_RELU),
    "keras/deep.weights.h5": Net(13),
    "keras/functional.h5": Net(2, activations="relu linear"),
    "keras/functional.keras": Net(2, activations="relu linear"),
    "keras/gelu_trained.h5": Net(
        2, (), {"optimizer_weights/adam/learning_rate": OPTIMIZER}, "gelu linear"
    ),
    "keras/gelu_trained.keras": Net(2, (), {"optimizer/vars/2": OPTIMIZER}, "gelu linear"),
    "keras/gelu_trained.weights.h5": Net(2, (), {"optimizer/vars/2": OPTIMIZER}),
    "keras/grouped.keras": Refused(f"layers/conv2d/vars/0: {DEPTHWISE}"),
    "keras/layer_norm.keras": Part(
        ("dense", "dense_1"), {"layers/layer_normalization/vars/0": f"{WITHIN}LayerNormalization"}
    ),
    "keras/lists.weights.h5": Net(4),
    "keras/middle.keras": Net(4, activations="relu relu relu linear"),
    "keras/nested.h5": Net(3, ("sequential.batch_normalization",), activations="relu relu linear"),
    "keras/nested.keras": Net(
        3, ("sequential.batch_normalization",), activations="relu relu linear"
    ),
    "keras/norm_after_relu.h5": Net(
        3, ("before batch_normalization",), activations="relu relu linear"
    ),
    "keras/norm_after_relu.keras": Net(
        3, ("before batch_normalization",), activations="relu relu linear"
    ),
    "keras/norm_after_relu.weights.h5": Part(
        ("dense", "dense_1", "dense_2"), {"layers/batch_normalization/vars/2": INSIDE}
    ),
    "keras/norm_between.keras": Part(
        ("dense", "dense_1"), {"layers/batch_normalization/vars/0": "not on the weighted sums"}
    ),
    "keras/norm_first.keras": Net(2, ("before batch_normalization",), activations="relu linear"),
    "keras/norms.h5": Net(4, ("batch_normalization",) * 3, activations="relu relu relu linear"),
    "keras/norms.keras": Net(4, ("batch_normalization",) * 3, activations="relu relu relu linear"),
    "keras/norms.weights.h5": Net(12, ("layers.batch_normalization",) * 11),
    "keras/odd_epsilon.weights.h5": Net(2, ("layers.batch_normalization",)),
    "keras/sequence.h5": Part(
        ("dense",),
        {
            "model_weights/embedding/*/embeddings": f"{WITHIN}Embedding",
            "model_weights/*/forward_lstm/lstm_cell/recurrent_kernel": f"{WITHIN}Bidirectional",
            "model_weights/*/query/kernel": f"{WITHIN}MultiHeadAttention",
        },
    ),
    "keras/sequence.keras": Part(
        ("dense",),
        {
            "layers/embedding/vars/0": f"{WITHIN}Embedding",
            "layers/bidirectional/forward_layer/cell/vars/1": f"{WITHIN}Bidirectional",
            "layers/multi_head_attention/output_dense/vars/0": f"{WITHIN}MultiHeadAttention",
        },
    ),
    "keras/sequence.weights.h5": Part(
        ("dense",),
        {
            "layers/embedding/vars/0": f"{WITHIN}Embedding",
            "layers/bidirectional/forward_layer/cell/vars/1": f"{WITHIN}Bidirectional",
            "layers/multi_head_attention/output_dense/vars/0": f"{WITHIN}MultiHeadAttention",
        },
    ),
    "keras/skip.keras": Part(("dense", "dense_1"), doubt="add joins 2 layers."),
    "sklearn/coefs.npy": Refused("coefs: expected an array of numbers; got one of object"),
    "sklearn/deep.npz": Net(12),
    "sklearn/few_biases.npz": Part(("arr_0", "arr_1", "arr_2"), {"arr_3": NO_MATRIX}),
    "sklearn/first.npy": Part(("first",)),
    "sklearn/in_turn.npz": MLP,
    "sklearn/letters.npz": MLP,
    "sklearn/linear.npz": Net(1),
    "sklearn/net.pkl": Refused("asks for sklearn.neural_network.*nothing of the file was run"),
    "sklearn/ragged.npz": Part(("W1", "W2", "W3"), {"coefs": "got one of object"}),
    "sklearn/unnamed.npz": MLP,
    "torch/attention.safetensors": Part(
        ("attention.out_proj", "head"), {"attention.in_proj_bias": ATTENTIVE}
    ),
    "torch/averaged_alone.pt": Net(3, (), {"n_averaged": AVERAGE}),
    "torch/bfloat16.pt": MLP,
    "torch/bfloat16.safetensors": MLP,
    "torch/bilinear.pt": Part(("head",), {"bilinear.weight": BILINEAR}),
    "torch/chained_names.safetensors": MLP,
    "torch/convolution_1d.pt": Net(1, channels_first=True),
    "torch/convolutions.pt": Net(2, ("1",), channels_first=True),
    "torch/convolutions.safetensors": Net(2, ("1",), channels_first=True),
    "torch/data_parallel.pt": MLP,
    "torch/deep.pt": Net(13),
    "torch/deep.safetensors": Net(13),
    "torch/deep_legacy.pt": Net(13),
    "torch/deep_protocol4.pt": Net(13),
    "torch/depthwise.pt": Part(("0", "4"), {"2.weight": GROUPED, "2.bias": GROUPED}),
    "torch/ema.pt": Net(3, (), {"ema.0.weight": AVERAGE}),
    "torch/embedding.safetensors": Part(("head",), {"tok_emb.weight": EMBEDDING}),
    "torch/expanded.pt": MLP,
    "torch/gru_cell.safetensors": Part(("head",), {"cell.weight_ih": RECURRENT}),
    "torch/half.pt": MLP,
    "torch/layer_norm.pt": Part(("0", "2"), {"1.weight": AFFINE, "1.bias": AFFINE}),
    "torch/lightning.ckpt": Net(3, (), {"optimizer_states.0.state.0.exp_avg": OPTIMIZER}),
    "torch/loop.pt": Net(3, (), {"o.state.0.exp_avg": OPTIMIZER}),
    "torch/lstm.pt": Part(
        ("head",), {"lstm.weight_hh_l1_reverse": RECURRENT, "lstm.bias_ih_l0": RECURRENT}
    ),
    "torch/made_backwards.pt": Part(("fc2", "fc1"), doubt=CONTRADICTED),
    "torch/named_norms.pt": Net(3, ("bn1", "bn2")),
    "torch/named_norms.safetensors": Net(3, ("bn1", "bn2")),
    "torch/norm_after_relu.pt": Net(3, ("before 2",)),
    "torch/norm_after_relu.safetensors": Net(3, ("before 2",)),
    "torch/norm_between.safetensors": Part(("0", "4"), {"2.running_var": "right after 1, which"}),
    "torch/norms.pt": Net(5, NUMBERED[:4]),
    "torch/norms.safetensors": Net(13, NUMBERED),
    "torch/odd.pt": Part(
        ("models.0.0", "models.0.2", "models.0.4"),
        {
            "coarse": "float8_e4m3fn", "waves": "complex", "meta": "a shape without numbers",
            "whole": INTEGERS, "parameter": NUMBER,
        },
    ),
    "torch/one_odd.safetensors": Part(
        ("fc", "zero"),
        {
            "coarse.weight": "F8_E4M3", "whole.weight": INTEGERS, "broken.weight": NOT_FINITE,
            "mask": "a mask",
        },
    ),
    "torch/optimizer_alone.pt": Refused("got the state of an optimiser alone"),
    "torch/pruned.pt": Net(2),
    "torch/shards/model-00001-of-00002.safetensors": Part(("0", "2", "4"), doubt="one of several"),
    "torch/shards/model-00002-of-00002.safetensors": Refused(f"0.bias: {BIAS_ALONE}"),
    "torch/shards/model.safetensors.index.json": MLP,
    "torch/shards/pytorch_model-00001-of-00002.bin": Part(("0", "2", "4"), doubt="one of several"),
    "torch/shards/pytorch_model-00002-of-00002.bin": Refused(f"0.bias: {BIAS_ALONE}"),
    "torch/shards/pytorch_model.bin.index.json": MLP,
    "torch/sparse.pt": MLP,
    "torch/sparse_rows.pt": Part(
        ("2", "4"), {"0.weight": "sparse by rows or columns", "0.bias": BIAS_ALONE}
    ),
    "torch/spectral_norm.pt": Part(
        ("2",), {"0.parametrizations.weight.original": "in pieces", "0.bias": BIAS_ALONE}
    ),
    "torch/tied.pt": Part(("0",), {"2.weight": "the same numbers as 0.weight"}),
    "torch/transformer.pt": Part(
        ("self_attn.out_proj", "linear1", "linear2"),
        {"self_attn.in_proj_weight": ATTENTIVE, "norm2.weight": AFFINE},
    ),
    "torch/transposed.pt": Part(("0",), {"2.weight": TRANSPOSED}),
    "torch/transposed_with_norm.pt": Part(("0",), {"2.weight": TRANSPOSED, "3.weight": "right"}),
    "torch/unknown_order.safetensors": Part(("fc_in", "hidden", "out"), doubt=MANY),
    "torch/weight_norm.safetensors": Net(2),
    "torch/weight_norm_old.pt": Net(2),
    "torch/whole_module.pt": Refused(f"{MODULE}: nothing of the file was run"),
}  # fmt: skip


@pytest.fixture
def path(request, tmp_path):
    """A file of the corpus, as its exporter wrote it."""
    packed = CORPUS / (request.param + GZIP)
    if not packed.exists():
        return CORPUS / request.param
    plain = tmp_path / packed.name.removesuffix(GZIP)
    plain.write_bytes(gzip.decompress(packed.read_bytes()))
    return plain


def of_kind(kind):
    return [name for name in FILES if isinstance(EXPECTED.get(name), kind)]


def each(names):
    return pytest.mark.parametrize(
        ("path", "name"), [(one, one) for one in names], indirect=["path"]
    )


def test_no_file_is_without_an_expectation():
    assert set(FILES) == set(EXPECTED)
    assert len(FILES) >= 30


def without_numbers(name):
    """Keras numbers its layers through a process."""
    return re.sub(r"((?:sequential|normalization|conv2d|dense))_\d+", r"\1", name)


def up(layers, x, channels_first):
    """The net by NumPy alone: r after every layer but the last."""
    if layers[0].kind == "convolution":
        return convolve(layers, x, channels_first)
    for layer in layers[:-1]:
        x = np.maximum(x @ layer.weights + layer.bias, 0)
    return x @ layers[-1].weights + layers[-1].bias


def convolve(layers, x, channels_first):
    """Patches in the order of the rows of W: (c_in, k, k) by torch, (k, k, c_in) by Keras."""
    sizes = {9: (3, 3), 6: (2, 3), 3: (3,)}
    axes = tuple(range(2, x.ndim) if channels_first else range(1, x.ndim - 1))
    for index, layer in enumerate(layers):
        size = sizes[layer.kernel_size]
        channel = 1 if channels_first else x.ndim - 1
        # Axes of places, then the channel, then those of the window; Keras has the channel last.
        patches = np.moveaxis(sliding_window_view(x, size, axes), channel, x.ndim - 1)
        if not channels_first:
            patches = np.moveaxis(patches, x.ndim - 1, -1)
        flat = patches.reshape(*patches.shape[: x.ndim - 1], -1)
        x = np.moveaxis(flat @ layer.weights + layer.bias, -1, channel)
        x = np.maximum(x, 0) if index < len(layers) - 1 else x
    return x


@each(of_kind(Net))
def test_the_net_is_what_its_exporter_has(path, name):
    expected = EXPECTED[name]
    layers = read_layers(path)
    assert (len(layers), layers.order_known, layers.doubts) == (expected.num_layers, True, ())
    folded = [norm for layer in layers for norm in layer.norms]
    said = [f"{'before ' if norm.is_before else ''}{norm.name}" for norm in folded]
    assert [*map(without_numbers, said)] == [*map(without_numbers, expected.norms)]
    for tensor, reason in expected.left_out.items():
        assert reason in layers.left_out[tensor]
    assert all(reason.startswith((OPTIMIZER, AVERAGE)) for reason in layers.left_out.values())
    assert " ".join(layer.activation for layer in layers).strip() == expected.activations
    run = CORPUS / (name + RUN)
    if run.exists():
        with np.load(run) as held:
            y = up(layers, held["x"], expected.channels_first)
            error = np.linalg.norm(y - held["y"]) / np.linalg.norm(held["y"])
        if name == "keras/odd_epsilon.weights.h5":
            assert folded[0].is_assumed
            assert error > 1e-5
        else:
            assert error < 1e-5


@each(of_kind(Part))
def test_what_is_no_layer_is_named(path, name):
    expected = EXPECTED[name]
    layers = read_layers(path)
    assert tuple(map(without_numbers, (layer.label for layer in layers))) == tuple(
        map(without_numbers, expected.labels)
    )
    for tensor, reason in expected.left_out.items():
        pattern = re.compile(re.escape(tensor).replace(r"\*", ".*"))
        found = [said for one, said in layers.left_out.items() if pattern.fullmatch(
            one if pattern.fullmatch(one) else without_numbers(one))]  # fmt: skip
        assert found
        assert all(reason in one for one in found)
    said = layers.doubts or layers[0].assumed
    assert any(expected.doubt in one for one in said)


@each(of_kind(Refused))
def test_what_cannot_be_read_is_refused(path, name):
    with pytest.raises(ValueError, match=EXPECTED[name].message):
        read_layers(path)


@each([*of_kind(Net), *of_kind(Part)])
def test_every_tensor_is_used_or_named(path, name):
    """A tensor that is not left out changes the layers when it is changed."""
    content = read_content(path)
    layers = find_layers(content)
    numbers = [(layer.weights, layer.bias) for layer in layers]
    for tensor, array in content.tensors.items():
        if tensor in layers.left_out or tensor.endswith("num_batches_tracked"):
            continue
        tensors = {**content.tensors, tensor: 2 * np.asarray(array, float) + 0.5}
        changed = find_layers(replace(content, tensors=tensors))
        again = [(layer.weights, layer.bias) for layer in changed]
        assert any(
            not (np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1]))
            for one, other in zip(numbers, again, strict=True)
        ), tensor


def test_norms_by_name_say_what_they_assume():
    layers = read_layers(CORPUS / "torch/named_norms.pt")
    assert layers[0].assumed == (BEFORE_ACTIVATION,)
    assert layers[0].norms[0].is_assumed
    assert read_layers(CORPUS / "torch/norms.pt")[0].assumed == ()
