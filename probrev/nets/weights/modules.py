"""Tensors of a file by the module that they belong to, and what kind of module that is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from probrev.nets.weights.keras_config import BATCH_NORM, KerasGraph, KerasLayer
from probrev.nets.weights.names import BIAS, KERNEL, OUT_IN, WEIGHTS, read_name, snake, split_path

DENSE_CLASS = "Dense"
CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D")
# Names that Keras 3 gives the variables of its classes, as far as no configuration says more.
_READ = {snake(name): name for name in (DENSE_CLASS, BATCH_NORM)}
_READ |= {name.lower(): name for name in CONVOLUTIONS}
_NOT_READ = (
    "additive_attention", "attention", "bidirectional", "cell", "einsum_dense", "embedding", "gru",
    "group_normalization", "group_query_attention", "layer_normalization", "lstm",
    "multi_head_attention", "normalization", "p_re_lu", "rms_normalization", "rnn", "simple_rnn",
    "spectral_normalization", "time_distributed",
)  # fmt: skip
_NOT_READ_IN = ("depthwise", "separable", "transpose", "conv_lstm", "cell")
# What every module of batch normalisation has, by library: mean and variance.
STATISTICS = {
    "torch": ("running_mean", "running_var"),
    "Keras": ("moving_mean", "moving_variance"),
    "flax": ("mean", "var"),
}
_NORM_PARTS = ("gamma", "beta")
VARIABLES = "vars"


@dataclass(frozen=True)
class Module:
    """Tensors that belong together.

    Attributes:
        name: path by dots.
        parts: names of the tensors by what they are: WEIGHTS, BIAS, or as the file calls them.
        word: for its weights: "weight", "kernel", ...; KERNEL where Keras numbers them.
        class_name: of the Keras layer; "" if nothing says it.
        layer: what a Keras configuration says of it.
        is_numbered: Keras 3 numbers its variables.
    """

    name: str
    parts: Mapping[str, str]
    word: str = KERNEL
    class_name: str = ""
    layer: KerasLayer | None = None
    is_numbered: bool = False

    @property
    def is_out_in(self) -> bool:
        """Whether a matrix by that word is (out, in)."""
        return self.word in OUT_IN

    @property
    def own_name(self) -> str:
        """The last part of its path."""
        return self.name.rpartition(".")[2]

    @property
    def parent(self) -> str:
        """The path of what holds it."""
        return self.name.rpartition(".")[0]


def find_modules(tensors: Mapping[str, np.ndarray], graph: KerasGraph | None) -> list[Module]:
    """Modules in the order of their first tensors."""
    found: dict[str, Module] = {}
    for name in tensors:
        module, part, word = _place(name, graph)
        known = found.get(module.name, module)
        # A second tensor for one part is told by its own name, and so named as not known.
        parts = {**known.parts, part if part not in known.parts else name: name}
        found[module.name] = replace(known, parts=parts, word=word or known.word)
    return [_named(module, tensors) for module in found.values()]


def _place(name: str, graph: KerasGraph | None) -> tuple[Module, str, str]:
    """An empty module for a tensor, what it is there, and the word for it if it is weights."""
    path = split_path(name)
    found = graph.find(name) if graph is not None else None
    if found is not None:
        layer, rest = found
        inner = split_path(rest)
        # Between a layer of these and its tensors there are only names that TensorFlow made.
        is_own = layer.class_name in (BATCH_NORM, DENSE_CLASS, *CONVOLUTIONS) or len(inner) == 1
        is_own = is_own or inner[:-1] == [VARIABLES]
        where = ".".join([layer.name.replace("/", "."), *([] if is_own else inner[:-1])])
        class_name = layer.class_name if is_own else f"{layer.class_name}, within it"
        is_numbered = inner[-2:-1] == [VARIABLES]
        part = inner[-1] if is_numbered else read_name(inner[-1]).part
        module = Module(where, {}, class_name=class_name, layer=layer, is_numbered=is_numbered)
        return module, part, ""
    if len(path) > 2 and path[-2] == VARIABLES:
        class_name = _class_by_path(path[:-2])
        module = Module(".".join(path[:-2]), {}, class_name=class_name, is_numbered=True)
        return module, path[-1], ""
    leaf = read_name(name)
    return Module(leaf.module, {}), leaf.part, leaf.word


def _class_by_path(path: list[str]) -> str:
    """The class of a Keras 3 layer by the names that its variables have; "" if they are others."""
    for part in path:
        kind = snake(part)
        if kind in _NOT_READ or any(word in kind for word in _NOT_READ_IN):
            return "".join(word.capitalize() for word in kind.split("_"))
    return _READ.get(snake(path[-1]), "")


def _named(module: Module, tensors: Mapping[str, np.ndarray]) -> Module:
    """A module of Keras 3, whose parts have only numbers, with the parts by what they are."""
    if not module.is_numbered or not all(part.isdigit() for part in module.parts):
        return module
    names = [name for _, name in sorted(module.parts.items(), key=lambda item: int(item[0]))]
    said = [*_said(module, [tensors[name] for name in names])]
    if len(said) != len(names):
        return module
    return replace(module, parts=dict(zip(said, names, strict=True)))


def _said(module: Module, arrays: list[np.ndarray]) -> Iterator[str]:
    """What the variables of a Keras 3 layer are, in their order; nothing if that is not known."""
    settings = module.layer.settings if module.layer is not None else {}
    shapes = [array.shape for array in arrays]
    is_norm = len(shapes) > 1 and len({*shapes}) == 1 and len(shapes[0]) == 1
    if module.class_name == BATCH_NORM or (not module.class_name and is_norm and len(shapes) == 4):
        yield from ("gamma",) if settings.get("scale", len(shapes) == 4) else ()
        yield from ("beta",) if settings.get("center", len(shapes) == 4) else ()
        yield from STATISTICS["Keras"]
    elif module.class_name in (DENSE_CLASS, *CONVOLUTIONS, "") and len(shapes[0]) > 1:
        yield from (WEIGHTS, BIAS)[: len(shapes)]


def is_norm(module: Module) -> bool:
    """Whether a module is a batch normalisation, by the statistics that it keeps."""
    return any({*names} <= {*module.parts} for names in STATISTICS.values())


def is_affine(module: Module, tensors: Mapping[str, np.ndarray]) -> bool:
    """Whether a module only scales and shifts: a norm without statistics, or a learned slope."""
    scales = (WEIGHTS, BIAS, "scale", "alpha", *_NORM_PARTS)
    return all(part in scales and tensors[name].ndim == 1 for part, name in module.parts.items())
