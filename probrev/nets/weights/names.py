"""Names of tensors: the module and the part of it that they name, and how a reader sorts them."""

import re
from typing import NamedTuple

# Words for the weights of a layer. (out, in): torch, and scikit-learn's linear models; (in, out):
# Keras and flax, scikit-learn's nets, ours.
KERNEL, WEIGHT = "kernel", "weight"
OUT_IN = (WEIGHT, "coef")
_WEIGHTS = (*OUT_IN, KERNEL, "weights", "coefs", "w")
_BIASES = ("bias", "biases", "intercept", "intercepts", "b")
_WORDS = "|".join(sorted((*_WEIGHTS, *_BIASES), key=len, reverse=True))
_LEAF = re.compile(rf"^(?:(?P<before>\w*)_)?(?P<word>{_WORDS})(?P<number>_?\d*)_?$", re.IGNORECASE)
# Names that end like weights or biases and are parts of something else.
_OTHERS = re.compile(r"(in|[qkv])_proj_(weight|bias)|(recurrent|depthwise|pointwise)_kernel")
# Collections of flax: the same module has its parameters in one and its statistics in the other.
_COLLECTIONS = ("params", "batch_stats")
_DIGITS = re.compile(r"(\d+)")

WEIGHTS, BIAS = "weights", "bias"


class Leaf(NamedTuple):
    """What a tensor is called.

    Attributes:
        module: path of the module that it belongs to, by dots.
        part: WEIGHTS, BIAS, or the last part of the name where it is neither.
        word: for weights: that which names them.
    """

    module: str
    part: str
    word: str = ""


def read_name(name: str) -> Leaf:
    """Tells the module of a tensor from its part: `dense_1/kernel:0` is the weights of dense_1.

    Numbers and words around the part belong to the module: `coefs_0` and `intercepts_0` are weights
    and bias of one module, `fc1_w` and `fc1_b` too.
    """
    path = [one for one in split_path(name) if one not in _COLLECTIONS]
    if len(path) > 1 and path[-1] == "value":
        path.pop()
    *modules, last = path or [name]
    found = None if _OTHERS.fullmatch(last) else _LEAF.match(last)
    if found is None:
        return Leaf(".".join(modules), last)
    own = "_".join(filter(None, (found["before"], found["number"].strip("_"))))
    word = found["word"].lower()
    path = ".".join(filter(None, (*modules, own)))
    return Leaf(path, WEIGHTS, word) if word in _WEIGHTS else Leaf(path, BIAS)


def split_path(name: str) -> list[str]:
    """The parts of a name, without the number that TensorFlow puts behind a colon."""
    return re.sub(r":\d+$", "", name).replace("/", ".").split(".")


def natural(name: str) -> list[tuple[tuple[int, str], ...]]:
    """Sorts `dense` before `dense_2`, and `dense_2` before `dense_10`."""
    return [
        tuple((int(one), "") if one.isdigit() else (-1, one) for one in _DIGITS.split(part) if one)
        for part in split_path(name)
    ]


def template(name: str) -> str:
    """What names that differ in their numbers alone have in common; `dense` is a `dense_1`."""
    return re.sub(r"_?\d+", "", name)


def snake(part: str) -> str:
    """A part in lower case with underscores, and without the number at its end."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", part).lower()
    return re.sub(r"_?\d+$", "", words)
