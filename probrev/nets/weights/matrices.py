"""The weights of one module as a matrix (n_visible, n_hidden), or why there is none."""

import math
import re
from collections.abc import Mapping

import numpy as np

from probrev.nets.weights.content import without_bfloat16
from probrev.nets.weights.modules import CONVOLUTIONS, DENSE_CLASS, Module
from probrev.nets.weights.names import BIAS, KERNEL, WEIGHT, WEIGHTS, snake
from probrev.nets.weights.trained_layer import ATTENTION, CONVOLUTION, DENSE, TrainedLayer

RECURRENT = "recurrent: the matrices of its gates stand side by side, and act on its own output too"
ATTENTIVE = "attention: the matrices of queries, keys and values, or of heads, are in one array"
DEPTHWISE = "grouped, depthwise or separable: each of its units sees some of the channels only"
EMBEDDING = "an embedding: a table whose rows are looked up, not multiplied"
TRANSPOSED = "a transposed convolution, or a depthwise one"
LOW_RANK = "a change of low rank of the weights of another layer: merge it before saving"
BILINEAR = "bilinear: a matrix for each unit"
NOT_FINITE = "weights must be finite; got NaN or infinity"
UNKNOWN_AXES = (
    "whether its units are rows or columns: the biases of other layers of the file say other than "
    "its name"
)
COLUMNS = "taken with its units as columns, as its bias says, though its name is torch's for rows"
ROWS = "taken with its units as rows, as its bias says"
LIKE_TRANSPOSED = "taken as a convolution: a transposed or a depthwise one could look the same"
LIKE_DEPTHWISE = "taken to see one channel in all: a depthwise convolution could look the same"
LIKE_SUM = "three axes taken as a convolution: a dense layer over two axes could look the same"

# Parts that only one kind of module has.
_PARTS = {
    re.compile(r"(weight|bias)_(ih|hh|hr)(_l\d+)?(_reverse)?|recurrent_kernel"): RECURRENT,
    re.compile(r"in_proj_(weight|bias)|[qkv]_proj_weight|bias_[kv]"): ATTENTIVE,
    re.compile(r"(depthwise|pointwise)_kernel"): DEPTHWISE,
    re.compile(r"embeddings?|\w*_embed(ding)?s?"): EMBEDDING,
}
# Words for modules whose weights alone do not tell them from a dense layer or a convolution.
_EMBEDDING = re.compile(r"(.*_)?(emb|embs|embed|embeds|embedding|embeddings|wte|wpe|lookup)(_.*)?")
_TRANSPOSED = re.compile(
    r"(.*_)?(\w*transposed?|deconv\w*|convt\w*|upconv\w*|conv_t|up_conv)(_.*)?"
)
_DEPTHWISE = re.compile(r"(.*_)?(depthwise\w*|dwconv|dw|separable\w*)(_.*)?")
_LOW_RANK = re.compile(r"lora_\w+")
_BILINEAR = re.compile(r"(.*_)?bilinear(_.*)?")
_HEADS = (
    {"query", "key", "value"}, {"q", "k", "v"}, {"q_proj", "k_proj", "v_proj"}, {"wq", "wk", "wv"},
    {"to_q", "to_k", "to_v"}, {"q_lin", "k_lin", "v_lin"}, {"to_qkv"}, {"qkv"}, {"c_attn"},
    {"query_proj", "key_proj", "value_proj"}, {"q_linear", "k_linear", "v_linear"},
)  # fmt: skip
# Parents of cells of recurrent nets, as flax has them: a module for each gate.
_CELL = re.compile(r".*cells?|lstm|gru|rnn")
_GATES = ("dense_i", "dense_h")


def reason_of_parts(module: Module) -> str:
    """Why a module is none that is read here, by its class, its parts and its name."""
    if module.class_name and module.class_name not in (DENSE_CLASS, *CONVOLUTIONS):
        return f"part of a layer of class {module.class_name}, which is not read here"
    if any(_LOW_RANK.fullmatch(part) for part in module.name.split(".")):
        return LOW_RANK
    for part in module.parts:
        for pattern, reason in _PARTS.items():
            if pattern.fullmatch(part):
                return reason
    is_gate = module.own_name in _GATES or _CELL.fullmatch(snake(module.parent.rpartition(".")[2]))
    return RECURRENT if is_gate and WEIGHTS in module.parts and not module.is_out_in else ""


def are_heads(names: set[str]) -> bool:
    """Whether modules side by side are those of attention, by their own names."""
    return any(one <= names for one in _HEADS)


def as_layer(
    module: Module, tensors: Mapping[str, np.ndarray], in_attention: bool
) -> TrainedLayer | str:
    """The layer that a module with weights of two axes or more is, or why it is none."""
    name = module.parts[WEIGHTS]
    tensor = tensors[name]
    bias = tensors[module.parts[BIAS]] if BIAS in module.parts else None
    if bias is not None and bias.ndim == 2 and 1 in bias.shape:
        bias = bias.ravel()
    if bias is not None and bias.ndim != 1:
        return ATTENTIVE if in_attention else f"its bias has {bias.ndim} axes: expected one"
    if not (np.isfinite(tensor).all() and (bias is None or np.isfinite(bias).all())):
        return NOT_FINITE
    if tensor.ndim == 2 and module.class_name in ("", DENSE_CLASS):
        return _dense(module, tensor, bias, in_attention)
    if in_attention:
        return ATTENTIVE
    is_convolvable = 2 < tensor.ndim < 6 and module.word in (KERNEL, WEIGHT)
    if not is_convolvable or module.class_name == DENSE_CLASS:
        return (
            f"{tensor.ndim} axes by the name {module.word}: expected 2 for a dense layer, 3 to 5 "
            f"by the names {KERNEL} or {WEIGHT} for a convolution"
        )
    return _convolution(module, tensor, bias)


def _dense(
    module: Module, tensor: np.ndarray, bias: np.ndarray | None, in_attention: bool
) -> TrainedLayer | str:
    own = snake(module.own_name)
    if bias is None and not module.class_name and _EMBEDDING.fullmatch(own):
        return EMBEDDING
    units = 0 if module.is_out_in else 1
    assumed: tuple[str, ...] = ()
    if bias is not None and bias.size != tensor.shape[units]:
        if bias.size != tensor.shape[1 - units]:
            return f"its bias has {bias.size} entries; expected {tensor.shape[units]}"
        units = 1 - units
        assumed = (COLUMNS if units else ROWS,)
    matrix = tensor if units else tensor.T
    kind = ATTENTION if in_attention else DENSE
    return _layer(module, matrix, bias, 1, kind, assumed)


def _convolution(module: Module, tensor: np.ndarray, bias: np.ndarray | None) -> TrainedLayer | str:
    own = snake(module.own_name)
    is_certain = module.class_name in CONVOLUTIONS
    if not is_certain:
        for pattern, reason in (
            (_TRANSPOSED, TRANSPOSED), (_DEPTHWISE, DEPTHWISE), (_BILINEAR, BILINEAR),
        ):  # fmt: skip
            if pattern.fullmatch(own):
                return reason
    settings = module.layer.settings if module.layer is not None else {}
    if settings.get("groups", 1) != 1:
        return DEPTHWISE
    axes = (0, 1) if module.is_out_in else (-1, -2)
    num_units, num_channels = (tensor.shape[axis] for axis in axes)
    if bias is not None and bias.size != num_units:
        if bias.size == num_channels:
            return TRANSPOSED
        if not module.is_out_in and bias.size == num_units * num_channels:
            return DEPTHWISE
        return f"its bias has {bias.size} entries; expected {num_units}"
    is_flax = not module.is_out_in and bool(re.fullmatch(r"Conv(_\d+)?", module.own_name))
    assumed: tuple[str, ...] = ()
    if not is_certain and num_channels == 1 < num_units:
        assumed += (LIKE_DEPTHWISE,)
    if not is_certain and not is_flax and (bias is None or num_units == num_channels):
        assumed += (LIKE_TRANSPOSED,)
    if not is_certain and not is_flax and not module.is_out_in and tensor.ndim == 3:
        assumed += (LIKE_SUM,)
    if module.is_out_in:
        size = math.prod(tensor.shape[2:])
        matrix = tensor.reshape(len(tensor), -1).T
    else:
        size = math.prod(tensor.shape[:-2])
        matrix = tensor.reshape(-1, tensor.shape[-1])
    return _layer(module, matrix, bias, size, CONVOLUTION, assumed)


def _layer(
    module: Module, matrix: np.ndarray, bias: np.ndarray | None, size: int, kind: str,
    assumed: tuple[str, ...],
) -> TrainedLayer:  # fmt: skip
    shift = np.zeros(matrix.shape[1]) if bias is None else np.asarray(bias, float)
    name, kernel = module.parts[WEIGHTS], without_bfloat16(matrix)
    return TrainedLayer(name, kernel, shift, size, kind=kind, assumed=assumed)
